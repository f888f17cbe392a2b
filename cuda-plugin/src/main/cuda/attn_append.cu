// Before prefill attention: q and k are normalized and rotated; causal keys and values enter the session's cache, other
// keys stay where they are. A block takes a row. Heads of 64, 128 or 256: a lane holds 8 neighbouring elements, so that
// everything moves 16 bytes at a time, and 8, 16 or 32 lanes a head. Other heads: a warp each, through shared memory.
#include "eights.cuh"

// Where a head vector comes from and goes to.
struct Move { const void* from; void* to; long long at, out; int fmt; bool isQ, isK; };
__device__ __forceinline__ Move moveOf(const AttentionArgs& a, const Row& row, const Seq& seq, int r, int h) {
    Move m;
    m.isQ = h < a.heads, m.isK = !m.isQ && h < a.heads + a.kvHeads;
    const int kvHead = h - a.heads - (m.isK ? 0 : a.kvHeads);
    m.from = m.isQ ? a.q : m.isK ? a.k : a.v;
    m.at = (long long)r * (m.isQ ? a.ldq : m.isK ? a.ldk : a.ldv) + (m.isQ ? h : kvHead) * a.headDim;
    const bool inPlace = m.isQ || !a.causal;
    m.to = inPlace ? const_cast<void*>(m.from) : seq.kv;
    m.fmt = inPlace ? a.inFmt : a.kvFmt;
    m.out = inPlace ? m.at : keyOffset(a, seq, kvHead) + (m.isK ? 0 : valueDistance(a, seq)) + (long long)row.position * a.headDim;
    return m;
}

extern "C" __global__ void __launch_bounds__(256) kv_append(const __grid_constant__ AttentionArgs a) {
    __shared__ float shared[8][MAX_HEAD_DIM];
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    const int r = blockIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x >> 5, dim = a.headDim;
    const Row row = a.b.rows[r];
    const Seq seq = a.b.seqs[row.seq];
    if (a.causal && (seq.kvFmt != a.kvFmt || row.position >= seq.capacity)) return;
    const int first = a.qNorm.kind == NORM_NONE && !a.rope.cs ? a.heads : 0; // q may need nothing
    const int end = a.heads + (a.causal ? 2 : 1) * a.kvHeads;
    const bool rotates = !a.rope.cs || ((a.rope.rotaryDim & (a.rope.interleaved ? 7 : 15)) == 0 && (a.rope.ldcs & 1) == 0);
    if ((dim == 64 || dim == 128 || dim == 256) && rotates && ((a.ldq | a.ldk | a.ldv | a.kvOffset) & 7) == 0) {
        const int lanes = dim / 8, per = 32 / lanes, l = lane & (lanes - 1);
        const LaneRotation rotation(a.rope, r, l);
        for (int h0 = first + warp * per; h0 < end; h0 += 8 * per) {
            const int h = h0 + lane / lanes;
            const Move m = moveOf(a, row, seq, r, min(h, end - 1));
            Eight e = loadEight(m.from, m.at + l * 8, a.inFmt);
            Eight n = e;
            if (a.qNorm.kind != NORM_NONE && h0 < a.heads) { normalizeEight(n, a.qNorm, dim, l * 8); if (m.isQ) e = n; n = e; }
            if (a.kNorm.kind != NORM_NONE) { normalizeEight(n, a.kNorm, dim, l * 8); if (m.isK) e = n; }
            if (a.rope.cs) {
                n = e;
                rotation.apply(n, lane);
                if (m.isQ || m.isK) e = n;
            }
            if (h < end) storeEight(m.to, m.out + l * 8, m.fmt, e);
        }
        return;
    }
    float* v = shared[warp];
    Rotation rotation;
    rotation.load(a.rope, r);
    const NormRef none = {};
    for (int h = first + warp; h < end; h += 8) {
        const Move m = moveOf(a, row, seq, r, h);
        __syncwarp();
        headVector(m.from, m.at, a.inFmt, dim, m.isQ ? a.qNorm : m.isK ? a.kNorm : none, a.rope, m.isQ || m.isK, rotation, v);
        if (((dim | m.out) & 1) == 0) {
            for (int d = lane * 2; d < dim; d += 64) storePair(m.to, m.out + d, m.fmt, v[d], v[d + 1]);
        } else {
            for (int d = lane; d < dim; d += 32) storeAs(m.to, m.out + d, m.fmt, v[d]);
        }
    }
}
