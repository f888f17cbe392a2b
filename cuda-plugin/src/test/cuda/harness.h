// Small host tools for the kernel harness: device buffers, random data, weights in ggml's raw layout, error figures.
#pragma once
#include <cuda.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>
#include "launch.h"

#define CU(call) \
    do { \
        cudaError_t e_ = (call); \
        if (e_ != cudaSuccess) { \
            printf("%s:%d %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(e_)); \
            exit(1); \
        } \
    } while (0)

#define KERNEL(NAME, ARGS) extern "C" __global__ void NAME(const __grid_constant__ ARGS a);
KERNEL(repack, RepackArgs) KERNEL(embed, EmbedArgs) KERNEL(rope_angles, AnglesArgs) KERNEL(normalize, NormArgs) KERNEL(normalize_warps, NormArgs) KERNEL(normalize_warps_wide, NormArgs)
KERNEL(activation, ElementArgs) KERNEL(gate, ElementArgs) KERNEL(add, ElementArgs) KERNEL(permute, ElementArgs)
KERNEL(select_rows, ElementArgs) KERNEL(rope, RopeArgs) KERNEL(pool, PoolArgs) KERNEL(sample, SampleArgs)
KERNEL(gemv_f32, LinearArgs) KERNEL(gemv_f16, LinearArgs) KERNEL(gemv_bf16, LinearArgs)
KERNEL(gemv_f32_one, LinearArgs) KERNEL(gemv_f16_one, LinearArgs) KERNEL(gemv_bf16_one, LinearArgs)
#define QUANT_KERNELS(F) KERNEL(gemv_##F, LinearArgs) KERNEL(gemv_##F##_two, LinearArgs) KERNEL(gemv_##F##_many, LinearArgs)
QUANT_KERNELS(q8_0) QUANT_KERNELS(q4_0) QUANT_KERNELS(q4_1)
KERNEL(gemm_f32, LinearArgs) KERNEL(gemm_f32_small, LinearArgs) KERNEL(gemm_f32_few, LinearArgs) KERNEL(gemm_tf32, LinearArgs) KERNEL(gemm_f16, LinearArgs) KERNEL(gemm_bf16, LinearArgs)
KERNEL(gemm_f16_small, LinearArgs) KERNEL(gemm_bf16_small, LinearArgs) KERNEL(gemm_tf32_small, LinearArgs)
KERNEL(gemm_q8_0, LinearArgs) KERNEL(gemm_q4_0, LinearArgs) KERNEL(gemm_q4_1, LinearArgs)
KERNEL(kv_append, AttentionArgs) KERNEL(attn_decode, AttentionArgs) KERNEL(attn_decode_cluster, AttentionArgs)
KERNEL(attn_prefill_f32, AttentionArgs) KERNEL(attn_strict64, AttentionArgs) KERNEL(attn_prefill, AttentionArgs)
KERNEL(attn_few, AttentionArgs) KERNEL(attn_tiles64_appends, AttentionArgs)
KERNEL(attn_short64, AttentionArgs) KERNEL(attn_short128, AttentionArgs)
KERNEL(attn_tiles64, AttentionArgs) KERNEL(attn_tiles128, AttentionArgs)
KERNEL(expand_q8_0, ExpandArgs) KERNEL(expand_q4_0, ExpandArgs) KERNEL(expand_q4_1, ExpandArgs)
KERNEL(layer_attention_f32, LayerAttentionArgs) KERNEL(layer_attention_f16, LayerAttentionArgs) KERNEL(layer_attention_bf16, LayerAttentionArgs)
KERNEL(layer_mlp_f32, LayerMlpArgs) KERNEL(layer_mlp_f16, LayerMlpArgs) KERNEL(layer_mlp_bf16, LayerMlpArgs) KERNEL(layer_sum, LayerSumArgs)
#define LAYER_ATTENTION_KERNELS(F) KERNEL(layer_attention_##F##_1, LayerAttentionArgs) KERNEL(layer_attention_##F##_2, LayerAttentionArgs) \
    KERNEL(layer_attention_##F##_wide_1, LayerAttentionArgs) KERNEL(layer_attention_##F##_wide_2, LayerAttentionArgs)
#define LAYER_QUANT_KERNELS(F) KERNEL(layer_mlp_##F, LayerMlpArgs) KERNEL(layer_mlp_##F##_wide, LayerMlpArgs) LAYER_ATTENTION_KERNELS(F##_f16) LAYER_ATTENTION_KERNELS(F##_f32)
LAYER_QUANT_KERNELS(q8_0) LAYER_QUANT_KERNELS(q4_0) LAYER_QUANT_KERNELS(q4_1)
#define TILES_KERNELS(F) KERNEL(gemm_##F##_tiles256, TiledArgs) KERNEL(gemm_##F##_tiles192, TiledArgs) KERNEL(gemm_##F##_tiles160, TiledArgs) KERNEL(gemm_##F##_tiles128, TiledArgs)
#define SHORT_KERNELS(F) KERNEL(gemm_##F##_short128, TiledArgs) KERNEL(gemm_##F##_short64, TiledArgs) KERNEL(gemm_##F##_short32, TiledArgs)
SHORT_KERNELS(f16) SHORT_KERNELS(bf16) SHORT_KERNELS(tf32)
TILES_KERNELS(f16) TILES_KERNELS(bf16) TILES_KERNELS(tf32)

using LinearKernel = void (*)(LinearArgs);
inline LinearKernel gemvOf(int fmt, int m) {
    LinearKernel plain[] = {gemv_f32, gemv_f16, gemv_bf16, gemv_q8_0, gemv_q4_0, gemv_q4_1}, many[] = {gemv_q8_0_many, gemv_q4_0_many, gemv_q4_1_many},
                 two[] = {gemv_q8_0_two, gemv_q4_0_two, gemv_q4_1_two}, one[] = {gemv_f32_one, gemv_f16_one, gemv_bf16_one};
    if (fmt < FMT_Q8_0 && m == 1 && clusterLimit[2]) return one[fmt]; // as gemvOne()
    return fmt >= FMT_Q8_0 && m > 1 ? (m > 2 ? many : two)[fmt - FMT_Q8_0] : plain[fmt];
}
inline void (*layerAttentionOf(int fmt))(LayerAttentionArgs) { return fmt == FMT_F32 ? layer_attention_f32 : fmt == FMT_F16 ? layer_attention_f16 : layer_attention_bf16; }
inline void (*layerMlpOf(int fmt))(LayerMlpArgs) { return fmt == FMT_F32 ? layer_mlp_f32 : fmt == FMT_F16 ? layer_mlp_f16 : layer_mlp_bf16; }
// sharing: heads of a cluster that share keys
inline void (*layerAttentionQuantOf(int fmt, int kvFmt, int sharing, int headDim))(LayerAttentionArgs) {
#define OF(F) {{F##_1, F##_2}, {F##_wide_1, F##_wide_2}}
#define BOTH(F) {OF(layer_attention_##F##_f32), OF(layer_attention_##F##_f16)}
    void (*kernels[3][2][2][2])(LayerAttentionArgs) = {BOTH(q8_0), BOTH(q4_0), BOTH(q4_1)};
#undef BOTH
#undef OF
    return kernels[fmt - FMT_Q8_0][kvFmt != FMT_F32][headDim == 128][sharing - 1];
}
inline void (*layerMlpQuantOf(int fmt, int width))(LayerMlpArgs) {
    void (*kernels[3][2])(LayerMlpArgs) = {{layer_mlp_q8_0, layer_mlp_q8_0_wide}, {layer_mlp_q4_0, layer_mlp_q4_0_wide}, {layer_mlp_q4_1, layer_mlp_q4_1_wide}};
    return kernels[fmt - FMT_Q8_0][width > 2048];
}
inline LinearKernel strictOf(int kind) { return kind == 0 ? gemm_f32 : kind == 1 ? gemm_f32_small : gemm_f32_few; }
inline LinearKernel gemmOf(const LinearArgs& a, int sm, bool tf32) {
    if (a.w.fmt == FMT_F32 && !tf32) return strictOf(strictPlan(a, sm).kind);
    if (gemmSmall(a, sm, tf32)) return a.w.fmt == FMT_F32 ? gemm_tf32_small : a.w.fmt == FMT_F16 ? gemm_f16_small : gemm_bf16_small;
    LinearKernel k[] = {gemm_tf32, gemm_f16, gemm_bf16, gemm_q8_0, gemm_q4_0, gemm_q4_1};
    return k[a.w.fmt];
}
inline const char* fmtName(int f) {
    const char* n[] = {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"};
    return n[f];
}
inline int computeFmt(int fmt) { return fmt == FMT_F32 ? FMT_F32 : fmt == FMT_BF16 ? FMT_BF16 : FMT_F16; }

extern cudaStream_t stream;
extern int sms;
extern bool pdl;

// Launches with programmatic dependent launch, as the decode path does.
template <class A> void launch(void (*kernel)(A), Launch l, const A& a) {
    static const char* carve = getenv("CARVE"); // percent of an SM's memory that is shared memory and not L1
    // layer_attention_*, layer_mlp_*, as the Java side's LayerRules has it: the next launch's blocks fit beside
    const bool allShared = std::is_same_v<A, LayerAttentionArgs> || std::is_same_v<A, LayerMlpArgs>;
    if (carve || allShared) CU(cudaFuncSetAttribute((const void*)kernel, cudaFuncAttributePreferredSharedMemoryCarveout, carve ? atoi(carve) : 100));
    if (l.shared > 32 * 1024) CU(cudaFuncSetAttribute((const void*)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)l.shared));
    cudaLaunchConfig_t c = {};
    c.gridDim = l.grid, c.blockDim = dim3(l.block), c.dynamicSmemBytes = l.shared, c.stream = stream;
    cudaLaunchAttribute at[2];
    at[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    at[0].val.programmaticStreamSerializationAllowed = pdl;
    at[1].id = cudaLaunchAttributeClusterDimension;
    at[1].val.clusterDim.x = at[1].val.clusterDim.y = 1, at[1].val.clusterDim.z = l.cluster;
    c.attrs = at, c.numAttrs = l.cluster > 1 ? 2 : 1;
    CU(cudaLaunchKernelEx(&c, kernel, a));
}

inline void queryClusters() {
    for (int c = 2; c <= 8; c++) {
        cudaLaunchConfig_t config = {};
        cudaLaunchAttribute at[1];
        at[0].id = cudaLaunchAttributeClusterDimension;
        at[0].val.clusterDim.x = at[0].val.clusterDim.y = 1, at[0].val.clusterDim.z = c;
        config.gridDim = dim3(1, 1, c), config.blockDim = dim3(256), config.dynamicSmemBytes = 16384, config.attrs = at, config.numAttrs = 1;
        if (cudaOccupancyMaxActiveClusters(&clusterLimit[c], (const void*)attn_decode_cluster, &config)) clusterLimit[c] = 0, cudaGetLastError();
        if (!clusterLimit[c]) continue;
        CU(cudaFuncSetAttribute((const void*)layer_mlp_q4_0_wide, cudaFuncAttributeMaxDynamicSharedMemorySize, 128 * 1024));
        config.dynamicSmemBytes = 128 * 1024;
        if (cudaOccupancyMaxActiveClusters(&clusterAlone[c], (const void*)layer_mlp_q4_0_wide, &config)) clusterAlone[c] = 0, cudaGetLastError();
    }
}
inline void launchAttnDecode(AttentionArgs& a, int sm, int reach = 4096) {
    const Launch l = attnDecodeLaunch(a, sm, reach);
    launch(l.cluster > 1 ? attn_decode_cluster : attn_decode, l, a);
}

// The copy engine's view of a row-major matrix: boxes of 128 bytes x `boxRows`, zeros outside.
inline TensorMap tensorMap(const void* data, int fmt, int rows, int columns, int ld, int boxRows) {
    static decltype(&cuTensorMapEncodeTiled) encode = nullptr;
    if (!encode) {
        cudaDriverEntryPointQueryResult found;
        CU(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", (void**)&encode, 12000, cudaEnableDefault, &found));
    }
    const int es = fmt == FMT_F32 ? 4 : 2;
    TensorMap map;
    cuuint64_t dims[] = {(cuuint64_t)columns, (cuuint64_t)rows}, strides[] = {(cuuint64_t)ld * es};
    cuuint32_t box[] = {(cuuint32_t)(128 / es), (cuuint32_t)boxRows}, steps[] = {1, 1};
    CUresult r = encode((CUtensorMap*)&map, fmt == FMT_F32 ? CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 : fmt == FMT_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                        2, (void*)data, dims, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (r) printf("cuTensorMapEncodeTiled: %d\n", r), exit(1);
    return map;
}
inline void launchNorm(const NormArgs& a) {
    if (normWarps(a, sms)) launch(a.width <= 1024 ? normalize_warps : normalize_warps_wide, {dim3(ceilDiv(a.rows, 4)), 128, 0}, a);
    else launch(normalize, {dim3(a.rows), 256, 0}, a);
}
// Puts a quantized matrix's f16 into `scratch` and in its place.
inline void launchExpand(LinearArgs& a, void* scratch) {
    if (a.w.fmt < FMT_Q8_0) return;
    ExpandArgs e = {a.w, scratch, 0, 0, nullptr};
    launch(a.w.fmt == FMT_Q8_0 ? expand_q8_0 : a.w.fmt == FMT_Q4_0 ? expand_q4_0 : expand_q4_1, expandLaunch(a.w), e);
    a.w = {scratch, nullptr, a.w.n, a.w.k, a.w.ld, FMT_F16}, a.fresh = 1;
}
// One product by kernels that the copy engine feeds; a quantized matrix is expanded first.
inline void launchTiles(LinearArgs a, int bn, int splits, void* scratch) {
    const int which = bn == 256 ? 0 : bn == 160 ? 1 : bn == 128 ? 2 : 3;
    launchExpand(a, scratch);
    void (*kernels[3][4])(TiledArgs) = {{gemm_tf32_tiles256, gemm_tf32_tiles160, gemm_tf32_tiles128, gemm_tf32_tiles192}, {gemm_f16_tiles256, gemm_f16_tiles160, gemm_f16_tiles128, gemm_f16_tiles192}, {gemm_bf16_tiles256, gemm_bf16_tiles160, gemm_bf16_tiles128, gemm_bf16_tiles192}};
    TiledArgs t = {tensorMap(a.x, a.w.fmt, a.m, a.w.k, a.ldx, 128), tensorMap(a.w.data, a.w.fmt, roundUp(a.w.n, 16), a.w.k, a.w.ld, bn), a};
    launch(kernels[a.w.fmt][which], tilesLaunch(a, sms, bn, splits), t);
}
inline void launchShort(LinearArgs a, int nt, int splits, void* scratch) {
    const int which = nt == 128 ? 0 : nt == 64 ? 1 : 2;
    launchExpand(a, scratch);
    void (*kernels[3][3])(TiledArgs) = {{gemm_tf32_short128, gemm_tf32_short64, gemm_tf32_short32}, {gemm_f16_short128, gemm_f16_short64, gemm_f16_short32}, {gemm_bf16_short128, gemm_bf16_short64, gemm_bf16_short32}};
    TiledArgs t = {tensorMap(a.x, a.w.fmt, a.m, a.w.k, a.ldx, nt), tensorMap(a.w.data, a.w.fmt, roundUp(a.w.n, 16), a.w.k, a.w.ld, 64), a};
    launch(kernels[a.w.fmt][which], shortLaunch(a, nt, splits), t);
}

struct Random { // SplitMix64
    unsigned long long s;
    explicit Random(unsigned long long seed) : s(seed) {}
    unsigned long long next() {
        unsigned long long z = (s += 0x9E3779B97F4A7C15ull);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        return z ^ (z >> 31);
    }
    float uniform() { return (next() >> 40) * (1.f / (1 << 24)) * 2 - 1; }
    int below(int n) { return int(next() % (unsigned long long)n); }
};

template <class T> struct Dev {
    T* p = nullptr;
    size_t n = 0;
    explicit Dev(size_t n, int fill = 0) : n(n) {
        CU(cudaMalloc(&p, std::max<size_t>(n * sizeof(T), 256)));
        CU(cudaMemset(p, fill, std::max<size_t>(n * sizeof(T), 256)));
    }
    explicit Dev(const std::vector<T>& v) : Dev(v.size()) { CU(cudaMemcpy(p, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice)); }
    Dev(const Dev&) = delete;
    ~Dev() { cudaFree(p); }
    std::vector<T> host() const {
        std::vector<T> v(n);
        CU(cudaDeviceSynchronize());
        CU(cudaMemcpy(v.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost));
        return v;
    }
};

inline float half2f(unsigned short b) { __half h; memcpy(&h, &b, 2); return __half2float(h); }
inline unsigned short f2half(float f) { __half h = __float2half_rn(f); unsigned short b; memcpy(&b, &h, 2); return b; }
inline unsigned short f2bf(float f) { unsigned u; memcpy(&u, &f, 4); u += 0x7fff + ((u >> 16) & 1); return (unsigned short)(u >> 16); }
inline float bf2f(unsigned short b) { unsigned u = (unsigned)b << 16; float f; memcpy(&f, &u, 4); return f; }
inline float roundTo(float f, int fmt) { return fmt == FMT_F16 ? half2f(f2half(f)) : fmt == FMT_BF16 ? bf2f(f2bf(f)) : f; }

// Random rows in the raw layout of a checkpoint, and their values.
struct Raw {
    int n, k, fmt;
    std::vector<unsigned char> bytes;
    std::vector<float> values;
    size_t rowBytes() const { return bytes.size() / n; }
};
inline Raw randomRaw(int n, int k, int fmt, Random& rnd) {
    Raw r{n, k, fmt, {}, std::vector<float>((size_t)n * k)};
    const float std = 1.f / sqrtf((float)k);
    if (fmt == FMT_F32) {
        r.bytes.resize((size_t)n * k * 4);
        for (auto& v : r.values) v = rnd.uniform() * std;
        memcpy(r.bytes.data(), r.values.data(), r.bytes.size());
    } else if (fmt <= FMT_BF16) {
        r.bytes.resize((size_t)n * k * 2);
        auto* o = (unsigned short*)r.bytes.data();
        for (size_t i = 0; i < r.values.size(); i++) {
            float v = rnd.uniform() * std;
            o[i] = fmt == FMT_F16 ? f2half(v) : f2bf(v);
            r.values[i] = fmt == FMT_F16 ? half2f(o[i]) : bf2f(o[i]);
        }
    } else {
        const int bb = fmt == FMT_Q8_0 ? 34 : fmt == FMT_Q4_0 ? 18 : 20, head = fmt == FMT_Q4_1 ? 4 : 2;
        r.bytes.resize((size_t)n * (k / 32) * bb);
        for (size_t b = 0; b < r.bytes.size() / bb; b++) {
            unsigned char* p = r.bytes.data() + b * bb;
            unsigned short d = f2half((rnd.uniform() + 1.1f) * std * (fmt == FMT_Q8_0 ? 0.01f : 0.15f)), m = f2half(-(rnd.uniform() + 1.1f) * std);
            memcpy(p, &d, 2);
            if (fmt == FMT_Q4_1) memcpy(p + 2, &m, 2);
            for (int j = head; j < bb; j++) p[j] = (unsigned char)rnd.next();
            for (int j = 0; j < 32; j++) {
                float v;
                if (fmt == FMT_Q8_0) v = half2f(d) * (float)(signed char)p[2 + j];
                else {
                    int q = j < 16 ? p[head + j] & 15 : p[head + j - 16] >> 4;
                    v = fmt == FMT_Q4_0 ? half2f(d) * (float)(q - 8) : half2f(d) * q + half2f(m);
                }
                r.values[b * 32 + j] = v;
            }
        }
    }
    return r;
}

// A weight on the device: repacked from raw parts, interleaved when gated.
struct DeviceWeight {
    Weight w;
    Dev<unsigned char> data, scales;
    static int ldOf(int k, int fmt) { return roundUp(k, fmt >= FMT_Q8_0 ? 128 : 64); }
    static size_t dataBytes(int n, int k, int fmt) {
        size_t e = (size_t)roundUp(n, 16) * ldOf(k, fmt);
        return fmt == FMT_F32 ? e * 4 : fmt <= FMT_BF16 ? e * 2 : fmt == FMT_Q8_0 ? e : e / 2;
    }
    static size_t scaleBytes(int n, int k, int fmt) {
        return fmt < FMT_Q8_0 ? 0 : (size_t)roundUp(n, 16) * (ldOf(k, fmt) / 32) * (fmt == FMT_Q4_1 ? 4 : 2);
    }
    DeviceWeight(int n, int k, int fmt) : data(dataBytes(n, k, fmt)), scales(scaleBytes(n, k, fmt)) {
        w = {data.p, scales.p, n, k, ldOf(k, fmt), fmt};
    }
    void put(const Raw& r, int rowOffset, int rowStep) {
        Dev<unsigned char> raw(r.bytes);
        RepackArgs a = {raw.p, data.p, scales.p, r.n, r.k, w.ld, r.fmt, rowOffset, rowStep, r.fmt, 0, nullptr};
        launch(repack, {dim3(r.n), 256, 0}, a);
        CU(cudaDeviceSynchronize());
    }
};

struct Error { double rms, worst; };
// ||out - ref|| / ||ref|| and the largest difference over the reference's rms.
inline Error compare(const std::vector<float>& out, const std::vector<double>& ref) {
    double d2 = 0, r2 = 0, worst = 0;
    for (size_t i = 0; i < ref.size(); i++) {
        double d = std::fabs(out[i] - ref[i]);
        if (!(d == d)) return {INFINITY, INFINITY};
        d2 += d * d, r2 += ref[i] * ref[i], worst = std::max(worst, d);
    }
    double rms = std::sqrt(r2 / ref.size());
    return {std::sqrt(d2 / std::max(r2, 1e-300)), worst / std::max(rms, 1e-300)};
}
extern int failures;
inline void report(const std::string& what, Error e, double limit) {
    bool ok = e.rms <= limit;
    if (!ok) failures++;
    if (!ok || getenv("VERBOSE")) printf("%-4s %-90s rms %.2e worst %.2e (limit %.0e)\n", ok ? "ok" : "FAIL", what.c_str(), e.rms, e.worst, limit);
}
inline double actRef(double x, int act) {
    switch (act) {
        case ACT_GELU: return 0.5 * x * (1 + erf(x / sqrt(2.0)));
        case ACT_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
        case ACT_RELU: return std::max(x, 0.0);
        case ACT_SILU: return x / (1 + exp(-x));
        case ACT_TANH: return tanh(x);
        default: return x;
    }
}
