// Flash attention on Hopper for prompts of few tokens, heads of 64 and 128, with the append of keys and values in the same
// launch: positions that the cache has come from there, those of the batch from k and v, normalized and rotated on the
// way. The block whose queries a position belongs to, of the first head that shares its keys, writes it to the cache: nobody
// reads there what is written here.
//
// A block has 64 queries of one head; a warpgroup multiplies, one brings tiles of 128 keys, one of 128 values.
#include "attn_wgmma.cuh"
#include "eights.cuh"

#ifdef HAS_WGMMA
#define TQ 64

// Rows of one head, position p at cached + p * dim before `base` and at fresh + (p - base) * ld from there on.
struct Rows {
    const void* cached;
    const void* fresh;
    long long cachedAt, freshAt, ld;
    int cachedFmt, freshFmt, base, row; // row: of position `base` in the batch
    bool prepared; // values are as they come
};
// Where fresh positions first .. end - 1 go, too.
struct Keep { void* to; long long at; int fmt, first, end; };

// ROWS rows from position p0 into panels of ROWS x 128 bytes by 128 threads, zeros from `length` on. 16-bit rows come as they
// are, all at once; then each thread prepares its own chunks, in a loop whose code is short: it runs once and comes from memory.
template <int DIM, int ROWS> __device__ __forceinline__ void bring(u32 to, const Rows& s, const NormRef& norm, const RopeRef& rope, const Keep& keep, int p0, int length, int tid) {
    const int CHUNKS = DIM / 8, DOWN = 128 / CHUNKS, TURNS = ROWS / DOWN; // DOWN is 8 or 16: a thread's swizzle stays
    const int r = tid / CHUNKS, c = tid % CHUNKS;
    const u32 place = to + (c >> 3) * (ROWS * 128) + r * 128 + (((c & 7) ^ (r & 7)) << 4);
    const bool norms = !s.prepared && norm.kind != NORM_NONE, rotates = !s.prepared && rope.cs;
    auto from = [&](int p) {
        const bool fresh = p >= s.base;
        const long long at = (fresh ? s.freshAt + (p - s.base) * s.ld : s.cachedAt + (long long)p * DIM) + c * 8;
        return static_cast<const char*>(fresh ? s.fresh : s.cached) + at * ((fresh ? s.freshFmt : s.cachedFmt) == FMT_F32 ? 4 : 2);
    };
    auto rotationOf = [&](int p) { return LaneRotation(rope, s.row + max(0, min(p, length - 1) - s.base), c); };
#pragma unroll 2
    for (int i = 0; i < TURNS; i++) {
        const int p = p0 + r + i * DOWN;
        const bool narrow = p < length && (p >= s.base ? s.freshFmt : s.cachedFmt) != FMT_F32;
        copyAsync(place + i * DOWN * 128, narrow ? from(p) : s.fresh, narrow);
    }
    copyCommit();
    LaneRotation next;
    if (rotates) next = rotationOf(p0 + r);
    copyWait<0>();
#pragma unroll 1
    for (int i = 0; i < TURNS && p0 + i * DOWN < length; i++) {
        const int p = p0 + r + i * DOWN, fmt = p >= s.base ? s.freshFmt : s.cachedFmt;
        const u32 at = place + i * DOWN * 128;
        const bool kept = p >= keep.first && p < keep.end;
        const LaneRotation rotation = next;
        if (rotates) next = rotationOf(p + DOWN);
        if (!norms && !rotates && fmt == FMT_F16 && !kept) continue;
        Eight e;
        if (fmt == FMT_F32) {
            e = p < length ? loadEight(from(p), 0, FMT_F32) : Eight{};
        } else {
            u32 v[4];
            asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3]) : "r"(at) : "memory");
#pragma unroll
            for (int j = 0; j < 4; j++) *reinterpret_cast<float2*>(e.v + 2 * j) = fmt == FMT_F16 ? f16Pair(v[j]) : bf16Pair(v[j]);
        }
        Eight n = e;
        if (norms) normalizeEight(n, norm, DIM, c * 8);
        if (rotates) rotation.apply(n, threadIdx.x & 31);
        if (p >= s.base) e = n;
        asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(at), "r"(packHalf(e.v[0], e.v[1])), "r"(packHalf(e.v[2], e.v[3])),
                     "r"(packHalf(e.v[4], e.v[5])), "r"(packHalf(e.v[6], e.v[7])) : "memory");
        if (kept) storeEight(keep.to, keep.at + (long long)p * DIM + c * 8, keep.fmt, e);
    }
}

template <int DIM> __device__ __forceinline__ void attend(const AttentionArgs& a, unsigned char* memory) {
    const Seq seq = a.b.seqs[blockIdx.z]; // not written by the kernel before: no need to wait
    const int q0 = (gridDim.y - 1 - blockIdx.y) * TQ; // the longest rows first
    if (q0 >= seq.count || seq.kvFmt != a.kvFmt) {
        dependencyWait(); // or the next kernel would not wait for the one before
        return;
    }
    const Work w(a, seq, blockIdx.x, q0, TQ);
    const int group = threadIdx.x >> 7, tid = threadIdx.x & 127;
    const u32 queries = sharedAddress(memory);
    const Stages<DIM> stages(queries + DIM / 64 * TQ * 128);
    if (threadIdx.x == 0) stages.init(4);
    __syncthreads();
    dependencyWait();
    dependentsLaunch();
    if (group == 0) {
        if (DIM == 128) asm volatile("setmaxnreg.inc.sync.aligned.u32 200;");
        const Rows rows = {a.q, a.q, 0, (long long)seq.start * a.ldq + w.head * DIM, a.ldq, a.inFmt, a.inFmt, 0, seq.start, false};
        bring<DIM, TQ>(queries, rows, a.qNorm, a.rope, {nullptr, 0, 0, 0, 0}, q0, q0 + w.rows, tid);
        proxyFence();
        meet(1, 128);
        attend<DIM>(a, w, stages, queries, 0);
        return;
    }
    if (DIM == 128) asm volatile("setmaxnreg.dec.sync.aligned.u32 152;");
    const int values = group - 1, ld = values ? a.ldv : a.ldk;
    const long long cached = keyOffset(a, seq, w.kvHead) + (values ? valueDistance(a, seq) : 0);
    const bool writes = w.head % (a.heads / a.kvHeads) == 0;
    const Rows rows = {seq.kv, values ? a.v : a.k, cached, (long long)seq.start * ld + w.kvHead * DIM, ld, a.kvFmt ? FMT_F16 : FMT_F32, a.inFmt, seq.base, seq.start, values == 1};
    const Keep keep = {seq.kv, cached, a.kvFmt ? FMT_F16 : FMT_F32, w.first, writes ? min(w.first + w.rows, seq.capacity) : 0};
    for (int tile = 0; tile < w.tiles; tile++) {
        stages.awaitEmpty(values, tile);
        bring<DIM, TK>(stages.place(values, tile), rows, a.kNorm, a.rope, keep, w.lo + tile * TK, w.length, tid);
        proxyFence();
        barrierArrive(stages.full(values, tile));
    }
}
#endif

template <int DIM> __device__ __forceinline__ void attention(const AttentionArgs& a) {
#ifdef HAS_WGMMA
    extern __shared__ __align__(1024) unsigned char memory[];
    Mark mark{a.mark};
    attend<DIM>(a, memory);
#else
    __trap(); // no launch rule of another card comes here
#endif
}
extern "C" __global__ void __launch_bounds__(384, 1) attn_short64(const __grid_constant__ AttentionArgs a) { attention<64>(a); }
extern "C" __global__ void __launch_bounds__(384, 1) attn_short128(const __grid_constant__ AttentionArgs a) { attention<128>(a); }
