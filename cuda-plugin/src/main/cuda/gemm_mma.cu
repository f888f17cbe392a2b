// y = epilogue(x W^T) on the matrix units: f16 and bf16 operands, or f32 rounded to tf32; sums in f32.
//
// k goes in steps of 128 bytes a row (64 halves, 32 floats) through stages of shared memory that cp.async fills; 16-byte
// chunks are swizzled (chunk ^ row & 7), which is at once free of bank conflicts and the layout wgmma reads. Grids run over m
// first: the blocks in flight share their weights, which are read once; x stays in L2.
//
// 128 x 128 a block, 96 KB of stages, two blocks an SM: one multiplies while the other waits. On sm_90a two warpgroups of
// 64 x 128 (wgmma): 560-630 TFLOP/s in a 7B's shapes on an H200, where 128 x 256 with one block an SM reached 400 and 8 warps
// of mma.sync 330. Elsewhere those 8 warps, as 2 x 4, 64 x 32 each (16 mma per 6 ldmatrix).
#include "gemm.cuh"
#include "wgmma.cuh"

template <int FMT> struct Stages {
    static const int ES = FMT == FMT_F32 ? 4 : 2, BYTES = 256 * 128;
    u32 base;
    // Rows of x and of W of one step; WEIGHTS and X so that the weights can come before the wait.
    template <bool WEIGHTS> __device__ __forceinline__ void load(const LinearArgs& a, int m0, int n0, int step, int stage) const {
        const int r0 = threadIdx.x >> 3, c = threadIdx.x & 7;
        const u32 to = base + stage * BYTES + (WEIGHTS ? 128 * 128 : 0) + r0 * 128 + ((c ^ (r0 & 7)) << 4);
        const int first = WEIGHTS ? n0 : m0, ld = WEIGHTS ? a.w.ld : a.ldx, end = WEIGHTS ? (a.w.n + 15) & ~15 : a.m;
        const char* from = static_cast<const char*>(WEIGHTS ? a.w.data : a.x) + step * 128 + c * 16;
        const bool inRow = step * (128 / ES) + c * (16 / ES) < ld;
#pragma unroll
        for (int i = 0; i < 4; i++) { // 32 rows a turn: the swizzle of a thread's chunk stays
            bool valid = inRow && first + r0 + i * 32 < end;
            copyAsync(to + i * 32 * 128, from + (valid ? (long long)(first + r0 + i * 32) * ld * ES : -(long long)(step * 128 + c * 16)), valid);
        }
    }
};

#ifdef HAS_WGMMA
template <int FMT> __device__ __forceinline__ void gemmWarpgroups(const LinearArgs& a, unsigned char* stages) {
    const Stages<FMT> s = {sharedAddress(stages)};
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, group = warp >> 2;
    const int m0 = blockIdx.x * 128, n0 = blockIdx.y * 128, steps = (a.w.ld * s.ES + 127) / 128;
    s.template load<true>(a, m0, n0, 0, 0);
    if (steps > 1) s.template load<true>(a, m0, n0, 1, 1);
    dependencyWait();
    dependentsLaunch();
    s.template load<false>(a, m0, n0, 0, 0);
    copyCommit();
    if (steps > 1) s.template load<false>(a, m0, n0, 1, 1);
    copyCommit();
    float d[64];
    for (int step = 0; step < steps; step++) {
        const int stage = step % 3;
        wgmmaWait<0>(); // the buffer refilled below is the one just multiplied
        copyWait<1>();
        proxyFence();
        __syncthreads();
        const u64 x = wgmmaSide(s.base + stage * s.BYTES + group * 64 * 128), w = wgmmaSide(s.base + stage * s.BYTES + 128 * 128);
        wgmmaFence();
#pragma unroll
        for (int k = 0; k < 4; k++) wgmma<FMT, 128>(d, x + 2 * k, w + 2 * k, step + k > 0);
        wgmmaCommit();
        if (step + 2 < steps) {
            s.template load<true>(a, m0, n0, step + 2, (step + 2) % 3);
            s.template load<false>(a, m0, n0, step + 2, (step + 2) % 3);
        }
        copyCommit();
    }
    wgmmaWait<0>();
    copyWait<0>();
    __syncthreads();
    float* tile = reinterpret_cast<float*>(stages);
    const int row = group * 64 + (warp & 3) * 16 + (lane >> 2);
#pragma unroll
    for (int j = 0; j < 16; j++) {
        float* to = tile + row * TILE_LD + j * 8 + (lane & 3) * 2;
        *reinterpret_cast<float2*>(to) = make_float2(d[4 * j], d[4 * j + 1]);
        *reinterpret_cast<float2*>(to + 8 * TILE_LD) = make_float2(d[4 * j + 2], d[4 * j + 3]);
    }
    __syncthreads();
    finishTile<128>(a, tile, m0, n0);
}
#endif

template <int FMT> __device__ __forceinline__ void gemmWarps(const LinearArgs& a, unsigned char* stages) {
    const Stages<FMT> s = {sharedAddress(stages)};
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int m0 = blockIdx.x * 128, n0 = blockIdx.y * 128, wm = (warp & 1) * 64, wn = (warp >> 1) * 32;
    const int steps = (a.w.ld * s.ES + 127) / 128;
    s.template load<true>(a, m0, n0, 0, 0);
    if (steps > 1) s.template load<true>(a, m0, n0, 1, 1);
    dependencyWait();
    dependentsLaunch();
    s.template load<false>(a, m0, n0, 0, 0);
    copyCommit();
    if (steps > 1) s.template load<false>(a, m0, n0, 1, 1);
    copyCommit();
    float acc[4][4][4] = {};
    for (int step = 0; step < steps; step++) {
        copyWait<1>();
        __syncthreads();
        if (step + 2 < steps) {
            s.template load<true>(a, m0, n0, step + 2, (step + 2) % 3);
            s.template load<false>(a, m0, n0, step + 2, (step + 2) % 3);
        }
        copyCommit();
        const u32 A = s.base + (step % 3) * s.BYTES, B = A + 128 * 128;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            u32 fa[4][4], fb[2][4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int r = wm + i * 16 + (lane & 15), c = k * 2 + (lane >> 4);
                ldmatrix4(fa[i], A + r * 128 + ((c ^ (r & 7)) << 4));
            }
#pragma unroll
            for (int j = 0; j < 2; j++) {
                int r = wn + j * 16 + (lane & 7) + ((lane >> 4) << 3), c = k * 2 + ((lane >> 3) & 1);
                ldmatrix4(fb[j], B + r * 128 + ((c ^ (r & 7)) << 4));
            }
            if (FMT == FMT_F32) {
                if (step * 32 + k * 8 + 8 > a.w.k) { // past the row's end x is undefined (W is zero): 0 * NaN must not count
                    int k0 = step * 32 + k * 8 + (lane & 3);
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        if (k0 >= a.w.k) fa[i][0] = fa[i][1] = 0;
                        if (k0 + 4 >= a.w.k) fa[i][2] = fa[i][3] = 0;
                    }
                }
#pragma unroll
                for (int j = 0; j < 4; j++) {
#pragma unroll
                    for (int i = 0; i < 4; i++) fa[i][j] = toTf32(fa[i][j]);
                    fb[0][j] = toTf32(fb[0][j]), fb[1][j] = toTf32(fb[1][j]);
                }
            }
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) mma<FMT>(acc[i][j], fa[i], fb[j >> 1][(j & 1) * 2], fb[j >> 1][(j & 1) * 2 + 1]);
        }
    }
    copyWait<0>();
    __syncthreads();
    float* tile = reinterpret_cast<float*>(stages);
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float* to = tile + (wm + i * 16 + (lane >> 2)) * TILE_LD + wn + j * 8 + (lane & 3) * 2;
            *reinterpret_cast<float2*>(to) = make_float2(acc[i][j][0], acc[i][j][1]);
            *reinterpret_cast<float2*>(to + 8 * TILE_LD) = make_float2(acc[i][j][2], acc[i][j][3]);
        }
    __syncthreads();
    finishTile<128>(a, tile, m0, n0);
}

template <int FMT> __device__ __forceinline__ void gemm(const LinearArgs& a) {
    extern __shared__ __align__(1024) unsigned char stages[];
    Mark mark{a.mark};
#ifdef HAS_WGMMA
    // tf32: wgmma takes floats as they are (it drops the low bits), so rows whose end is not a whole step go the other way
    if (FMT != FMT_F32 || a.w.k % 32 == 0) return gemmWarpgroups<FMT>(a, stages);
#endif
    gemmWarps<FMT>(a, stages);
}
extern "C" __global__ void __launch_bounds__(256, 2) gemm_f16(const __grid_constant__ LinearArgs a) { gemm<FMT_F16>(a); }
extern "C" __global__ void __launch_bounds__(256, 2) gemm_bf16(const __grid_constant__ LinearArgs a) { gemm<FMT_BF16>(a); }
extern "C" __global__ void __launch_bounds__(256, 2) gemm_tf32(const __grid_constant__ LinearArgs a) { gemm<FMT_F32>(a); }
