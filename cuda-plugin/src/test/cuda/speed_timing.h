// How kernels are timed, and models of random weights in the shapes of real ones.
#pragma once
#include "harness.h"

__global__ void fillBits(u32* p, size_t n, u32 keep, u32 set) {
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
        u32 x = (u32)i * 747796405u + 2891336453u;
        x = ((x >> ((x >> 28) + 4)) ^ x) * 277803737u;
        p[i] = (((x >> 22) ^ x) & keep) | set;
    }
}
__global__ void readAll(const uint4* p, size_t n, u32* out) {
    u32 acc = 0;
    size_t T = (size_t)gridDim.x * blockDim.x, i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
    for (; i + 7 * T < n; i += 8 * T) {
        uint4 r[8];
#pragma unroll
        for (int u = 0; u < 8; u++) r[u] = __ldcs(p + i + u * T);
#pragma unroll
        for (int u = 0; u < 8; u++) acc ^= r[u].x ^ r[u].y ^ r[u].z ^ r[u].w;
    }
    if (acc == 0x12345) *out = acc;
}

static float median(std::vector<float> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}
// Milliseconds of one replay of what `body` launches.
static float timeGraph(std::function<void()> body, int reps = 20, int warm = 3) {
    cudaGraph_t g;
    cudaGraphExec_t e;
    body(); // sets attributes, loads modules
    CU(cudaStreamSynchronize(stream));
    CU(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    body();
    CU(cudaStreamEndCapture(stream, &g));
    CU(cudaGraphInstantiate(&e, g, 0));
    cudaEvent_t a, b;
    CU(cudaEventCreate(&a));
    CU(cudaEventCreate(&b));
    for (int i = 0; i < warm; i++) CU(cudaGraphLaunch(e, stream));
    std::vector<float> t;
    for (int i = 0; i < 5; i++) { // reps launches back to back: a token's steps follow each other as in decode
        CU(cudaEventRecord(a, stream));
        for (int r = 0; r < reps; r++) CU(cudaGraphLaunch(e, stream));
        CU(cudaEventRecord(b, stream));
        CU(cudaEventSynchronize(b));
        float ms;
        CU(cudaEventElapsedTime(&ms, a, b));
        t.push_back(ms / reps);
    }
    CU(cudaGraphExecDestroy(e));
    CU(cudaGraphDestroy(g));
    return median(t);
}

struct Model { const char* name; int layers, d, f, heads, kvHeads, hd, vocab; bool llama; };
static const Model GPT2 = {"gpt2", 12, 768, 3072, 12, 12, 64, 50257, false}, GPT2M = {"gpt2-medium", 24, 1024, 4096, 16, 16, 64, 50257, false}, GPT2L = {"gpt2-large", 36, 1280, 5120, 20, 20, 64, 50257, false};
static const Model L135M = {"llama-135m", 30, 576, 1536, 9, 3, 64, 49152, true}, L1B = {"llama-3.2-1b", 16, 2048, 8192, 32, 8, 64, 128256, true}, L7B = {"llama-2-7b", 32, 4096, 11008, 32, 32, 128, 32000, true};
static const Model L8B = {"llama-3-8b", 32, 4096, 14336, 32, 8, 128, 128256, true}, WIDE = {"wide heads", 24, 1024, 3072, 8, 4, 128, 50257, true};

struct Mat {
    Weight w;
    void* block;
    double bytes;
    Mat(int n, int k, int fmt) {
        size_t db = DeviceWeight::dataBytes(n, k, fmt), sb = DeviceWeight::scaleBytes(n, k, fmt);
        bytes = db + sb;
        size_t total = (db + 255) / 256 * 256 + sb;
        CU(cudaMalloc(&block, total + 256));
        char* s = (char*)block + (db + 255) / 256 * 256;
        u32 keep = fmt == FMT_F32 ? 0x80ffffffu : fmt == FMT_F16 ? 0x83ff83ffu : fmt == FMT_BF16 ? 0x80ff80ffu : ~0u;
        u32 set = fmt == FMT_F32 ? 0x3c000000u : fmt == FMT_F16 ? 0x20002000u : fmt == FMT_BF16 ? 0x3c003c00u : 0;
        fillBits<<<1024, 256>>>((u32*)block, db / 4, keep, set);
        if (sb) fillBits<<<256, 256>>>((u32*)s, sb / 4, 0x00ff00ffu, 0x14001400u);
        w = {block, s, n, k, DeviceWeight::ldOf(k, fmt), fmt};
    }
    ~Mat() { cudaFree(block); }
};
