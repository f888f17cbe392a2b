// The unfused ops: one read and one write of each element.
#include "common.cuh"

#define EACH_COLUMN(c) \
    Mark mark{a.mark}; \
    dependencyWait(); \
    dependentsLaunch(); \
    for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < a.width; c += gridDim.x * blockDim.x)

extern "C" __global__ void __launch_bounds__(256) activation(const __grid_constant__ ElementArgs a) {
    long long r = blockIdx.y;
    EACH_COLUMN(c) a.y[r * a.ldy + c] = activate(a.a[r * a.lda + c], a.act);
}
extern "C" __global__ void __launch_bounds__(256) gate(const __grid_constant__ ElementArgs a) {
    long long r = blockIdx.y;
    EACH_COLUMN(c) a.y[r * a.ldy + c] = activate(a.a[r * a.lda + c], a.act) * a.b[r * a.ldb + c];
}
extern "C" __global__ void __launch_bounds__(256) add(const __grid_constant__ ElementArgs a) {
    long long r = blockIdx.y;
    EACH_COLUMN(c) a.y[r * a.ldy + c] = a.a[r * a.lda + c] + a.b[r * a.ldb + c];
}
extern "C" __global__ void __launch_bounds__(256) permute(const __grid_constant__ ElementArgs a) {
    long long r = blockIdx.y;
    EACH_COLUMN(c) a.y[r * a.ldy + c] = a.a[r * a.lda + a.index[c]];
}
extern "C" __global__ void __launch_bounds__(256) select_rows(const __grid_constant__ ElementArgs a) {
    long long r = blockIdx.y;
    EACH_COLUMN(c) a.y[r * a.ldy + c] = a.a[(long long)a.index[r] * a.lda + c];
}

// Each thread owns whole pairs, so x and y may be the same buffer.
extern "C" __global__ void __launch_bounds__(256) rope(const __grid_constant__ RopeArgs a) {
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    long long r = blockIdx.x;
    const float2* cs = a.rope.cs + r * a.rope.ldcs;
    const float* x = a.x + r * a.ldx;
    float* y = a.y + r * a.ldy;
    int half = a.rope.rotaryDim / 2, rest = a.rope.headDim - a.rope.rotaryDim, per = half + rest;
    int items = a.width / a.rope.headDim * per;
    for (int i = threadIdx.x; i < items; i += blockDim.x) {
        int head = i / per * a.rope.headDim, j = i % per;
        if (j >= half) {
            int c = head + a.rope.rotaryDim + j - half;
            y[c] = x[c];
            continue;
        }
        int p = head + (a.rope.interleaved ? 2 * j : j), q = a.rope.interleaved ? p + 1 : p + half;
        float u = x[p], v = x[q];
        y[p] = u * cs[j].x - v * cs[j].y;
        y[q] = v * cs[j].x + u * cs[j].y;
    }
}

extern "C" __global__ void __launch_bounds__(256) pool(const __grid_constant__ PoolArgs a) {
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    Seq seq = a.b.seqs[blockIdx.y];
    for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < a.width; c += gridDim.x * blockDim.x) {
        const float* x = a.x + (long long)seq.start * a.ldx + c;
        float v = x[0];
        if (a.pooling == 1) {
            double sum = 0;
            for (int r = 0; r < seq.count; r++) sum += x[(long long)r * a.ldx];
            v = (float)(sum / seq.count);
        } else if (a.pooling == 2) {
            for (int r = 1; r < seq.count; r++) v = fmaxf(v, x[(long long)r * a.ldx]);
        }
        a.y[(long long)blockIdx.y * a.ldy + c] = v;
    }
}
