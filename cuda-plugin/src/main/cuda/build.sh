#!/bin/sh
# Compiles every .cu file here that changed into NAME.fatbin, and writes kernels.index (kernel -> module) and
# kernels.sha256 (module -> hash of its source and the headers it includes).
#   sh build.sh [-f] OUTPUT_DIRECTORY        -f compiles everything
# NVCC: the compiler. ARCHS: compile for these only, without PTX, for quick loops: ARCHS="90a".
set -eu
force=
if [ "${1:-}" = -f ]; then force=1; shift; fi
out=${1:?usage: build.sh [-f] OUTPUT_DIRECTORY}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")"
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}

# machine code for the cards of today (that of 8.0 serves 8.6 and 8.9, too); PTX for those that come later
gencode="-gencode arch=compute_90,code=compute_90"
for a in ${ARCHS:-80 90a 100 120}; do
    if [ -n "${ARCHS:-}" ] && [ "$gencode" = "-gencode arch=compute_90,code=compute_90" ]; then gencode=; fi
    gencode="$gencode -gencode arch=compute_$a,code=sm_$a"
done

includes() { # the headers of this folder that a file includes, directly or not
    for header in $(sed -n 's/^#include "\(.*\)"/\1/p' "$1"); do
        echo "$header"
        includes "$header"
    done
}
hash_of() {
    (cat "$1"; includes "$1" | LC_ALL=C sort -u | while read -r header; do cat "$header"; done; printf %s "${ARCHS:-}") |
        sha256sum | cut -d' ' -f1
}

touch "$out/kernels.sha256" "$out/kernels.index"
for old in "$out"/*.fatbin; do
    name=$(basename "$old" .fatbin)
    if [ "$name" != "*" ] && ! [ -f "$name.cu" ]; then rm "$old"; fi
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for source in *.cu; do
    name=${source%.cu}
    hash=$(hash_of "$source")
    echo "$hash $name" >> "$work/sha256"
    if [ -z "$force" ] && [ -f "$out/$name.fatbin" ] && grep -qx "$hash $name" "$out/kernels.sha256"; then
        grep " $name\$" "$out/kernels.index" >> "$work/index"
        continue
    fi
    if ! [ -x "$nvcc" ]; then
        echo "build.sh: $source changed and there is no nvcc here: install the CUDA toolkit 13.0 or set NVCC" >&2
        exit 3
    fi
    echo "nvcc $source" >&2
    mkdir "$work/$name"
    $nvcc -std=c++17 -O3 -t 0 -compress-mode=size --keep --keep-dir "$work/$name" $gencode -fatbin "$source" -o "$work/$name.fatbin"
    # a kernel is a text section of the machine code
    cat "$work/$name"/*.cubin | LC_ALL=C grep -ao '\.text\.[A-Za-z0-9_]*' | sed 's/^.text.//' | LC_ALL=C sort -u |
        sed "s/\$/ $name/" >> "$work/index"
    mv "$work/$name.fatbin" "$out/"
    rm -r "$work/$name"
done
LC_ALL=C sort "$work/index" > "$out/kernels.index"
mv "$work/sha256" "$out/kernels.sha256"
