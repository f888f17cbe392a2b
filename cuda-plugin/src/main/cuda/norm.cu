// Layer and root mean square normalization of every group of a row; with no norm, a cast to the compute type.
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256) normalize(const __grid_constant__ NormArgs a) {
    __shared__ float shared[8];
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    const float* x = a.x + (long long)blockIdx.x * a.ldx;
    long long y = (long long)blockIdx.x * a.ldy;
    int group = a.norm.kind == NORM_NONE ? a.width : a.norm.group;
    for (int g = 0; g < a.width; g += group) {
        float mean = 0, scale = 1;
        if (a.norm.kind == NORM_LAYER) {
            float sum = 0;
            for (int c = threadIdx.x; c < group; c += blockDim.x) sum += x[g + c];
            mean = blockSum(sum, shared) / group;
        }
        if (a.norm.kind != NORM_NONE) {
            float sum = 0;
            for (int c = threadIdx.x; c < group; c += blockDim.x) sum += (x[g + c] - mean) * (x[g + c] - mean);
            scale = 1.f / sqrtf(blockSum(sum, shared) / group + a.norm.eps);
        }
        for (int c = threadIdx.x; c < group; c += blockDim.x) {
            float v = (x[g + c] - mean) * scale;
            if (a.norm.kind != NORM_NONE) v *= a.norm.w[c];
            if (a.norm.kind != NORM_NONE && a.norm.b) v += a.norm.b[c];
            storeAs(a.y, y + g + c, a.yFmt, v);
        }
    }
    if (a.yFmt != FMT_F32) { // the matrix units read the padding: it must be zero
        for (int c = a.width + threadIdx.x; c < a.ldy; c += blockDim.x) storeAs(a.y, y + c, a.yFmt, 0.f);
    }
}
