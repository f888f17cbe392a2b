// Warpgroup matrix instructions (sm_90a): 64 rows x N columns x 32 bytes of k, sums in registers, the right side from shared
// memory, the left from there or from registers. Lane layout of the sums: d[4 j ..] are columns 8 j + 2 t, + 1 of rows g and
// g + 8 of the warp's 16.
#pragma once
#include "mma.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define HAS_WGMMA 1
// Rows of 128 bytes, 16-byte chunks swizzled by row & 7; groups of 8 rows are 1024 bytes apart. Rows are what the product
// runs over, or, `across`, k, with the columns in panels of 64 that are `panel` bytes apart.
__device__ __forceinline__ u64 wgmmaSide(u32 at) { return (u64)((at & 0x3ffff) >> 4) | (1ull << 16) | (64ull << 32) | (1ull << 62); }
__device__ __forceinline__ u64 wgmmaSideAcross(u32 at, u32 panel) {
    return (u64)((at & 0x3ffff) >> 4) | ((u64)(panel >> 4) << 16) | (64ull << 32) | (1ull << 62);
}
__device__ __forceinline__ void wgmmaFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmmaCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> __device__ __forceinline__ void wgmmaWait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
// What ordinary stores and cp.async wrote becomes visible to the matrix units.
__device__ __forceinline__ void proxyFence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// Keeps reads of sums after the wait for them.
template <int N> __device__ __forceinline__ void wgmmaDone(float* d) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
}

#define D8(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define D32(i) D8(i), D8(i + 8), D8(i + 16), D8(i + 24)
#define R0_15 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define R0_31 R0_15 \
    ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define R32_63 \
    ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47" \
    ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define R64_79 \
    ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#define R80_95 \
    ",%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define R80_127 R80_95 \
    ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111" \
    ",%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define WGMMA(N, TYPES, R, A, B, P, TAIL, ...) \
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %" P ", 0; wgmma.mma_async.sync.aligned.m64n" N TYPES " {" R "}, %" A ", %" B \
                 ", p, 1, 1" TAIL "; }" : __VA_ARGS__ : "l"(a), "l"(b), "r"(accumulate))
#define WGMMA_FORMATS(N, R, A, B, P, ...) \
    if constexpr (FMT == FMT_F16) WGMMA(N, "k16.f32.f16.f16", R, A, B, P, ", 0, 0", __VA_ARGS__); \
    else if constexpr (FMT == FMT_BF16) WGMMA(N, "k16.f32.bf16.bf16", R, A, B, P, ", 0, 0", __VA_ARGS__); \
    else WGMMA(N, "k8.f32.tf32.tf32", R, A, B, P, "", __VA_ARGS__)

// d = a b, or d + a b: both sides with k along the rows.
template <int FMT, int N> __device__ __forceinline__ void wgmma(float* d, u64 a, u64 b, int accumulate) {
    if constexpr (N == 32) { WGMMA_FORMATS("32", R0_15, "16", "17", "18", D8(0), D8(8)); }
    else if constexpr (N == 64) { WGMMA_FORMATS("64", R0_31, "32", "33", "34", D32(0)); }
    else if constexpr (N == 128) { WGMMA_FORMATS("128", R0_31 R32_63, "64", "65", "66", D32(0), D32(32)); }
    else if constexpr (N == 160) { WGMMA_FORMATS("160", R0_31 R32_63 R64_79, "80", "81", "82", D32(0), D32(32), D8(64), D8(72)); }
    else if constexpr (N == 192) { WGMMA_FORMATS("192", R0_31 R32_63 R64_79 R80_95, "96", "97", "98", D32(0), D32(32), D32(64)); }
    else if constexpr (N == 256) { WGMMA_FORMATS("256", R0_31 R32_63 R64_79 R80_127, "128", "129", "130", D32(0), D32(32), D32(64), D32(96)); }
}

// d += a b in f16: a in registers (the fragments of mma.cuh's 16 x 16), b with k across its rows.
#define WGMMA_REG(N, R, A0, A1, A2, A3, B, ...) \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" N "k16.f32.f16.f16 {" R "}, {%" A0 ", %" A1 ", %" A2 ", %" A3 "}, %" B ", 1, 1, 1, 1;" \
                 : __VA_ARGS__ : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
template <int N> __device__ __forceinline__ void wgmmaAcross(float* d, const u32* a, u64 b) {
    if constexpr (N == 64) WGMMA_REG("64", R0_31, "32", "33", "34", "35", "36", D32(0));
    else if constexpr (N == 128) WGMMA_REG("128", R0_31 R32_63, "64", "65", "66", "67", "68", D32(0), D32(32));
}
#endif
