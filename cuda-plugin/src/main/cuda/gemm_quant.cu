// y = epilogue(x W^T) with W in 8 or 4 bits, unpacked to f16 in registers on its way into the matrix units.
//
// The device layout (quant.cuh) gives a lane exactly the fragments it multiplies with, so W never passes through shared
// memory: (a0, a2) and (a1, a3) of a 16-row tile are the B operands of two 8-column mma. x goes through three stages of
// shared memory, 128 rows x 64 columns each. A block makes 128 x 128: 8 warps as 2 x 4, 64 x 32 each; a warp unpacks a
// weight once for 64 rows of x (13 instructions per 8 mma).
#include "gemm.cuh"
#include "mma.cuh"
#include "unpack.cuh"

#define STAGES 4
#define STAGE_BYTES (128 * 128)

template <int FMT> __device__ __forceinline__ void gemm(const LinearArgs& a) {
    extern __shared__ __align__(128) unsigned char stages[];
    Mark mark{a.mark};
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int m0 = blockIdx.x * 128, n0 = blockIdx.y * 128, wm = (warp & 1) * 64, wn = (warp >> 1) * 32;
    const int steps = a.w.ld / 64, colTiles = a.w.ld / TILE_COLS, rowTiles = (a.w.n + 15) / 16, tile0 = (n0 + wn) / 16;
    const u32 base = sharedAddress(stages);
    const char* x = static_cast<const char*>(a.x);
    auto loadX = [&](int step) {
        u32 to = base + (step % STAGES) * STAGE_BYTES;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int id = threadIdx.x + i * 256, r = id >> 3, c = id & 7;
            bool valid = m0 + r < a.m && step * 64 + c * 8 < a.ldx; // W's rows are padded further than x's
            copyAsync(to + r * 128 + ((c ^ (r & 7)) << 4), x + (valid ? ((long long)(m0 + r) * a.ldx + step * 64 + c * 8) * 2 : 0), valid);
        }
    };
    Half<FMT> now[2], next[2];
    auto loadW = [&](Half<FMT> h[2], int step) {
#pragma unroll
        for (int j = 0; j < 2; j++) loadHalf(h[j], a.w, (long long)(tile0 + j) * colTiles + step / 2, step & 1, tile0 + j < rowTiles && step < steps);
    };
    loadW(next, 0);
    dependencyWait();
    dependentsLaunch();
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps) loadX(s);
        copyCommit();
    }
    float acc[4][4][4] = {};
    for (int step = 0; step < steps; step++) {
        now[0] = next[0], now[1] = next[1];
        loadW(next, step + 1);
        copyWait<STAGES - 2>();
        __syncthreads();
        if (step + STAGES - 1 < steps) loadX(step + STAGES - 1);
        copyCommit();
        u32 A = base + (step % STAGES) * STAGE_BYTES;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            u32 fa[4][4], fb[2][4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int r = wm + i * 16 + (lane & 15), c = k * 2 + (lane >> 4);
                ldmatrix4(fa[i], A + r * 128 + ((c ^ (r & 7)) << 4));
            }
            unpack(now[0], k, fb[0]);
            unpack(now[1], k, fb[1]);
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) mma<FMT_F16>(acc[i][j], fa[i], fb[j >> 1][j & 1], fb[j >> 1][(j & 1) + 2]);
        }
    }
    copyWait<0>();
    __syncthreads();
    // mma 0 of a 16-row tile of W has its even rows, mma 1 its odd ones; columns 2t, 2t + 1 are rows 4t (+1), 4t + 2 (+1)
    float* tile = reinterpret_cast<float*>(stages);
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 2; j++) {
            float* to = tile + (wm + i * 16 + (lane >> 2)) * TILE_LD + wn + j * 16 + (lane & 3) * 4;
            float *even = acc[i][2 * j], *odd = acc[i][2 * j + 1];
            *reinterpret_cast<float4*>(to) = make_float4(even[0], odd[0], even[1], odd[1]);
            *reinterpret_cast<float4*>(to + 8 * TILE_LD) = make_float4(even[2], odd[2], even[3], odd[3]);
        }
    __syncthreads();
    finishTile<128>(a, tile, m0, n0);
}

extern "C" __global__ void __launch_bounds__(256, 2) gemm_q8_0(const __grid_constant__ LinearArgs a) { gemm<FMT_Q8_0>(a); }
extern "C" __global__ void __launch_bounds__(256, 2) gemm_q4_0(const __grid_constant__ LinearArgs a) { gemm<FMT_Q4_0>(a); }
extern "C" __global__ void __launch_bounds__(256, 2) gemm_q4_1(const __grid_constant__ LinearArgs a) { gemm<FMT_Q4_1>(a); }
