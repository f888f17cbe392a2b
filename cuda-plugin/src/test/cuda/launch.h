// The launch rules of the kernels, as the Java side's LaunchRules has them.
#pragma once
#include <algorithm>
#include "../../main/cuda/abi.cuh"

struct Launch { dim3 grid; int block; size_t shared; };

inline int roundUp(int a, int b) { return (a + b - 1) / b * b; }
inline int ceilDiv(int a, int b) { return (a + b - 1) / b; }

// Fills kSlices and rowsPerWarp. Two blocks of 8 warps an SM; enough rows or slices for every warp, and an equal number of
// rounds for each.
inline Launch gemvLaunch(LinearArgs& a, int sm) {
    const bool quant = a.w.fmt >= FMT_Q8_0;
    const int perRow = quant ? 4 * a.w.ld + a.w.ld / 8 : 4 * a.w.ld;
    int mt = a.m >= 3 ? 4 : a.m;
    while (mt > 1 && mt * perRow > 200 * 1024) mt /= 2;
    const int warps = sm * 16;
    int units; // groups of rows
    if (quant) {
        units = ceilDiv(a.w.n, 16);
        a.rowsPerWarp = 16;
        a.kSlices = 8;
        while (a.kSlices > 1 && a.kSlices > a.w.ld / 128) a.kSlices /= 2;
    } else {
        int vecs = a.w.ld / (a.w.fmt == FMT_F32 ? 4 : 8);
        a.rowsPerWarp = a.w.n >= 4 * warps ? 4 : (a.w.n >= 2 * warps || a.gated) ? 2 : 1;
        if (mt > 1) a.rowsPerWarp = std::min(a.rowsPerWarp, 2);
        units = ceilDiv(a.w.n, a.rowsPerWarp);
        a.kSlices = 1;
        while (a.kSlices < 8 && units * a.kSlices * 2 <= warps && vecs >= 64 * a.kSlices) a.kSlices *= 2;
    }
    const int perBlock = 8 / a.kSlices, slots = sm * 2 * perBlock, rounds = ceilDiv(units, slots);
    return {dim3(ceilDiv(ceilDiv(units, rounds), perBlock)), 256, size_t(mt) * perRow};
}
// The strict kernel is the one of F32 weights that is not told to use tf32.
inline Launch gemmLaunch(const LinearArgs& a, bool tf32) {
    size_t shared = a.w.fmt >= FMT_Q8_0 ? 4 * 16384 : a.w.fmt == FMT_F32 && !tf32 ? 0 : 3 * 32768;
    return {dim3(ceilDiv(a.m, 128), ceilDiv(a.w.n, 128)), 256, shared};
}

inline Launch attnDecodeLaunch(AttentionArgs& a, int sm) {
    int ratio = a.heads / a.kvHeads, gq = ratio == 1 ? 1 : ratio == 2 ? 2 : ratio <= 4 ? 4 : 8, y = a.kvHeads * ceilDiv(ratio, 8);
    a.splits = std::max(1, std::min(64, 2 * sm / (y * a.b.nRows)));
    return {dim3(a.splits, y, a.b.nRows), 128, size_t(gq) * 5 * (a.headDim + 2) * 4};
}
// Head sizes are padded to one of these in shared memory.
inline int paddedHead(int dim) { return dim <= 32 ? 32 : dim <= 64 ? 64 : dim <= 80 ? 80 : dim <= 96 ? 96 : dim <= 128 ? 128 : 256; }
inline Launch attnPrefillLaunch(const AttentionArgs& a, bool strict) {
    int dp = paddedHead(a.headDim);
    dim3 grid(ceilDiv(a.b.maxCount, 64), a.heads, a.b.nSeqs);
    if (strict) return {grid, 256, size_t(3 * 64 * (dp + 4) + 64 * 68) * 4};
    return {grid, 128, size_t(4 * 64 * (2 * dp + 16))};
}
inline Launch appendLaunch(const AttentionArgs& a) { return {dim3(a.b.nRows, ceilDiv(a.heads + 2 * a.kvHeads, 4)), 128, 0}; }
