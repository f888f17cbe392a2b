// Temporary: every format through float multiply-adds.
#include "gemm.cuh"
#include "quant.cuh"
template <int DUMMY> __device__ __forceinline__ void gemmSimple(const LinearArgs& a) {
    __shared__ float A[16][129], B[16][129];
    const int m0 = blockIdx.y * 128, n0 = blockIdx.x * 128, tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
    Mark mark{a.mark};
    dependentsLaunch();
    dependencyWait();
    float acc[8][8] = {};
    for (int k0 = 0; k0 < a.w.k; k0 += 16) {
        __syncthreads();
        for (int i = threadIdx.x; i < 2048; i += 256) {
            int r = i / 16, c = i % 16;
            A[c][r] = m0 + r < a.m && k0 + c < a.w.k ? loadAs(a.x, (long long)(m0 + r) * a.ldx + k0 + c, a.xFmt) : 0.f;
            B[c][r] = n0 + r < a.w.n && k0 + c < a.w.k ? element(a.w, n0 + r, k0 + c) : 0.f;
        }
        __syncthreads();
        for (int c = 0; c < 16; c++) {
            float p[8], q[8];
            for (int i = 0; i < 8; i++) p[i] = A[c][ty * 8 + i], q[i] = B[c][tx * 8 + i];
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < 8; j++) acc[i][j] += p[i] * q[j];
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 8; j += 2) finishPair(a, m0 + ty * 8 + i, n0 + tx * 8 + j, acc[i][j], acc[i][j + 1]);
}
#define K(NAME) extern "C" __global__ void __launch_bounds__(256) NAME(const __grid_constant__ LinearArgs a) { gemmSimple<0>(a); }
K(gemm_f32) K(gemm_tf32) K(gemm_f16) K(gemm_bf16) K(gemm_q8_0) K(gemm_q4_0) K(gemm_q4_1)
