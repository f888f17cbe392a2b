#pragma once
#include "quant.cuh"

// Written by all threads of a block; token's part also enters the token in the sequence's history.
__device__ __forceinline__ void embedRow(const EmbedArgs& a, int r) {
    Row row = a.b.rows[r];
    if (threadIdx.x == 0) {
        const Seq& seq = a.b.seqs[row.seq];
        if (seq.history && row.position < seq.capacity) seq.history[row.position] = row.token;
    }
    for (int c = threadIdx.x; c < a.width; c += blockDim.x) {
        float sum = 0;
        for (int p = 0; p < a.parts; p++) {
            int i = a.index[p] == 0 ? row.token : a.index[p] == 1 ? row.position : row.type;
            i = min(max(i + a.offset[p], 0), a.t[p].n - 1); // the host has checked; a table is never overrun
            sum += element(a.t[p], i, c);
        }
        a.out[(long long)r * a.ld + c] = sum;
    }
}

// Angle = position * inv[pair], reduced to [-pi, pi] in double so that float sin and cos are exact to their ulps.
__device__ __forceinline__ void anglesRow(const AnglesArgs& a, int r) {
    Row row = a.b.rows[r];
    double ratio = 1;
    if (a.original > 0) { // Dynamic: theta grows with the length once past the original
        int length = a.b.seqs[row.seq].length, dims = 2 * a.pairs;
        if (length > a.original) ratio = pow(a.factor * length / a.original - (a.factor - 1), dims / (dims - 2.0));
    }
    for (int i = threadIdx.x; i < a.pairs; i += blockDim.x) {
        double inv = a.inv[i];
        if (ratio != 1) inv = pow(a.theta * ratio, -2.0 * i / (2 * a.pairs));
        double angle = row.position * inv;
        angle -= rint(angle * 0.15915494309189533577) * 6.28318530717958647692;
        float s, c;
        sincosf((float)angle, &s, &c);
        a.out[(long long)r * a.ld + i] = make_float2(c * a.magnitude, s * a.magnitude);
    }
}
