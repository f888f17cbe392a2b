// Keys or values of one head where nothing has to be prepared, all in f16: position p at cached + p * DIM before `base` and at
// fresh + (p - base) * ld from there on.
#pragma once
#include "attention.cuh"

template <int DIM> struct Positions {
    const __half* cached;
    const __half* fresh;
    int base, ld;
    __device__ __forceinline__ Positions(const AttentionArgs& a, const Seq& seq, int kvHead, bool values)
        : cached(static_cast<const __half*>(seq.kv) + keyOffset(a, seq, kvHead) + (values ? valueDistance(a, seq) : 0)),
          fresh(static_cast<const __half*>(values ? a.v : a.k) + (long long)seq.start * (values ? a.ldv : a.ldk) + kvHead * DIM), base(seq.base), ld(values ? a.ldv : a.ldk) {}
    __device__ __forceinline__ const __half* at(int p) const { return p < base ? cached + (long long)p * DIM : fresh + (long long)(p - base) * ld; }
    __device__ __forceinline__ uint4* cache(int p) const { return reinterpret_cast<uint4*>(const_cast<__half*>(cached) + (long long)p * DIM); }
};
