// norm, up (and gate), activation and down of one row in one launch: a cluster takes some hidden units, its blocks their share of
// them and then of the output's rows.
#include "layer.cuh"

enum { WEIGHTS, ROW, HIDDEN, BARRIERS };

template <int FMT> __device__ __forceinline__ void mlp(const LayerMlpArgs& a) {
    extern __shared__ uint4 memory[];
    __shared__ u64 barriers[BARRIERS];
    __shared__ Stream stream;
    const int ES = Vec<FMT>::BYTES, N = Vec<FMT>::N, rank = blockIdx.z, width = a.up.k, vecs = width / N, t = threadIdx.x;
    const int sides = a.gated ? 2 : 1, units = min(a.units, a.down.k - int(blockIdx.x) * a.units), own = units / LAYER_BLOCKS, rows = own * sides, outputs = width / LAYER_BLOCKS, unitVecs = units / N;
    const int firstRow = (blockIdx.x * a.units + rank * own) * sides;
    uint4 *up = memory, *down = up + rows * vecs;
    float4 *x = reinterpret_cast<float4*>(down + outputs * unitVecs), *hidden = x + width / 4;
    float* bias = reinterpret_cast<float*>(hidden + units / 4);
    if (t == 0) {
        startBarriers(barriers, BARRIERS);
        expect(barriers + WEIGHTS, (rows * vecs + outputs * unitVecs) * 16);
        expect(barriers + ROW, Normalized<FMT>::bytes(width));
        expect(barriers + HIDDEN, units * 4);
    }
    __syncthreads();
    clusterArrive();
    if (t < outputs) {
        bringWeights(down + t * unitVecs, static_cast<const char*>(a.down.data) + ((long long)(rank * outputs + t) * a.down.ld + blockIdx.x * a.units) * ES, unitVecs * 16, barriers + WEIGHTS);
    } else if (t >= LAYER_THREADS / 2) {
        for (int r = t - LAYER_THREADS / 2; r < rows; r += LAYER_THREADS / 2) bringWeights(up + r * vecs, static_cast<const char*>(a.up.data) + (long long)(firstRow + r) * a.up.ld * ES, vecs * 16, barriers + WEIGHTS);
    }
    Normalized<FMT> normalized(a.in, a.norm, width);
    for (int r = t; r < rows; r += LAYER_THREADS) bias[r] = a.bias ? __ldg(a.bias + firstRow + r) : 0.f;
    clusterWait();
    dependencyWait();
    dependentsLaunch();
    normalized.bringTo(x, a.in, a.norm, width, blockIdx.x == 0, stream, barriers + ROW);
    awaitBytes(barriers + WEIGHTS);
    const int each = (own + LAYER_WARPS - 1) / LAYER_WARPS * sides;
    multiplyForAll<FMT>(up, rows, each, vecs, x, [&](int row, float v, bool is) {
        v += bias[row];
        const float gate = __shfl_xor_sync(~0u, v, 8); // of the next row
        v = activate(v, a.act);
        int unit = row;
        if (a.gated) v *= gate, is &= (row & 1) == 0, unit = row / 2;
        if (is) send(placeOf<FMT>(hidden, rank * own + unit, units), barriers + HIDDEN, t & 7, v);
    });
    awaitBytes(barriers + HIDDEN);
    partEnds(a.mark, 0);
    multiplyOwn<FMT>(down, outputs, unitVecs, hidden, a.parts + blockIdx.x * width + rank * outputs);
    partEnds(a.mark, 1);
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) // elsewhere they are never launched
#define BODY(FMT) mlp<FMT>(a)
#else
#define BODY(FMT)
#endif
#define KERNEL(NAME, FMT) \
    extern "C" __global__ void __launch_bounds__(LAYER_THREADS, 2) NAME(const __grid_constant__ LayerMlpArgs a) { BODY(FMT); }
KERNEL(layer_mlp_f32, FMT_F32)
KERNEL(layer_mlp_f16, FMT_F16)
KERNEL(layer_mlp_bf16, FMT_BF16)

// The stream after the last layer.
extern "C" __global__ void __launch_bounds__(LAYER_THREADS) layer_sum(const __grid_constant__ LayerSumArgs a) {
    __shared__ float4 slots[LAYER_WARPS][32];
    Mark mark{a.mark};
    const int at = blockIdx.x * 128 + (threadIdx.x & 31) * 4;
    const bool in = at < a.width;
    const float4 bias = in && a.in.bias ? __ldg(reinterpret_cast<const float4*>(a.in.bias + at)) : make_float4(0, 0, 0, 0);
    dependencyWait();
    dependentsLaunch();
    const float4 v = columnsOf(a.in, at, in, bias, slots);
    if (in && threadIdx.x < 32) *reinterpret_cast<float4*>(a.in.sum + at) = v;
}
