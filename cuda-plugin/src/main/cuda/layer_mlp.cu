// norm, up (and gate), activation and down of one row in one launch: a cluster takes some hidden units, its blocks their share of
// them and then of the output's rows.
#include "layer.cuh"

template <int FMT> __device__ __forceinline__ void mlp(const LayerMlpArgs& a) {
    extern __shared__ uint4 memory[];
    __shared__ u64 weights, arrived, met;
    __shared__ float2 stats[LAYER_BLOCKS];
    __shared__ float4 slots[LAYER_WARPS][32];
    const int ES = Vec<FMT>::BYTES, N = Vec<FMT>::N, rank = blockIdx.z, width = a.up.k, vecs = a.up.ld / N;
    const int each = a.gated ? 2 : 1, rows = a.units / LAYER_BLOCKS * each, outputs = width / LAYER_BLOCKS, unitVecs = a.units / N;
    const int firstRow = (blockIdx.x * a.units) * each + rank * rows;
    uint4 *up = memory, *down = up + rows * vecs;
    float4 *x = reinterpret_cast<float4*>(down + outputs * unitVecs), *hidden = x + width / 4;
    float* bias = reinterpret_cast<float*>(hidden + a.units / 4);
    Mark mark{a.mark};
    if (threadIdx.x < 32) {
        if (threadIdx.x == 0) {
            expectBytes(&weights, (rows * vecs + outputs * unitVecs) * 16);
            expectBytes(&arrived, Stream<FMT>::bytes(width));
            expectBytes(&met, a.units * 4);
        }
        __syncwarp();
        if (threadIdx.x == 0) bring(up, static_cast<const char*>(a.up.data) + (long long)firstRow * a.up.ld * ES, rows * vecs * 16, &weights);
        const char* from = static_cast<const char*>(a.down.data) + ((long long)rank * outputs * a.down.ld + blockIdx.x * a.units) * ES;
#pragma unroll 1
        for (int r = threadIdx.x; r < outputs; r += 32) bring(down + r * unitVecs, from + (long long)r * a.down.ld * ES, unitVecs * 16, &weights);
    }
    Stream<FMT> stream;
    stream.x = x, stream.stats = stats, stream.slots = slots, stream.arrived = &arrived;
    stream.prepare(a.in, a.norm, width);
    for (int r = threadIdx.x; r < rows; r += LAYER_THREADS) bias[r] = a.bias ? __ldg(a.bias + firstRow + r) : 0.f;
    __syncthreads(); // the barriers count
    clusterArrive();
    dependencyWait();
    dependentsLaunch();
    stream.bringNormalized(a.in, a.norm, width, blockIdx.x == 0);
    awaitBytes(&weights);
    multiplyRows<FMT>(up, vecs, rows, width / N, x, a.gated, [&](int row, float v, float next) {
        v = activate(v + bias[row], a.act);
        int unit = row;
        if (a.gated) {
            if (row & 1) return;
            v *= next + bias[row + 1], unit = row / 2;
        }
        unit += rank * (a.units / LAYER_BLOCKS);
        const int lane = threadIdx.x & 31; // of a row's lanes, eight at least, one a block
        float* to = reinterpret_cast<float*>(hidden + Stream<FMT>::place(unit / 4, a.units)) + (unit & 3);
        const int lanes = 1 << lanesOf(width / N);
        if ((lane & (lanes - 1)) < LAYER_BLOCKS) send(to, &met, lane & (lanes - 1), v);
    });
    awaitBytes(&met);
    multiplyRows<FMT>(down, unitVecs, outputs, unitVecs, hidden, false, [&](int row, float v, float) {
        if ((threadIdx.x & ((1 << lanesOf(unitVecs)) - 1)) == 0) a.parts[blockIdx.x * width + rank * outputs + row] = v;
    });
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
