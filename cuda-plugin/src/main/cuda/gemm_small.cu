// y = epilogue(x W^T) on the matrix units where 128 x 128 tiles are too few to fill the card: short prompts.
//
// Bound by latency, not by arithmetic: a block makes 64 x 64, and up to 12 steps of k (64 halves or 32 floats, 16 KB) are in
// flight at once, for GPT-2's width of 768 all of it. Long k is split over blocks (gridDim.z). 8 warps as 2 x 4, 32 x 16 each.
#include "gemm.cuh"
#include "mma.cuh"

#define STAGES 12
#define STAGE_BYTES (128 * 128)

template <int FMT> __device__ __forceinline__ void gemm(const LinearArgs& a) {
    extern __shared__ __align__(128) unsigned char stages[];
    Mark mark{a.mark};
    const int ES = FMT == FMT_F32 ? 4 : 2, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int m0 = blockIdx.x * 64, n0 = blockIdx.y * 64, wm = (warp & 1) * 32, wn = (warp >> 1) * 16;
    const int all = (a.w.ld * ES + 127) / 128, share = (all + gridDim.z - 1) / gridDim.z;
    const int start = blockIdx.z * share, steps = min(share, all - start);
    const u32 base = sharedAddress(stages);
    const int r0 = threadIdx.x >> 3, c = threadIdx.x & 7;
    auto load = [&](int step, bool weights) {
        const u32 to = base + (step % STAGES) * STAGE_BYTES + (weights ? 64 * 128 : 0) + r0 * 128 + ((c ^ (r0 & 7)) << 4);
        const int first = weights ? n0 : m0, ld = weights ? a.w.ld : a.ldx, end = weights ? (a.w.n + 15) & ~15 : a.m;
        const char* from = static_cast<const char*>(weights ? a.w.data : a.x);
        const int k = (start + step) * (128 / ES) + c * (16 / ES);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            bool valid = k < ld && first + r0 + i * 32 < end;
            copyAsync(to + i * 32 * 128, from + (valid ? ((long long)(first + r0 + i * 32) * ld + k) * ES : 0), valid);
        }
    };
    for (int s = 0; s < STAGES - 1 && s < steps; s++) load(s, true);
    dependencyWait();
    dependentsLaunch();
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps) load(s, false);
        copyCommit();
    }
    float acc[2][2][4] = {};
    for (int step = 0; step < steps; step++) {
        copyWait<STAGES - 2>();
        __syncthreads();
        if (step + STAGES - 1 < steps) load(step + STAGES - 1, true), load(step + STAGES - 1, false);
        copyCommit();
        const u32 A = base + (step % STAGES) * STAGE_BYTES, B = A + 64 * 128;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            u32 fa[2][4], fb[4];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                int r = wm + i * 16 + (lane & 15), q = k * 2 + (lane >> 4);
                ldmatrix4(fa[i], A + r * 128 + ((q ^ (r & 7)) << 4));
            }
            int r = wn + (lane & 7) + ((lane >> 4) << 3), q = k * 2 + ((lane >> 3) & 1);
            ldmatrix4(fb, B + r * 128 + ((q ^ (r & 7)) << 4));
            if (FMT == FMT_F32) {
                const int k0 = (start + step) * 32 + k * 8 + (lane & 3); // past the row's end x is undefined and W zero
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    if (k0 >= a.w.k) fa[i][0] = fa[i][1] = 0;
                    if (k0 + 4 >= a.w.k) fa[i][2] = fa[i][3] = 0;
#pragma unroll
                    for (int j = 0; j < 4; j++) fa[i][j] = toTf32(fa[i][j]);
                }
#pragma unroll
                for (int j = 0; j < 4; j++) fb[j] = toTf32(fb[j]);
            }
#pragma unroll
            for (int i = 0; i < 2; i++)
#pragma unroll
                for (int j = 0; j < 2; j++) mma<FMT>(acc[i][j], fa[i], fb[j * 2], fb[j * 2 + 1]);
        }
    }
    copyWait<0>();
    if (!combineSplits<16>(a, &acc[0][0][0])) return;
    __syncthreads();
    float* tile = reinterpret_cast<float*>(stages);
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 2; j++) {
            float* to = tile + (wm + i * 16 + (lane >> 2)) * TILE_LD + wn + j * 8 + (lane & 3) * 2;
            *reinterpret_cast<float2*>(to) = make_float2(acc[i][j][0], acc[i][j][1]);
            *reinterpret_cast<float2*>(to + 8 * TILE_LD) = make_float2(acc[i][j][2], acc[i][j][3]);
        }
    __syncthreads();
    finishTile<64, 64>(a, tile, m0, n0);
}

extern "C" __global__ void __launch_bounds__(256) gemm_f16_small(const __grid_constant__ LinearArgs a) { gemm<FMT_F16>(a); }
extern "C" __global__ void __launch_bounds__(256) gemm_bf16_small(const __grid_constant__ LinearArgs a) { gemm<FMT_BF16>(a); }
extern "C" __global__ void __launch_bounds__(256) gemm_tf32_small(const __grid_constant__ LinearArgs a) { gemm<FMT_F32>(a); }
