// y = epilogue(x W^T) on the matrix units: f16 and bf16 operands, or f32 rounded to tf32; sums in f32.
//
// A block makes 128 rows x 128 columns; 8 warps as 2 x 4, 64 x 32 each (16 mma per 6 ldmatrix). k goes in steps of 128
// bytes a row (64 halves, 32 floats) through three stages of shared memory: 96 KB, so two blocks fit an SM and one
// multiplies while the other waits. 16-byte chunks are swizzled (chunk ^ row & 7): no bank conflicts either way.
#include "gemm.cuh"
#include "mma.cuh"

#define STAGES 3
#define STAGE_BYTES (2 * 128 * 128)
// Grids run over m first: the blocks in flight share their weights, which are read once; x stays in L2.

template <int FMT> __device__ __forceinline__ void gemm(const LinearArgs& a) {
    extern __shared__ __align__(128) unsigned char stages[];
    Mark mark{a.mark};
    const int ES = FMT == FMT_F32 ? 4 : 2, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int m0 = blockIdx.x * 128, n0 = blockIdx.y * 128, wm = (warp & 1) * 64, wn = (warp >> 1) * 32;
    const int steps = (a.w.ld * ES + 127) / 128, allocated = (a.w.n + 15) & ~15;
    const u32 base = sharedAddress(stages);
    const char* w = static_cast<const char*>(a.w.data);
    const char* x = static_cast<const char*>(a.x);
    auto loadSide = [&](int step, bool weights) {
        u32 to = base + (step % STAGES) * STAGE_BYTES + (weights ? 128 * 128 : 0);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int id = threadIdx.x + i * 256, r = id >> 3, c = id & 7;
            u32 at = to + r * 128 + ((c ^ (r & 7)) << 4);
            if (weights) {
                bool valid = n0 + r < allocated;
                copyAsync(at, w + ((long long)(valid ? n0 + r : 0) * a.w.ld) * ES + step * 128 + c * 16, valid);
            } else {
                bool valid = m0 + r < a.m && (FMT != FMT_F32 || (step * 32 + c * 4) < a.ldx);
                copyAsync(at, x + (valid ? ((long long)(m0 + r) * a.ldx) * ES + step * 128 + c * 16 : 0), valid);
            }
        }
    };
    for (int s = 0; s < STAGES - 1; s++) if (s < steps) loadSide(s, true);
    dependencyWait();
    dependentsLaunch();
    for (int s = 0; s < STAGES - 1; s++) { // the first group holds both sides of stage 0, and the weights of the others
        if (s < steps) loadSide(s, false);
        copyCommit();
    }
    float acc[4][4][4] = {};
    for (int step = 0; step < steps; step++) {
        copyWait<STAGES - 2>();
        __syncthreads();
        int next = step + STAGES - 1;
        if (next < steps) loadSide(next, true), loadSide(next, false);
        copyCommit();
        u32 A = base + (step % STAGES) * STAGE_BYTES, B = A + 128 * 128;
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
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int m = m0 + wm + i * 16 + (lane >> 2), n = n0 + wn + j * 8 + (lane & 3) * 2;
            finishPair(a, m, n, acc[i][j][0], acc[i][j][1]);
            finishPair(a, m + 8, n, acc[i][j][2], acc[i][j][3]);
        }
}

extern "C" __global__ void __launch_bounds__(256, 2) gemm_f16(const __grid_constant__ LinearArgs a) { gemm<FMT_F16>(a); }
extern "C" __global__ void __launch_bounds__(256, 2) gemm_bf16(const __grid_constant__ LinearArgs a) { gemm<FMT_BF16>(a); }
extern "C" __global__ void __launch_bounds__(256, 2) gemm_tf32(const __grid_constant__ LinearArgs a) { gemm<FMT_F32>(a); }
