#!/bin/sh
# Compiles every .cu file here into NAME.fatbin and writes kernels.index (kernel -> module) and kernels.sha256 (of the sources).
#   sh build.sh [-f] OUTPUT_DIRECTORY        does nothing when kernels.sha256 there already fits; -f builds anyway
# NVCC: the compiler. ARCHS: what to compile for, without PTX, for quick loops: ARCHS="90a".
set -eu
force=
if [ "${1:-}" = -f ]; then force=1; shift; fi
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh [-f] OUTPUT_DIRECTORY}
mkdir -p "$out"
out=$(cd "$out" && pwd)
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
cd "$here"
hash=$(cat $(ls *.cu *.cuh | LC_ALL=C sort) | sha256sum | cut -d' ' -f1)
if [ -z "$force" ] && [ "$(cat "$out/kernels.sha256" 2>/dev/null)" = "$hash" ]; then exit 0; fi
if ! [ -x "$nvcc" ]; then
    echo "build.sh: the kernels changed and there is no nvcc here: install the CUDA toolkit 13 or set NVCC" >&2
    exit 3
fi
gencode=
if [ -n "${ARCHS:-}" ]; then
    for a in $ARCHS; do gencode="$gencode -gencode arch=compute_$a,code=sm_$a"; done
else
    # machine code for the known cards; PTX of 8.0 and 9.0 for those that come later
    for a in 80 86 89 90a 100 120; do gencode="$gencode -gencode arch=compute_$a,code=sm_$a"; done
    gencode="$gencode -gencode arch=compute_90,code=compute_90"
fi
rm -f "$out"/*.fatbin "$out/kernels.index" "$out/kernels.sha256"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for source in *.cu; do
    name=${source%.cu}
    echo "nvcc $source" >&2
    $nvcc -std=c++17 -O3 -t 0 -compress-mode=size $gencode -fatbin "$source" -o "$out/$name.fatbin"
    # the entry points, from one PTX
    $nvcc -std=c++17 -gencode arch=compute_90,code=compute_90 -ptx "$source" -o "$work/$name.ptx"
    sed -n "s/^\\.visible \\.entry \\([A-Za-z0-9_]*\\).*/\\1 $name/p" "$work/$name.ptx" >> "$work/index"
done
LC_ALL=C sort "$work/index" > "$out/kernels.index"
echo "$hash" > "$out/kernels.sha256"
