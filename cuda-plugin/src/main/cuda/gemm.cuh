// What the matrix-matrix kernels share: the epilogue.
#pragma once
#include "common.cuh"

// Outputs n and n + 1 (n even) of row m; gated: a gate and its up. yFmt other than F32: the row's padding must be zero,
// and the tiles that reach past n write it.
__device__ __forceinline__ void finishPair(const LinearArgs& a, int m, int n, float v0, float v1) {
    if (m >= a.m) return;
    const bool in0 = n < a.w.n, in1 = n + 1 < a.w.n;
    if (a.bias) {
        if (in0) v0 += a.bias[n];
        if (in1) v1 += a.bias[n + 1];
    }
    if (a.gated) {
        int c = n / 2;
        float v = activate(v0, a.act) * v1;
        if (in0 && a.residual) v += a.residual[(long long)m * a.ldr + c];
        if (in0) storeAs(a.y, (long long)m * a.ldy + c, a.yFmt, v);
        else if (a.yFmt != FMT_F32 && c < a.ldy) storeAs(a.y, (long long)m * a.ldy + c, a.yFmt, 0.f);
        return;
    }
    v0 = activate(v0, a.act);
    v1 = activate(v1, a.act);
    if (a.residual) {
        if (in0) v0 += a.residual[(long long)m * a.ldr + n];
        if (in1) v1 += a.residual[(long long)m * a.ldr + n + 1];
    }
    long long at = (long long)m * a.ldy + n;
    if (in1) {
        if (((a.ldy | (a.yFmt == FMT_F32 ? int(reinterpret_cast<uintptr_t>(a.y) >> 2) : int(reinterpret_cast<uintptr_t>(a.y) >> 1))) & 1) == 0)
            storePair(a.y, at, a.yFmt, v0, v1);
        else storeAs(a.y, at, a.yFmt, v0), storeAs(a.y, at + 1, a.yFmt, v1);
    } else if (in0) {
        storeAs(a.y, at, a.yFmt, v0);
        if (a.yFmt != FMT_F32 && n + 1 < a.ldy) storeAs(a.y, at + 1, a.yFmt, 0.f);
    } else if (a.yFmt != FMT_F32 && n < a.ldy) {
        storeAs(a.y, at, a.yFmt, 0.f);
        if (n + 1 < a.ldy) storeAs(a.y, at + 1, a.yFmt, 0.f);
    }
}
