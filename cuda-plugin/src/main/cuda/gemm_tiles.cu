// y = epilogue(x W^T) on Hopper: the copy engine brings tiles of x and W, two warpgroups multiply them with wgmma.
//
// A block makes 128 x BN tiles, one after the other: a thread of the third warpgroup keeps STAGES boxes of 128 bytes of k in
// flight (tensor maps of the host; past the end they read zeros, so no shape is special), each of the other two multiplies
// 64 rows. Per 64 columns of k and 2048 multiply-adds a clock and SM: 4 BN clocks of products, and BN / 16 + 8 KB read and
// BN / 8 + 16 KB written in shared memory, at 128 bytes a clock 1024 clocks for BN = 256, where both bind alike; narrower tiles
// are for shapes that leave SMs without a tile. Tiles go down m first: the blocks in flight share W, x stays in L2.
//
// Few tiles are split over k (a.kSlices): see gemm.cuh. Sums leave through 16 x 32 floats of shared memory a warp, so that the
// epilogue's code exists once and rows are stored in whole sectors, while the producer fills the stages of the next tile.
#include "bulk.cuh"
#include "gemm.cuh"

#ifdef HAS_WGMMA
#define STAGE_ROWS 40 // floats: a quarter warp's stores fall on different banks
#define STAGING (8 * 16 * STAGE_ROWS * 4)

// As combineSplits, for 256 threads and tiles that are not blocks.
template <int N> __device__ __forceinline__ bool combineShares(const LinearArgs& a, float* d, int tile, int share, int tid, int* arrived) {
    float4* work = static_cast<float4*>(a.work) + (long long)tile * a.kSlices * (N * 64) + tid;
#pragma unroll
    for (int i = 0; i < N / 4; i++) __stcg(work + (share * (N / 4) + i) * 256, make_float4(d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]));
    __threadfence();
    meet(1, 256);
    if (tid == 0) *arrived = atomicAdd(a.counters + tile, 1);
    meet(1, 256);
    if (*arrived != a.kSlices - 1) return false;
    __threadfence();
    if (tid == 0) a.counters[tile] = 0;
#pragma unroll
    for (int i = 0; i < N; i++) d[i] = 0;
#pragma unroll 1
    for (int z = 0; z < a.kSlices; z++) {
#pragma unroll
        for (int i = 0; i < N / 4; i++) {
            float4 v = __ldcg(work + (z * (N / 4) + i) * 256);
            d[4 * i] += v.x, d[4 * i + 1] += v.y, d[4 * i + 2] += v.z, d[4 * i + 3] += v.w;
        }
    }
    return true;
}

// Which tile comes when: m first in groups of 16 tiles, so that the x of a group stays in L2 while W goes by.
struct Order {
    int mTiles, nTiles;
    __device__ __forceinline__ int2 at(int tile) const {
        const int group = tile / (16 * nTiles), local = tile - group * 16 * nTiles, rows = min(16, mTiles - group * 16);
        return make_int2(group * 16 + local % rows, local / rows);
    }
};

// 32 columns of a warp's sums into its buffer. `part` is not known at compile time, sums are in registers: one of BN / 32.
template <int BN> __device__ __forceinline__ void stagePart(const float* d, float* buffer, int part) {
    const int lane = threadIdx.x & 31;
    float* to = buffer + (lane >> 2) * STAGE_ROWS + (lane & 3) * 2;
#pragma unroll
    for (int q = 0; q < BN / 32; q++) {
        if (q != part) continue;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            *reinterpret_cast<float2*>(to + j * 8) = make_float2(d[16 * q + 4 * j], d[16 * q + 4 * j + 1]);
            *reinterpret_cast<float2*>(to + 8 * STAGE_ROWS + j * 8) = make_float2(d[16 * q + 4 * j + 2], d[16 * q + 4 * j + 3]);
        }
    }
}

// A warp's 16 rows from row m0 and BN columns from n0. Where all of them exist and 16 bytes fit everywhere, nothing is asked
// in the loop, and biases and residuals of the next 32 columns come while these are stored.
template <int BN> __device__ __forceinline__ void finishRows(const LinearArgs& a, const float* d, float* buffer, int m0, int n0) {
    const int lane = threadIdx.x & 31, c = (lane & 7) * 4, r = lane >> 3, es = a.yFmt == FMT_F32 ? 4 : 2;
    const bool whole = m0 + 16 <= a.m && n0 + BN <= a.w.n && (a.ldy & 3) == 0 && (a.ldr & 3) == 0 && !(a.gated && a.residual) &&
                       ((reinterpret_cast<uintptr_t>(a.y) | reinterpret_cast<uintptr_t>(a.bias) | reinterpret_cast<uintptr_t>(a.residual)) & 15) == 0;
    if (!whole) {
#pragma unroll 1
        for (int part = 0; part < BN / 32; part++) {
            stagePart<BN>(d, buffer, part);
            __syncwarp();
            const Epilogue e(a, n0 + part * 32 + c);
            if (!e.idle()) {
#pragma unroll 1
                for (int i = r; i < 16 && m0 + i < a.m; i += 4) e.row(a, m0 + i, *reinterpret_cast<const float4*>(buffer + i * STAGE_ROWS + c));
            }
            __syncwarp();
        }
        return;
    }
    const float* bias = a.bias ? a.bias + n0 + c : nullptr;
    const float* residual = a.residual ? a.residual + (long long)(m0 + r) * a.ldr + n0 + c : nullptr;
    char* y = static_cast<char*>(a.y) + ((long long)(m0 + r) * a.ldy + (a.gated ? (n0 + c) / 2 : n0 + c)) * es;
    const long long yDown = 4ll * a.ldy * es, residualDown = 4ll * a.ldr;
    const int yOn = (a.gated ? 16 : 32) * es;
    float4 b = make_float4(0, 0, 0, 0), q[4] = {b, b, b, b};
    auto fetch = [&] {
        if (bias) b = *reinterpret_cast<const float4*>(bias), bias += 32;
        if (residual) {
#pragma unroll
            for (int i = 0; i < 4; i++) q[i] = *reinterpret_cast<const float4*>(residual + i * residualDown);
            residual += 32;
        }
    };
    fetch();
#pragma unroll 1
    for (int part = 0; part < BN / 32; part++) {
        stagePart<BN>(d, buffer, part);
        __syncwarp();
        float v[16];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float4 s = *reinterpret_cast<const float4*>(buffer + (r + 4 * i) * STAGE_ROWS + c);
            v[4 * i] = s.x + b.x, v[4 * i + 1] = s.y + b.y, v[4 * i + 2] = s.z + b.z, v[4 * i + 3] = s.w + b.w;
        }
        if (a.gated) {
            float g[8];
#pragma unroll
            for (int i = 0; i < 8; i++) g[i] = v[2 * i];
            activateMany<8>(g, a.act);
            if (part + 1 < BN / 32) fetch();
#pragma unroll
            for (int i = 0; i < 4; i++) storePair(y + i * yDown, 0, a.yFmt, g[2 * i] * v[4 * i + 1], g[2 * i + 1] * v[4 * i + 3]);
        } else {
            activateMany<16>(v, a.act);
#pragma unroll
            for (int i = 0; i < 4; i++) v[4 * i] += q[i].x, v[4 * i + 1] += q[i].y, v[4 * i + 2] += q[i].z, v[4 * i + 3] += q[i].w;
            if (part + 1 < BN / 32) fetch();
            if (a.yFmt == FMT_F32) {
#pragma unroll
                for (int i = 0; i < 4; i++) *reinterpret_cast<float4*>(y + i * yDown) = make_float4(v[4 * i], v[4 * i + 1], v[4 * i + 2], v[4 * i + 3]);
            } else {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    *reinterpret_cast<uint2*>(y + i * yDown) = a.yFmt == FMT_F16
                        ? make_uint2(packHalf(v[4 * i], v[4 * i + 1]), packHalf(v[4 * i + 2], v[4 * i + 3]))
                        : make_uint2(packBf16(v[4 * i], v[4 * i + 1]), packBf16(v[4 * i + 2], v[4 * i + 3]));
                }
            }
        }
        y += yOn;
        __syncwarp();
    }
}

template <int FMT, int BN, int STAGES> __device__ __forceinline__ void gemm(const TiledArgs& t, unsigned char* shared) {
    const LinearArgs& a = t.a;
    const int BYTES = (128 + BN) * 128, KC = FMT == FMT_F32 ? 32 : 64; // columns of k in 128 bytes
    const u32 base = sharedAddress(shared), bars = base + STAGES * BYTES + STAGING;
    int* arrived = reinterpret_cast<int*>(shared + STAGES * BYTES + STAGING + 16 * STAGES);
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) barrierInit(bars + s * 8, 1), barrierInit(bars + (STAGES + s) * 8, 8);
        barriersReady();
    }
    __syncthreads();
    const Order order = {(a.m + 127) / 128, (a.w.n + BN - 1) / BN};
    const int tiles = order.mTiles * order.nTiles, all = (a.w.k + KC - 1) / KC;
    const int share = (all + a.kSlices - 1) / a.kSlices, items = tiles * a.kSlices;
    Ring<STAGES> ring(bars, bars + STAGES * 8);
    const int group = threadIdx.x >> 7;
    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (threadIdx.x == 256) {
            int ahead = 0; // W's boxes of the first tile come before the wait for x
            for (int item = blockIdx.x; item < items; item += gridDim.x) {
                const int tile = item % tiles, m0 = order.at(tile).x * 128, n0 = order.at(tile).y * BN;
                const int start = item / tiles * share, end = min(start + share, all);
                if (item == int(blockIdx.x)) {
                    for (; !a.fresh && ahead < STAGES && start + ahead < end; ahead++) {
                        barrierExpect(bars + ahead * 8, BYTES);
                        loadBox(base + ahead * BYTES + 16384, t.w, (start + ahead) * KC, n0, bars + ahead * 8);
                    }
                    dependencyWait();
                    dependentsLaunch();
                }
                for (int s = start; s < end; s++) {
                    const u32 to = base + ring.stage * BYTES, full = ring.fullNow();
                    if (ahead == 0) {
                        barrierWait(ring.emptyNow(), ring.parity ^ 1);
                        barrierExpect(full, BYTES);
                        loadBox(to + 16384, t.w, s * KC, n0, full);
                    } else {
                        ahead--;
                    }
                    loadBox(to, t.x, s * KC, m0, full);
                    ring.next();
                }
            }
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        dependencyWait(); // residuals, and y, which the kernel before may read
        const int warp = threadIdx.x >> 5;
        float* buffer = reinterpret_cast<float*>(shared + STAGES * BYTES) + warp * 16 * STAGE_ROWS;
        float d[BN / 2];
        for (int item = blockIdx.x; item < items; item += gridDim.x) {
            const int tile = item % tiles, m0 = order.at(tile).x * 128, n0 = order.at(tile).y * BN;
            const int start = item / tiles * share, end = min(start + share, all);
            u32 last = 0;
            for (int s = start; s < end; s++) {
                barrierWait(ring.fullNow(), ring.parity);
                const u32 at = base + ring.stage * BYTES;
                const u64 x = wgmmaSide(at + group * 8192), w = wgmmaSide(at + 16384);
                wgmmaFence();
#pragma unroll
                for (int k = 0; k < 4; k++) wgmma<FMT, BN>(d, x + 2 * k, w + 2 * k, s > start || k > 0);
                wgmmaCommit();
                if (s > start) {
                    wgmmaWait<1>();
                    if ((threadIdx.x & 31) == 0) barrierArrive(last);
                }
                last = ring.emptyNow();
                ring.next();
            }
            wgmmaWait<0>();
            if ((threadIdx.x & 31) == 0) barrierArrive(last);
            wgmmaDone<BN / 2>(d);
            if (a.kSlices > 1 && !combineShares<BN / 2>(a, d, tile, item / tiles, threadIdx.x, arrived)) continue;
            finishRows<BN>(a, d, buffer, m0 + group * 64 + (warp & 3) * 16, n0);
        }
    }
}
#endif

template <int FMT, int BN, int STAGES> __device__ __forceinline__ void tiles(const TiledArgs& t) {
#ifdef HAS_WGMMA
    extern __shared__ __align__(1024) unsigned char shared[];
    Mark mark{t.a.mark};
    gemm<FMT, BN, STAGES>(t, shared);
#else
    __trap(); // no launch rule of another card comes here
#endif
}
#define TILES(NAME, FMT, BN, STAGES) \
    extern "C" __global__ void __launch_bounds__(384, 1) gemm_##NAME##_tiles##BN(const __grid_constant__ TiledArgs t) { tiles<FMT, BN, STAGES>(t); }
#define WIDTHS(NAME, FMT) TILES(NAME, FMT, 256, 4) TILES(NAME, FMT, 192, 5) TILES(NAME, FMT, 160, 5) TILES(NAME, FMT, 128, 6)
WIDTHS(f16, FMT_F16)
WIDTHS(bf16, FMT_BF16)
WIDTHS(tf32, FMT_F32)
