// Flash attention with float multiply-adds (Dao et al., 2022): the strict mode. A block has 64 queries of one head and walks the keys in tiles of 64, with an online softmax.
//
// Threads 16 x 16: S as 4 x 4 a thread, O as 4 x DP / 16; both read shared memory 16 bytes at a time. Shared memory: Q, K, V as [64][DP + 4] and P as [64][68] floats.
#include "attention.cuh"

#define TQ 64
#define TK 64

template <int DP> __device__ __forceinline__ void loadRows(float* dst, const void* src, long long base, long long stride, int fmt,
                                                           int rows, int dim) {
    for (int i = threadIdx.x; i < 64 * (DP / 4); i += 256) {
        int r = i / (DP / 4), d = (i % (DP / 4)) * 4;
        float4 v = make_float4(0, 0, 0, 0);
        if (r < rows) {
            long long at = base + r * stride + d;
            if (d + 4 <= dim && fmt == FMT_F32 && ((at | stride) & 3) == 0) {
                v = *reinterpret_cast<const float4*>(static_cast<const float*>(src) + at);
            } else {
                if (d < dim) v.x = loadAs(src, at, fmt);
                if (d + 1 < dim) v.y = loadAs(src, at + 1, fmt);
                if (d + 2 < dim) v.z = loadAs(src, at + 2, fmt);
                if (d + 3 < dim) v.w = loadAs(src, at + 3, fmt);
            }
        }
        *reinterpret_cast<float4*>(dst + r * (DP + 4) + d) = v;
    }
}

template <int DP> __device__ __forceinline__ void prefill(const AttentionArgs& a, float* shared) {
    const int LD = DP + 4, LP = TK + 4, OC = DP / 16, WIDE = OC % 4 ? 2 : 4; // WIDE neighbouring columns of O a thread and read
    float *Q = shared, *K = Q + TQ * LD, *V = K + TK * LD, *P = V + TK * LD;
    const Seq seq = a.b.seqs[blockIdx.z];
    const int q0 = blockIdx.x * TQ, head = blockIdx.y, kvHead = head / (a.heads / a.kvHeads), dim = a.headDim;
    if (q0 >= seq.count || (a.causal && seq.kvFmt != a.kvFmt)) return;
    const int rows = min(TQ, seq.count - q0), first = seq.base + q0; // position of the first query
    const int length = a.causal ? first + rows : seq.count, lo = a.window > 0 ? max(0, first - a.window + 1) : 0;
    const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
    loadRows<DP>(Q, a.q, (long long)(seq.start + q0) * a.ldq + head * dim, a.ldq, a.inFmt, rows, dim);
    const void* keys = a.causal ? seq.kv : a.k;
    const void* values = a.causal ? seq.kv : a.v;
    const int fmt = a.causal ? (a.kvFmt ? FMT_F16 : FMT_F32) : a.inFmt;
    const long long kBase = a.causal ? keyOffset(a, seq, kvHead) : (long long)seq.start * a.ldk + kvHead * dim;
    const long long vBase = a.causal ? kBase + valueDistance(a, seq) : (long long)seq.start * a.ldv + kvHead * dim;
    const long long kStride = a.causal ? dim : a.ldk, vStride = a.causal ? dim : a.ldv;

    auto column = [&](int c) { return (tx + c / WIDE * 16) * WIDE + c % WIDE; };
    float o[4][OC] = {}, top[4], sum[4] = {};
    for (int i = 0; i < 4; i++) top[i] = -INFINITY;
    for (int p0 = lo; p0 < length; p0 += TK) {
        __syncthreads();
        loadRows<DP>(K, keys, kBase + p0 * kStride, kStride, fmt, min(TK, length - p0), dim);
        loadRows<DP>(V, values, vBase + p0 * vStride, vStride, fmt, min(TK, length - p0), dim);
        __syncthreads();
        float s[4][4] = {};
#pragma unroll 4
        for (int d = 0; d < DP; d += 4) {
            float4 qv[4], kv[4];
#pragma unroll
            for (int i = 0; i < 4; i++) qv[i] = *reinterpret_cast<float4*>(Q + (ty * 4 + i) * LD + d);
#pragma unroll
            for (int j = 0; j < 4; j++) kv[j] = *reinterpret_cast<float4*>(K + (tx + 16 * j) * LD + d);
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    s[i][j] += qv[i].x * kv[j].x;
                    s[i][j] += qv[i].y * kv[j].y;
                    s[i][j] += qv[i].z * kv[j].z;
                    s[i][j] += qv[i].w * kv[j].w;
                }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int at = first + ty * 4 + i;
            float best = top[i];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                int p = p0 + tx + 16 * j;
                // a query always sees its own window; rows past the last query are computed and not stored
                bool seen = p < length && (!a.causal || p <= at) && (a.window <= 0 || p > at - a.window);
                s[i][j] = seen ? s[i][j] * a.scale * 1.4426950408889634f : -INFINITY;
                best = fmaxf(best, s[i][j]);
            }
#pragma unroll
            for (int x = 8; x; x >>= 1) best = fmaxf(best, __shfl_xor_sync(~0u, best, x));
            float safe = best == -INFINITY ? 0.f : best, keep = exp2f(top[i] - safe), part = 0;
            top[i] = best;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                float w = exp2f(s[i][j] - safe);
                part += w;
                P[(ty * 4 + i) * LP + tx + 16 * j] = w;
            }
            sum[i] = sum[i] * keep + part; // a share of the row: its 16 threads add up at the end
#pragma unroll
            for (int c = 0; c < OC; c++) o[i][c] *= keep;
        }
        __syncwarp(); // a row of P is written and read by one half warp
#pragma unroll 2
        for (int p = 0; p < TK; p += 4) {
            float w[4][4];
#pragma unroll
            for (int i = 0; i < 4; i++) *reinterpret_cast<float4*>(w[i]) = *reinterpret_cast<const float4*>(P + (ty * 4 + i) * LP + p);
#pragma unroll
            for (int k = 0; k < 4; k++) {
#pragma unroll
                for (int c = 0; c < OC; c += WIDE) {
                    float v[WIDE];
                    const float* from = V + (p + k) * LD + column(c);
                    if constexpr (WIDE == 4) *reinterpret_cast<float4*>(v) = *reinterpret_cast<const float4*>(from);
                    else *reinterpret_cast<float2*>(v) = *reinterpret_cast<const float2*>(from);
#pragma unroll
                    for (int i = 0; i < 4; i++)
#pragma unroll
                        for (int e = 0; e < WIDE; e++) o[i][c + e] += w[i][k] * v[e];
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int x = 8; x; x >>= 1) sum[i] += __shfl_xor_sync(~0u, sum[i], x);
        int r = ty * 4 + i;
        if (r >= rows) continue;
#pragma unroll
        for (int c = 0; c < OC; c++) {
            int d = column(c);
            if (d < dim) storeAs(a.out, (long long)(seq.start + q0 + r) * a.ldo + head * dim + d, a.outFmt, o[i][c] / sum[i]);
        }
    }
    if (head == 0 && a.outFmt != FMT_F32) { // padding of a 16-bit activation is zero
        int width = a.heads * dim, pad = a.ldo - width;
        for (int i = threadIdx.x; i < rows * pad; i += 256) {
            storeAs(a.out, (long long)(seq.start + q0 + i / pad) * a.ldo + width + i % pad, a.outFmt, 0.f);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 2) attn_prefill_f32(const __grid_constant__ AttentionArgs a) {
    extern __shared__ __align__(16) float shared[];
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    if (a.headDim <= 64) prefill<64>(a, shared);
    else if (a.headDim <= 96) prefill<96>(a, shared);
    else if (a.headDim <= 128) prefill<128>(a, shared);
    else prefill<256>(a, shared);
}
