// Before prefill attention: q and k are normalized and rotated; causal keys and values enter the session's cache, other
// keys stay where they are. One warp per head vector.
#include "attention.cuh"

extern "C" __global__ void __launch_bounds__(128) kv_append(const __grid_constant__ AttentionArgs a) {
    __shared__ float shared[4][MAX_HEAD_DIM];
    Mark mark{a.mark};
    dependentsLaunch();
    dependencyWait();
    const int r = blockIdx.x, h = blockIdx.y * 4 + (threadIdx.x >> 5), lane = threadIdx.x & 31, dim = a.headDim;
    if (h >= a.heads + 2 * a.kvHeads) return;
    const Row row = a.b.rows[r];
    const Seq seq = a.b.seqs[row.seq];
    if (a.causal && (seq.kvFmt != a.kvFmt || row.position >= seq.capacity)) return;
    float* v = shared[threadIdx.x >> 5];
    const bool isQ = h < a.heads, isK = !isQ && h < a.heads + a.kvHeads;
    if (isQ) {
        if (a.qNorm.kind == NORM_NONE && !a.rope.cs) return;
        long long at = (long long)r * a.ldq + h * dim;
        headVector(a.q, at, a.inFmt, dim, a.qNorm, a.rope, true, r, v);
        for (int d = lane; d < dim; d += 32) storeAs(const_cast<void*>(a.q), at + d, a.inFmt, v[d]);
        return;
    }
    const int kvHead = h - a.heads - (isK ? 0 : a.kvHeads);
    if (!a.causal && !isK) return;
    const NormRef none = {};
    long long at = (long long)r * (isK ? a.ldk : a.ldv) + kvHead * dim;
    headVector(isK ? a.k : a.v, at, a.inFmt, dim, isK ? a.kNorm : none, a.rope, isK, r, v);
    if (!a.causal) {
        for (int d = lane; d < dim; d += 32) storeAs(const_cast<void*>(a.k), at + d, a.inFmt, v[d]);
        return;
    }
    long long to = keyOffset(a, seq, kvHead) + (isK ? 0 : valueDistance(a, seq)) + (long long)row.position * dim;
    for (int d = lane; d < dim; d += 32) storeAs(seq.kv, to + d, a.kvFmt, v[d]);
}
