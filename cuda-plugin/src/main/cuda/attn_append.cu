// Before prefill attention: q and k are normalized and rotated; causal keys and values enter the session's cache, other
// keys stay where they are. A block takes a row, its 8 warps the head vectors in turn.
#include "attention.cuh"

extern "C" __global__ void __launch_bounds__(256) kv_append(const __grid_constant__ AttentionArgs a) {
    __shared__ float shared[8][MAX_HEAD_DIM];
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    const int r = blockIdx.x, lane = threadIdx.x & 31, dim = a.headDim;
    const Row row = a.b.rows[r];
    const Seq seq = a.b.seqs[row.seq];
    if (a.causal && (seq.kvFmt != a.kvFmt || row.position >= seq.capacity)) return;
    float* v = shared[threadIdx.x >> 5];
    Rotation rotation;
    rotation.load(a.rope, r);
    const NormRef none = {};
    const int first = a.qNorm.kind == NORM_NONE && !a.rope.cs ? a.heads : 0; // q may need nothing
    const int end = a.heads + (a.causal ? 2 : 1) * a.kvHeads;
    for (int h = first + (threadIdx.x >> 5); h < end; h += 8) {
        const bool isQ = h < a.heads, isK = !isQ && h < a.heads + a.kvHeads;
        const int kvHead = h - a.heads - (isK ? 0 : a.kvHeads);
        const void* from = isQ ? a.q : isK ? a.k : a.v;
        const long long at = (long long)r * (isQ ? a.ldq : isK ? a.ldk : a.ldv) + (isQ ? h : kvHead) * dim;
        __syncwarp();
        headVector(from, at, a.inFmt, dim, isQ ? a.qNorm : isK ? a.kNorm : none, a.rope, isQ || isK, rotation, v);
        const bool inPlace = isQ || !a.causal;
        void* to = inPlace ? const_cast<void*>(from) : seq.kv;
        const int fmt = inPlace ? a.inFmt : a.kvFmt;
        const long long out = inPlace ? at : keyOffset(a, seq, kvHead) + (isK ? 0 : valueDistance(a, seq)) + (long long)row.position * dim;
        if (((dim | out) & 1) == 0) {
            for (int d = lane * 2; d < dim; d += 64) storePair(to, out + d, fmt, v[d], v[d + 1]);
        } else {
            for (int d = lane; d < dim; d += 32) storeAs(to, out + d, fmt, v[d]);
        }
    }
}
