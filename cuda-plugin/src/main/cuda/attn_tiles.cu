// Flash attention on Hopper for long slices, heads of 64 and 128. A block has 128 queries of one head, 64 for each of two
// warpgroups; a third warpgroup brings tiles of 128 keys and values, converted to f16 where they are not, two of each in
// flight. Where nothing has to be prepared, that one appends, too: positions of the batch come from k and v.
#include "attn_wgmma.cuh"
#include "positions.cuh"

#ifdef HAS_WGMMA
#define TQ 128

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
        return;
    }
    const bool wide = s.fmt == FMT_F32;
    const char* from = static_cast<const char*>(s.data) + first * (wide ? 4 : 2);
#pragma unroll 1
    for (int i0 = 0; i0 < TURNS; i0 += 4) { // four loads on their way before the first is waited for
        uint4 x[4], y[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint4* at = reinterpret_cast<const uint4*>(from + (i0 + i) * down * (wide ? 4 : 2));
            x[i] = y[i] = make_uint4(0, 0, 0, 0);
            if (valid(i0 + i)) x[i] = at[0];
            if (valid(i0 + i) && wide) y[i] = at[1];
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (wide) {
                store(i0 + i, packHalf(asFloat(x[i].x), asFloat(x[i].y)), packHalf(asFloat(x[i].z), asFloat(x[i].w)),
                      packHalf(asFloat(y[i].x), asFloat(y[i].y)), packHalf(asFloat(y[i].z), asFloat(y[i].w)));
            } else {
                const float2 c = bf16Pair(x[i].x), d = bf16Pair(x[i].y), e = bf16Pair(x[i].z), f = bf16Pair(x[i].w);
                store(i0 + i, packHalf(c.x, c.y), packHalf(d.x, d.y), packHalf(e.x, e.y), packHalf(f.x, f.y));
            }
        }
    }
}

// As loadPanels, 128 rows that lie in two places.
template <int DIM> __device__ __forceinline__ void loadPositions(u32 to, const Positions<DIM>& s, int p0, int length, int tid) {
    const int CHUNKS = DIM / 8, DOWN = 128 / CHUNKS;
    const int r = tid / CHUNKS, c = tid % CHUNKS;
    const u32 place = to + (c >> 3) * PANEL + r * 128 + (((c & 7) ^ (r & 7)) << 4);
#pragma unroll 8
    for (int i = 0; i < TK / DOWN; i++) {
        const int p = p0 + r + i * DOWN;
        copyAsync(place + i * DOWN * 128, s.at(min(p, length - 1)) + c * 8, p < length);
    }
}
// The block's own keys and values go to the cache.
template <int DIM> __device__ __forceinline__ void append(const AttentionArgs& a, const Seq& seq, const Work& w, const Positions<DIM>& k, const Positions<DIM>& v, int tid) {
    if (w.head % (a.heads / a.kvHeads) != 0) return;
    const int CHUNKS = DIM / 8, DOWN = 128 / CHUNKS, c = tid % CHUNKS, end = min(w.first + w.rows, seq.capacity);
#pragma unroll 4
    for (int p = w.first + tid / CHUNKS; p < end; p += DOWN) {
        const uint4 x = __ldcg(reinterpret_cast<const uint4*>(k.at(p)) + c), y = __ldcg(reinterpret_cast<const uint4*>(v.at(p)) + c);
        k.cache(p)[c] = x, v.cache(p)[c] = y;
    }
}

template <int DIM, bool APPENDS> __device__ __forceinline__ void attend(const AttentionArgs& a, unsigned char* memory) {
    const Seq seq = a.b.seqs[blockIdx.z];
    const int q0 = (gridDim.y - 1 - blockIdx.y) * TQ; // the longest rows first
    if (q0 >= seq.count || (a.causal && seq.kvFmt != a.kvFmt)) return;
    const Work w(a, seq, blockIdx.x, q0, TQ);
    const int group = threadIdx.x >> 7, tid = threadIdx.x & 127;
    const u32 queries = sharedAddress(memory);
    const Stages<DIM> stages(queries + DIM / 64 * TQ * 128);
    if (threadIdx.x == 0) stages.init(8);
    __syncthreads();
    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
        const int fmt = a.causal ? (a.kvFmt ? FMT_F16 : FMT_F32) : a.inFmt;
        Source k, v;
        if (a.causal) {
            const long long at = keyOffset(a, seq, w.kvHead);
            k = {seq.kv, at, DIM, fmt}, v = {seq.kv, at + valueDistance(a, seq), DIM, fmt};
        } else {
            k = {a.k, (long long)seq.start * a.ldk + w.kvHead * DIM, a.ldk, fmt}, v = {a.v, (long long)seq.start * a.ldv + w.kvHead * DIM, a.ldv, fmt};
        }
        const Positions<DIM> ownKeys(a, seq, w.kvHead, false), ownValues(a, seq, w.kvHead, true);
        u32 last = 0; // the barrier of the load before: told when that load is over, which the next has been started after
        for (int i = 0; i < 2 * w.tiles; i++) {
            const int tile = i >> 1, values = i & 1;
            stages.awaitEmpty(values, tile);
            if (APPENDS) loadPositions<DIM>(stages.place(values, tile), values ? ownValues : ownKeys, w.lo + tile * TK, w.length, tid);
            else loadPanels<DIM, TK>(stages.place(values, tile), values ? v : k, w.lo + tile * TK, w.length, tid);
            copyCommit();
            if (i > 0) {
                copyWait<1>();
                proxyFence();
                barrierArrive(last);
            }
            last = stages.full(values, tile);
        }
        copyWait<0>();
        proxyFence();
        barrierArrive(last);
        if (APPENDS) append<DIM>(a, seq, w, ownKeys, ownValues, tid);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 224;");
        const u32 mine = queries + group * (DIM / 64) * 64 * 128; // 64 rows of queries
        const Source source = {a.q, (long long)(w.start + group * 64) * a.ldq + w.head * DIM, a.ldq, a.inFmt};
        loadPanels<DIM, 64>(mine, source, 0, w.rows - group * 64, tid);
        copyCommit();
        copyWait<0>();
        proxyFence();
        meet(1 + group, 128);
        attend<DIM>(a, w, stages, mine, group);
    }
}
#endif

template <int DIM, bool APPENDS> __device__ __forceinline__ void attention(const AttentionArgs& a) {
#ifdef HAS_WGMMA
    extern __shared__ __align__(1024) unsigned char memory[];
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    attend<DIM, APPENDS>(a, memory);
#else
    __trap(); // no launch rule of another card comes here
#endif
}
extern "C" __global__ void __launch_bounds__(384, 1) attn_tiles64(const __grid_constant__ AttentionArgs a) { attention<64, false>(a); }
extern "C" __global__ void __launch_bounds__(384, 1) attn_tiles128(const __grid_constant__ AttentionArgs a) { attention<128, false>(a); }
extern "C" __global__ void __launch_bounds__(384, 1) attn_tiles64_appends(const __grid_constant__ AttentionArgs a) { attention<64, true>(a); }
