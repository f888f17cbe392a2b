// Before prefill attention: q and k are normalized and rotated; causal keys and values enter the session's cache, other
// keys stay where they are. A block takes a row. Heads of 64, 128 or 256: a lane holds 8 neighbouring elements, so that
// everything moves 16 bytes at a time, and 8, 16 or 32 lanes a head. Other heads: a warp each, through shared memory.
#include "attention.cuh"

struct __align__(16) Eight { float v[8]; };
__device__ __forceinline__ Eight loadEight(const void* p, long long at, int fmt) {
    Eight e;
    if (fmt == FMT_F32) {
        const float4* q = reinterpret_cast<const float4*>(static_cast<const float*>(p) + at);
        *reinterpret_cast<float4*>(e.v) = __ldcg(q), *reinterpret_cast<float4*>(e.v + 4) = __ldcg(q + 1);
        return e;
    }
    const uint4 q = __ldcg(reinterpret_cast<const uint4*>(static_cast<const __half*>(p) + at));
    const u32 w[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
    for (int i = 0; i < 4; i++) *reinterpret_cast<float2*>(e.v + 2 * i) = fmt == FMT_F16 ? f16Pair(w[i]) : bf16Pair(w[i]);
    return e;
}
__device__ __forceinline__ void storeEight(void* p, long long at, int fmt, const Eight& e) {
    if (fmt == FMT_F32) {
        float4* q = reinterpret_cast<float4*>(static_cast<float*>(p) + at);
        q[0] = *reinterpret_cast<const float4*>(e.v), q[1] = *reinterpret_cast<const float4*>(e.v + 4);
        return;
    }
    u32 w[4];
#pragma unroll
    for (int i = 0; i < 4; i++) w[i] = fmt == FMT_F16 ? packHalf(e.v[2 * i], e.v[2 * i + 1]) : packBf16(e.v[2 * i], e.v[2 * i + 1]);
    *reinterpret_cast<uint4*>(static_cast<__half*>(p) + at) = make_uint4(w[0], w[1], w[2], w[3]);
}

// A lane's share of the rotation of every head of a row: eight pairs with a partner lane, or four within the lane.
struct LaneRotation {
    float2 c[8];
    int partner; // the lane's distance; 0: none
    bool within, second;
    __device__ __forceinline__ LaneRotation(const RopeRef& rope, int row, int lane) : partner(0), within(false), second(false) {
        const int d = lane * 8, half = rope.rotaryDim / 2;
        if (!rope.cs || d >= rope.rotaryDim) return;
        within = rope.interleaved;
        second = !within && d >= half;
        partner = within ? 0 : second ? -half / 8 : half / 8;
        const float4* cs = reinterpret_cast<const float4*>(rope.cs + (long long)row * rope.ldcs + (within ? d / 2 : second ? d - half : d));
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (within && i >= 2) break;
            float4 v = __ldcg(cs + i);
            c[2 * i] = make_float2(v.x, v.y), c[2 * i + 1] = make_float2(v.z, v.w);
        }
    }
    __device__ __forceinline__ void apply(Eight& e, int lane) const {
        float other[8];
#pragma unroll
        for (int i = 0; i < 8; i++) other[i] = __shfl_sync(~0u, e.v[i], lane + partner);
        if (within) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float x = e.v[2 * i], y = e.v[2 * i + 1];
                e.v[2 * i] = x * c[i].x - y * c[i].y, e.v[2 * i + 1] = y * c[i].x + x * c[i].y;
            }
        } else if (partner) {
#pragma unroll
            for (int i = 0; i < 8; i++) e.v[i] = e.v[i] * c[i].x + (second ? other[i] : -other[i]) * c[i].y;
        }
    }
};

__device__ __forceinline__ void normalizeEight(Eight& e, const NormRef& norm, int dim, int d) {
    auto headSum = [&](float v) {
        for (int x = dim / 16; x; x >>= 1) v += __shfl_xor_sync(~0u, v, x);
        return v;
    };
    float sum = 0, sq = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) sum += e.v[i];
    const float mean = norm.kind == NORM_LAYER ? headSum(sum) / dim : 0.f;
#pragma unroll
    for (int i = 0; i < 8; i++) sq += (e.v[i] - mean) * (e.v[i] - mean);
    const float scale = 1.f / sqrtf(headSum(sq) / dim + norm.eps);
#pragma unroll
    for (int i = 0; i < 8; i++) e.v[i] = (e.v[i] - mean) * scale * norm.w[d + i] + (norm.b ? norm.b[d + i] : 0.f);
}

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
