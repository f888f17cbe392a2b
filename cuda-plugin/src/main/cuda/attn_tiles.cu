// Flash attention on Hopper (Shah et al., 2024), heads of 64 and 128: as attn_prefill.cu, with f16 products whatever the
// formats outside, but on wgmma. A block has 128 queries of one head, 64 for each of two warpgroups; a third warpgroup brings
// tiles of 128 keys and values, converted to f16 where they are not, two of each in flight.
//
// While the products of one tile's weights and values run, the softmax of the next tile's scores is computed: S and O are
// both in registers (64 + 64 at head size 128, and 32 of weights). Queries, keys and values lie in panels of 64 elements,
// rows of 128 bytes with swizzled chunks: keys are read along their rows, values across them.
#include "attention.cuh"
#include "bulk.cuh"

#ifdef HAS_WGMMA
#define TQ 128
#define TK 128
#define PANEL (TK * 128)

struct Source { // queries, keys or values of one head: element (p, d) at base + p * stride + d
    const void* data;
    long long base, stride;
    int fmt;
};

__device__ __forceinline__ float exp2Fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// ROWS rows from p0 into panels of ROWS x 128 bytes by 128 threads, zeros from `length` on.
template <int DIM, int ROWS> __device__ __forceinline__ void loadPanels(u32 to, const Source& s, int p0, int length, int tid) {
    const int CHUNKS = DIM / 8, DOWN = 128 / CHUNKS, TURNS = ROWS / DOWN; // DOWN is 8 or 16: a thread's swizzle stays
    const int r = tid / CHUNKS, c = tid % CHUNKS;
    const u32 place = to + (c >> 3) * (ROWS * 128) + r * 128 + (((c & 7) ^ (r & 7)) << 4);
    const long long first = s.base + (long long)(p0 + r) * s.stride + c * 8, down = s.stride * DOWN;
    auto store = [&](int i, u32 x, u32 y, u32 z, u32 w) {
        asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(place + i * DOWN * 128), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
    };
    auto valid = [&](int i) { return p0 + r + i * DOWN < length; };
    if (s.fmt == FMT_F16) {
        const __half* from = static_cast<const __half*>(s.data);
#pragma unroll 8
        for (int i = 0; i < TURNS; i++) copyAsync(place + i * DOWN * 128, from + (valid(i) ? first + i * down : s.base), valid(i));
    } else if (s.fmt == FMT_F32) {
        const float* from = static_cast<const float*>(s.data) + first;
#pragma unroll 4
        for (int i = 0; i < TURNS; i++) {
            float4 x = make_float4(0, 0, 0, 0), y = x;
            if (valid(i)) {
                const float4* q = reinterpret_cast<const float4*>(from + i * down);
                x = q[0], y = q[1];
            }
            store(i, packHalf(x.x, x.y), packHalf(x.z, x.w), packHalf(y.x, y.y), packHalf(y.z, y.w));
        }
    } else {
        const __nv_bfloat16* from = static_cast<const __nv_bfloat16*>(s.data) + first;
#pragma unroll 4
        for (int i = 0; i < TURNS; i++) {
            uint4 v = make_uint4(0, 0, 0, 0);
            if (valid(i)) v = *reinterpret_cast<const uint4*>(from + i * down);
            float2 x = bf16Pair(v.x), y = bf16Pair(v.y), z = bf16Pair(v.z), w = bf16Pair(v.w);
            store(i, packHalf(x.x, x.y), packHalf(y.x, y.y), packHalf(z.x, z.y), packHalf(w.x, w.y));
        }
    }
}

// One warpgroup's 64 queries: scores, weights, sums.
template <int DIM> struct Softmax {
    float top[2], sum[2], keep[2], scale;
    int causal, window, length, r0; // r0: position of the thread's first row; the second is 8 further
    __device__ __forceinline__ Softmax(const AttentionArgs& a, int r0, int length)
        : top{-INFINITY, -INFINITY}, sum{}, keep{}, scale(a.scale * 1.4426950408889634f), causal(a.causal), window(a.window), length(length), r0(r0) {}

    // Scores of keys p0 .. p0 + TK - 1 become weights; `keep` is what earlier sums and outputs are worth now.
    __device__ __forceinline__ void weigh(float* s, int p0, int lowest, int highest) {
        const int t = threadIdx.x & 3;
        if (p0 + TK > length || (causal && p0 + TK - 1 > lowest) || (window > 0 && p0 <= highest - window)) {
#pragma unroll
            for (int j = 0; j < TK / 8; j++) {
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    const int p = p0 + j * 8 + 2 * t + (c & 1), at = r0 + (c >> 1) * 8;
                    if (p >= length || (causal && p > at) || (window > 0 && p <= at - window)) s[4 * j + c] = -INFINITY;
                }
            }
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float best = top[h]; // of the scores before the scale, which is positive
#pragma unroll
            for (int j = 0; j < TK / 8; j++) best = fmaxf(best, fmaxf(s[4 * j + 2 * h], s[4 * j + 2 * h + 1]));
            best = fmaxf(best, __shfl_xor_sync(~0u, best, 1));
            best = fmaxf(best, __shfl_xor_sync(~0u, best, 2));
            const float safe = best == -INFINITY ? 0.f : best * scale;
            keep[h] = exp2Fast(fmaf(top[h], scale, -safe));
            top[h] = best;
            float part = 0;
#pragma unroll
            for (int j = 0; j < TK / 8; j++) {
#pragma unroll
                for (int c = 2 * h; c < 2 * h + 2; c++) part += s[4 * j + c] = exp2Fast(fmaf(s[4 * j + c], scale, -safe));
            }
            sum[h] = sum[h] * keep[h] + part;
        }
    }
};

template <int DIM> __device__ __forceinline__ void attend(const AttentionArgs& a, unsigned char* memory) {
    const int TILE = DIM / 64 * PANEL, STAGES = 2; // bytes of 128 keys or values
    const Seq seq = a.b.seqs[blockIdx.z];
    const int q0 = (gridDim.y - 1 - blockIdx.y) * TQ; // the longest rows first
    const int head = blockIdx.x, kvHead = head / (a.heads / a.kvHeads);
    if (q0 >= seq.count || (a.causal && seq.kvFmt != a.kvFmt)) return;
    const int rows = min(TQ, seq.count - q0), first = seq.base + q0;
    const int length = a.causal ? first + rows : seq.count, lo = a.window > 0 ? max(0, first - a.window + 1) : 0;
    const int tiles = (length - lo + TK - 1) / TK, group = threadIdx.x >> 7, tid = threadIdx.x & 127;
    const u32 Q = sharedAddress(memory), K = Q + DIM / 64 * TQ * 128, V = K + STAGES * TILE, bars = V + STAGES * TILE;
    if (threadIdx.x == 0) { // full keys, full values, empty keys, empty values
        for (int i = 0; i < 2 * STAGES; i++) barrierInit(bars + i * 8, 128), barrierInit(bars + (2 * STAGES + i) * 8, 8);
        barriersReady();
    }
    __syncthreads();
    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
        const int fmt = a.causal ? (a.kvFmt ? FMT_F16 : FMT_F32) : a.inFmt;
        Source k, v;
        if (a.causal) {
            const long long at = keyOffset(a, seq, kvHead);
            k = {seq.kv, at, DIM, fmt}, v = {seq.kv, at + valueDistance(a, seq), DIM, fmt};
        } else {
            k = {a.k, (long long)seq.start * a.ldk + kvHead * DIM, a.ldk, fmt}, v = {a.v, (long long)seq.start * a.ldv + kvHead * DIM, a.ldv, fmt};
        }
        u32 last = 0; // the barrier of the load before: told when that load is over, which the next has been started after
        for (int i = 0; i < 2 * tiles; i++) {
            const int tile = i >> 1, values = i & 1, slot = values * STAGES + tile % STAGES;
            barrierWait(bars + (2 * STAGES + slot) * 8, (tile / STAGES & 1) ^ 1);
            loadPanels<DIM, TK>((values ? V : K) + tile % STAGES * TILE, values ? v : k, lo + tile * TK, length, tid);
            copyCommit();
            if (i > 0) {
                copyWait<1>();
                proxyFence();
                barrierArrive(last);
            }
            last = bars + slot * 8;
        }
        copyWait<0>();
        proxyFence();
        barrierArrive(last);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 224;");
        const u32 mine = Q + group * (DIM / 64) * 64 * 128; // 64 rows of queries
        const int warpRow = group * 64 + (tid >> 5) * 16, lane = threadIdx.x & 31;
        const Source source = {a.q, (long long)(seq.start + q0) * a.ldq + head * DIM, a.ldq, a.inFmt};
        loadPanels<DIM, 64>(mine, {source.data, source.base + group * 64 * source.stride, source.stride, source.fmt}, 0, rows - group * 64, tid);
        copyCommit();
        copyWait<0>();
        proxyFence();
        meet(1 + group, 128);
        Softmax<DIM> soft(a, first + warpRow + (lane >> 2), length);
        const int lowest = first + warpRow, highest = lowest + 15;
        float s[64], o[DIM / 2];
        u32 p[32];
        auto scores = [&](int tile) { // s = q k^T
            barrierWait(bars + tile % STAGES * 8, tile / STAGES & 1);
            const u32 at = K + tile % STAGES * TILE;
            wgmmaFence();
#pragma unroll
            for (int k = 0; k < DIM / 16; k++) {
                wgmma<FMT_F16, 128>(s, wgmmaSide(mine + (k >> 2) * 64 * 128 + (k & 3) * 32), wgmmaSide(at + (k >> 2) * PANEL + (k & 3) * 32), k > 0);
            }
            wgmmaCommit();
        };
        auto outputs = [&](int tile) { // o += p v
            barrierWait(bars + (STAGES + tile % STAGES) * 8, tile / STAGES & 1);
            const u32 at = V + tile % STAGES * TILE;
            wgmmaFence();
#pragma unroll
            for (int k = 0; k < TK / 16; k++) wgmmaAcross<DIM>(o, p + 4 * k, wgmmaSideAcross(at + k * 2048, PANEL));
            wgmmaCommit();
        };
        auto done = [&](int values, int tile) { if (lane == 0) barrierArrive(bars + (2 * STAGES + values * STAGES + tile % STAGES) * 8); };
        auto pack = [&] {
#pragma unroll
            for (int i = 0; i < 32; i++) {
                __half2 h = __floats2half2_rn(s[2 * i], s[2 * i + 1]);
                p[i] = *reinterpret_cast<u32*>(&h);
            }
        };
#pragma unroll
        for (int i = 0; i < DIM / 2; i++) o[i] = 0;
        scores(0);
        wgmmaWait<0>();
        wgmmaDone<64>(s);
        done(0, 0);
        soft.weigh(s, lo, lowest, highest);
        pack();
        for (int tile = 1; tile < tiles; tile++) {
            scores(tile);
            outputs(tile - 1);
            wgmmaWait<1>();
            wgmmaDone<64>(s);
            done(0, tile);
            soft.weigh(s, lo + tile * TK, lowest, highest);
            wgmmaWait<0>();
            wgmmaDone<DIM / 2>(o);
            done(1, tile - 1);
#pragma unroll
            for (int i = 0; i < DIM / 2; i++) o[i] *= soft.keep[i >> 1 & 1];
            pack();
        }
        outputs(tiles - 1);
        wgmmaWait<0>();
        wgmmaDone<DIM / 2>(o);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float sum = soft.sum[h];
            sum += __shfl_xor_sync(~0u, sum, 1);
            sum += __shfl_xor_sync(~0u, sum, 2);
            const int r = warpRow + (lane >> 2) + 8 * h;
            if (r >= rows) continue;
            const float inverse = 1.f / sum;
            const long long at = (long long)(seq.start + q0 + r) * a.ldo + head * DIM + 2 * (lane & 3);
#pragma unroll
            for (int d = 0; d < DIM / 8; d++) storePair(a.out, at + d * 8, a.outFmt, o[4 * d + 2 * h] * inverse, o[4 * d + 2 * h + 1] * inverse);
        }
    }
}
#endif

template <int DIM> __device__ __forceinline__ void attention(const AttentionArgs& a) {
#ifdef HAS_WGMMA
    extern __shared__ __align__(1024) unsigned char memory[];
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    attend<DIM>(a, memory);
#else
    __trap(); // no launch rule of another card comes here
#endif
}
extern "C" __global__ void __launch_bounds__(384, 1) attn_tiles64(const __grid_constant__ AttentionArgs a) { attention<64>(a); }
extern "C" __global__ void __launch_bounds__(384, 1) attn_tiles128(const __grid_constant__ AttentionArgs a) { attention<128>(a); }
