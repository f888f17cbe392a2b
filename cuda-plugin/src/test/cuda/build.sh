#!/bin/sh
# Builds the harness: sh build.sh OUTDIR [ARCH]. Needs nvcc; the programs need a GPU.
set -e
here=$(cd "$(dirname "$0")" && pwd); src=$here/../../main/cuda; out=$1; arch=${2:-90a}
flags="-std=c++17 -O3 -gencode=arch=compute_$arch,code=sm_$arch -Xcompiler -fopenmp,-O2"
mkdir -p "$out"
for f in "$src"/*.cu; do
    case $(basename "$f") in roof.cu|mark.cu) continue ;; esac
    o=$out/$(basename "$f" .cu).o
    if [ ! -e "$o" ] || [ -n "$(find "$src" \( -name '*.cuh' -o -samefile "$f" \) -newer "$o")" ]; then nvcc $flags -c "$f" -o "$o"; fi
done
for p in check speed; do
    [ -e "$here/$p.cu" ] && nvcc $flags "$here/$p.cu" "$out"/*.o -o "$out/$p" -Xlinker -lgomp -Xcompiler -static-libstdc++,-static-libgcc
done
ls -la "$out"/check
