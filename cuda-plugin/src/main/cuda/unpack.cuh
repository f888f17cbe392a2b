// Quantized weights as f16 fragments: 64 columns of a 16-row tile at a time, times their scales.
#pragma once
#include "quant.cuh"

template <int FMT> struct Half { // a lane's share of 64 columns of a 16-row tile
    static const int VECS = FMT == FMT_Q8_0 ? 2 : 1;
    uint4 q[VECS];
    u32 s[FMT == FMT_Q4_1 ? 4 : 2]; // two blocks: rows g (both), rows g + 8
};
template <int FMT> __device__ __forceinline__ void loadHalf(Half<FMT>& h, const Weight& w, long long tile, int half, bool valid) {
    const int V = Half<FMT>::VECS, lane = threadIdx.x & 31, g = lane >> 2;
    const uint4* q = static_cast<const uint4*>(w.data) + (tile * 2 + half) * (V * 32) + lane;
#pragma unroll
    for (int v = 0; v < V; v++) h.q[v] = valid ? __ldg(q + v * 32) : make_uint4(0, 0, 0, 0);
    if (FMT == FMT_Q4_1) {
        const uint2* s = static_cast<const uint2*>(w.scales) + tile * 32 + half;
        uint2 p = valid ? __ldg(s + g * 2) : make_uint2(0, 0), r = valid ? __ldg(s + g * 2 + 16) : make_uint2(0, 0);
        h.s[0] = p.x, h.s[1] = p.y, h.s[2] = r.x, h.s[3] = r.y;
    } else {
        const u32* s = static_cast<const u32*>(w.scales) + tile * 32 + half;
        h.s[0] = valid ? __ldg(s + g * 2) : 0, h.s[1] = valid ? __ldg(s + g * 2 + 16) : 0;
    }
}
// Fragments of step k (0..3) of the half tile, times the scale.
template <int FMT> __device__ __forceinline__ void unpack(const Half<FMT>& h, int k, u32 f[4]) {
    if (FMT == FMT_Q8_0) {
        uint4 q = h.q[(k >> 1) % Half<FMT>::VECS];
        q8Fragment(k & 1 ? q.z : q.x, k & 1 ? q.w : q.y, f);
    } else {
        uint4 q = h.q[0];
        q4Fragment<FMT == FMT_Q4_0 ? 8 : 0>(k == 0 ? q.x : k == 1 ? q.y : k == 2 ? q.z : q.w, f);
    }
    auto h2 = [](u32 v) { return *reinterpret_cast<__half2*>(&v); };
    auto bits = [](__half2 v) { return *reinterpret_cast<u32*>(&v); };
    if (FMT == FMT_Q4_1) {
        __half2 lo = h2(h.s[k >> 1]), hi = h2(h.s[(2 + (k >> 1)) % 4]); // (d, m)
        f[0] = bits(__hfma2(h2(f[0]), __low2half2(lo), __high2half2(lo)));
        f[2] = bits(__hfma2(h2(f[2]), __low2half2(lo), __high2half2(lo)));
        f[1] = bits(__hfma2(h2(f[1]), __low2half2(hi), __high2half2(hi)));
        f[3] = bits(__hfma2(h2(f[3]), __low2half2(hi), __high2half2(hi)));
    } else {
        __half2 lo = h2(h.s[0]), hi = h2(h.s[1]);
        lo = k >> 1 ? __high2half2(lo) : __low2half2(lo);
        hi = k >> 1 ? __high2half2(hi) : __low2half2(hi);
        f[0] = bits(__hmul2(h2(f[0]), lo)), f[2] = bits(__hmul2(h2(f[2]), lo));
        f[1] = bits(__hmul2(h2(f[1]), hi)), f[3] = bits(__hmul2(h2(f[3]), hi));
    }
}
