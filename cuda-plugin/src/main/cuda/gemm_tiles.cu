// y = epilogue(x W^T) on Hopper: the copy engine brings tiles of x and W, two warpgroups multiply them with wgmma.
//
// A block makes 128 x BN tiles, one after the other: a thread of the third warpgroup keeps STAGES boxes of 128 bytes of k in
// flight (tensor maps of the host; past the end they read zeros, so no shape is special), each of the other two multiplies
// 64 rows. Per 64 columns of k and 2048 multiply-adds a clock and SM: 4 BN clocks of products, and BN / 16 + 8 KB read and
// BN / 8 + 16 KB written in shared memory, at 128 bytes a clock 1024 clocks for BN = 256, where both bind alike; narrower tiles
// are for shapes that leave SMs without a tile. Tiles go down m first: the blocks in flight share W, x stays in L2.
//
// Few tiles are split over k: the shares of a tile are one cluster (gridDim.z blocks), whose sums meet in shared memory, 32 columns
// in each block in turn. Biases are what sums start from, asked for while the first boxes are on their way. Sums leave 32 columns at a
// time, so that the epilogue's long code exists once, and in whole sectors: floats as the fragments they are, 16-bit ones through a
// few KB of shared memory a warp. Meanwhile the producer fills the stages of the next tile.
#include "bulk.cuh"
#include "gemm.cuh"

#ifdef HAS_WGMMA
#define STAGE_ROWS 40 // floats: a quarter warp's stores fall on different banks
#define STAGING (8 * 16 * STAGE_ROWS * 4)

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

// Whether a warp's 16 rows from row m0 and BN columns from n0 all exist and pairs of 16 bytes fit everywhere.
template <int BN> __device__ __forceinline__ bool isWhole(const LinearArgs& a, int m0, int n0) {
    return m0 + 16 <= a.m && n0 + BN <= a.w.n && (a.ldy & 7) == 0 && (a.ldr & 3) == 0 && !(a.residual && (a.gated || a.act != ACT_NONE || a.yFmt != FMT_F32)) &&
           ((reinterpret_cast<uintptr_t>(a.y) | reinterpret_cast<uintptr_t>(a.bias) | reinterpret_cast<uintptr_t>(a.residual)) & 15) == 0;
}

// What the sums start from.
template <int BN> __device__ __forceinline__ void startFromBias(const LinearArgs& a, float* d, int n0, bool has) {
    const float* bias = a.bias + n0 + (threadIdx.x & 3) * 2;
#pragma unroll
    for (int j = 0; j < BN / 8; j++) {
        float2 b = make_float2(0, 0);
        if (has) b = *reinterpret_cast<const float2*>(bias + j * 8);
        d[4 * j] = d[4 * j + 2] = b.x, d[4 * j + 1] = d[4 * j + 3] = b.y;
    }
}

// Whether part p of 32 columns is finished in this block.
__device__ __forceinline__ bool isMine(int p) { return gridDim.z == 1 || p % gridDim.z == blockIdx.z; }

// Sums of a tile that a cluster's blocks have shares of: 32 columns, part p, meet in block p % shares, as the fragments they are.
template <int BN> __device__ __forceinline__ void meetSums(float* d, u32 base) {
    const int shares = gridDim.z, rank = blockIdx.z;
    auto place = [&](int part, int from) { return base + ((part / shares * shares + from) * 4 * 256 + threadIdx.x) * 16; };
    clusterMeet(); // every block's stages are free
#pragma unroll
    for (int p = 0; p < BN / 32; p++) {
        if (isMine(p)) continue;
        u32 to;
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"(place(p, rank)), "r"(p % shares));
#pragma unroll
        for (int i = 16 * p; i < 16 * p + 16; i += 4) {
            asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(to + (i - 16 * p) * 1024), "f"(d[i]), "f"(d[i + 1]), "f"(d[i + 2]), "f"(d[i + 3]) : "memory");
        }
    }
    clusterMeet();
#pragma unroll
    for (int p = 0; p < BN / 32; p++) {
        if (!isMine(p)) continue;
#pragma unroll 1
        for (int z = rank + 1; z != rank + shares; z++) { // in one order: from this block on
            const u32 at = place(p, z < shares ? z : z - shares);
#pragma unroll
            for (int i = 16 * p; i < 16 * p + 16; i += 4) {
                float4 v;
                asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "r"(at + (i - 16 * p) * 1024));
                d[i] += v.x, d[i + 1] += v.y, d[i + 2] += v.z, d[i + 3] += v.w;
            }
        }
    }
}

// Residuals of a lane's sums, some parts of 32 columns at a time: asked for together, the first of them before products end.
template <int BN> struct Residuals {
    static constexpr int TOGETHER = BN == 160 ? 5 : BN == 128 ? 4 : 3;
    float2 q[TOGETHER][8];
    __device__ __forceinline__ void fetch(const LinearArgs& a, int m0, int n0, int first) {
        const int lane = threadIdx.x & 31;
        const float* at = a.residual + (long long)(m0 + (lane >> 2)) * a.ldr + n0 + (lane & 3) * 2;
        const long long down = 8ll * a.ldr;
#pragma unroll
        for (int p = first; p < first + TOGETHER && p < BN / 32; p++) {
            if (!isMine(p)) continue;
#pragma unroll
            for (int i = 0; i < 8; i++) q[p - first][i] = *reinterpret_cast<const float2*>(at + (i & 1 ? down : 0) + p * 32 + (i >> 1) * 8);
        }
    }
    __device__ __forceinline__ void finish(const LinearArgs& a, const float* d, int m0, int n0) {
        const int lane = threadIdx.x & 31;
        float* y = static_cast<float*>(a.y) + (long long)(m0 + (lane >> 2)) * a.ldy + n0 + (lane & 3) * 2;
        const long long down = 8ll * a.ldy;
#pragma unroll
        for (int first = 0; first < BN / 32; first += TOGETHER) {
            if (first > 0) fetch(a, m0, n0, first);
#pragma unroll
            for (int p = first; p < first + TOGETHER && p < BN / 32; p++) {
                if (!isMine(p)) continue;
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    const float2 r = q[p - first][i];
                    *reinterpret_cast<float2*>(y + (i & 1 ? down : 0) + p * 32 + (i >> 1) * 8) = make_float2(d[16 * p + 2 * i] + r.x, d[16 * p + 2 * i + 1] + r.y);
                }
            }
        }
    }
};

// A warp's 16 rows from row m0 and BN columns from n0, of which this block has parts of 32 columns.
template <int BN> __device__ __forceinline__ void finishRows(const LinearArgs& a, const float* d, float* buffer, int m0, int n0) {
    const int lane = threadIdx.x & 31, c = (lane & 7) * 4;
#pragma unroll 1
    for (int part = blockIdx.z; part < BN / 32; part += gridDim.z) {
        stagePart<BN>(d, buffer, part);
        __syncwarp();
        const Epilogue e(a, n0 + part * 32 + c);
        if (!e.idle()) {
#pragma unroll 1
            for (int i = lane >> 3; i < 16 && m0 + i < a.m; i += 4) e.row(a, m0 + i, *reinterpret_cast<const float4*>(buffer + i * STAGE_ROWS + c));
        }
        __syncwarp();
    }
}

// The same where all of them exist; biases are in the sums. Floats leave as the pairs that a lane has.
template <int BN> __device__ __forceinline__ void finishFloats(const LinearArgs& a, const float* d, int m0, int n0) {
    const int lane = threadIdx.x & 31;
    float* y = static_cast<float*>(a.y) + (long long)(m0 + (lane >> 2)) * a.ldy + n0 + blockIdx.z * 32 + (lane & 3) * 2;
    const long long down = 8ll * a.ldy;
#pragma unroll 1
    for (int part = blockIdx.z; part < BN / 32; part += gridDim.z) {
        float v[16];
#pragma unroll
        for (int p = 0; p < BN / 32; p++) {
            if (p != part) continue;
#pragma unroll
            for (int i = 0; i < 16; i++) v[i] = d[16 * p + i];
        }
        activateMany<16>(v, a.act);
#pragma unroll
        for (int i = 0; i < 8; i++) *reinterpret_cast<float2*>(y + (i & 1 ? down : 0) + (i >> 1) * 8) = make_float2(v[2 * i], v[2 * i + 1]);
        y += 32 * gridDim.z;
    }
}

// 16-bit sums as they are: 64 columns at a time through shared memory, short enough to stand there for every one.
#define HALVES_ROW 144 // bytes of 64 columns: neighbouring rows lie on different banks
template <int BN, bool F16> __device__ __forceinline__ void finishHalves(const LinearArgs& a, const float* d, float* buffer, int m0, int n0) {
    const int lane = threadIdx.x & 31;
    const u32 at = sharedAddress(buffer), to = at + ((lane >> 3 & 1) * 8 + (lane & 7)) * HALVES_ROW + (lane >> 4) * 16;
    __half* y = static_cast<__half*>(a.y) + (long long)m0 * a.ldy + n0;
#pragma unroll
    for (int c = 0; c < BN; c += 64) {
        const int chunks = BN - c < 64 ? 4 : 8, down = 32 / chunks; // of 16 bytes in a row; rows that a warp reads at once
#pragma unroll
        for (int j = 0; j < chunks; j += 2) { // 16 columns
            u32 r[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float* v = d + c / 2 + 4 * (j + (i >> 1)) + 2 * (i & 1);
                r[i] = F16 ? packHalf(v[0], v[1]) : packBf16(v[0], v[1]);
            }
            asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to + j * 16), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
        }
        __syncwarp();
        const int row = lane / chunks, chunk = lane % chunks;
#pragma unroll
        for (int i = 0; i < 16; i += down) {
            const uint4 v = *reinterpret_cast<const uint4*>(reinterpret_cast<const char*>(buffer) + (row + i) * HALVES_ROW + chunk * 16);
            *reinterpret_cast<uint4*>(y + (long long)(row + i) * a.ldy + c + chunk * 8) = v;
        }
        __syncwarp();
    }
}

// What is left: activations, gates and shares in 16 bits, and gates of floats.
template <int BN> __device__ __forceinline__ void finishActivated(const LinearArgs& a, const float* d, float* buffer, int m0, int n0) {
    const int lane = threadIdx.x & 31, c = (lane & 7) * 4, r = lane >> 3, es = a.yFmt == FMT_F32 ? 4 : 2, first = n0 + blockIdx.z * 32 + c;
    char* y = static_cast<char*>(a.y) + ((long long)(m0 + r) * a.ldy + (a.gated ? first / 2 : first)) * es;
    const long long down = 4ll * a.ldy * es;
    const int on = (a.gated ? 16 : 32) * es * gridDim.z;
#pragma unroll 1
    for (int part = blockIdx.z; part < BN / 32; part += gridDim.z) {
        stagePart<BN>(d, buffer, part);
        __syncwarp();
        float v[16];
#pragma unroll
        for (int i = 0; i < 4; i++) *reinterpret_cast<float4*>(v + 4 * i) = *reinterpret_cast<const float4*>(buffer + (r + 4 * i) * STAGE_ROWS + c);
        if (a.gated) {
            float g[8];
#pragma unroll
            for (int i = 0; i < 8; i++) g[i] = v[2 * i];
            activateMany<8>(g, a.act);
#pragma unroll
            for (int i = 0; i < 4; i++) storePair(y + i * down, 0, a.yFmt, g[2 * i] * v[4 * i + 1], g[2 * i + 1] * v[4 * i + 3]);
        } else {
            activateMany<16>(v, a.act);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                *reinterpret_cast<uint2*>(y + i * down) = a.yFmt == FMT_F16
                    ? make_uint2(packHalf(v[4 * i], v[4 * i + 1]), packHalf(v[4 * i + 2], v[4 * i + 3]))
                    : make_uint2(packBf16(v[4 * i], v[4 * i + 1]), packBf16(v[4 * i + 2], v[4 * i + 3]));
            }
        }
        y += on;
        __syncwarp();
    }
}

template <int FMT, int BN, int STAGES> __device__ __forceinline__ void gemm(const TiledArgs& t, unsigned char* shared) {
    const LinearArgs& a = t.a;
    const int BYTES = (128 + BN) * 128, KC = FMT == FMT_F32 ? 32 : 64; // columns of k in 128 bytes
    const u32 base = sharedAddress(shared), bars = base + STAGES * BYTES + STAGING;
    const Order order = {(a.m + 127) / 128, (a.w.n + BN - 1) / BN};
    const int tiles = order.mTiles * order.nTiles, all = (a.w.k + KC - 1) / KC;
    const int share = (all + gridDim.z - 1) / gridDim.z, start = blockIdx.z * share, end = min(start + share, all);
    int ahead = 0; // W's boxes of the first tile come before the wait for x, and before anybody else is asked
    if (threadIdx.x == 256) {
        for (int s = 0; s < STAGES; s++) barrierInit(bars + s * 8, 1), barrierInit(bars + (STAGES + s) * 8, 8);
        barriersReady();
        const int n0 = order.at(blockIdx.x).y * BN;
        for (; !a.fresh && ahead < min(STAGES, end - start); ahead++) {
            barrierExpect(bars + ahead * 8, BYTES);
            loadBox(base + ahead * BYTES + 16384, t.w, (start + ahead) * KC, n0, bars + ahead * 8);
        }
    }
    __syncthreads();
    Ring<STAGES> ring(bars, bars + STAGES * 8);
    const int group = threadIdx.x >> 7;
    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (threadIdx.x == 256) {
            int2 at = order.at(blockIdx.x);
            dependencyWait();
            dependentsLaunch();
            for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x, at = order.at(tile)) {
                const int m0 = at.x * 128, n0 = at.y * BN;
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
        __syncwarp();
        if (gridDim.z > 1) clusterMeet(), clusterMeet();
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        const int warp = threadIdx.x >> 5;
        float* buffer = reinterpret_cast<float*>(shared + STAGES * BYTES) + warp * 16 * STAGE_ROWS;
        float d[BN / 2];
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            const int m0 = order.at(tile).x * 128 + group * 64 + (warp & 3) * 16, n0 = order.at(tile).y * BN;
            const bool whole = isWhole<BN>(a, m0, n0);
            startFromBias<BN>(a, d, n0, whole && a.bias && blockIdx.z == 0);
            if (tile == int(blockIdx.x)) dependencyWait(); // residuals, and y, which the kernel before may read
            wgmmaDone<BN / 2>(d);
            auto step = [&] {
                barrierWait(ring.fullNow(), ring.parity);
                const u32 at = base + ring.stage * BYTES;
                const u64 x = wgmmaSide(at + group * 8192), w = wgmmaSide(at + 16384);
                wgmmaFence();
#pragma unroll
                for (int k = 0; k < 4; k++) wgmma<FMT, BN>(d, x + 2 * k, w + 2 * k, 1);
                wgmmaCommit();
            };
            step();
            u32 last = ring.emptyNow();
            ring.next();
            for (int s = start + 1; s < end; s++) {
                step();
                wgmmaWait<1>();
                if ((threadIdx.x & 31) == 0) barrierArrive(last);
                last = ring.emptyNow();
                ring.next();
            }
            Residuals<BN> residuals;
            if (whole && a.residual) residuals.fetch(a, m0, n0, 0);
            wgmmaWait<0>();
            if ((threadIdx.x & 31) == 0) barrierArrive(last);
            wgmmaDone<BN / 2>(d);
            if (gridDim.z > 1) meetSums<BN>(d, base);
            if (!whole) finishRows<BN>(a, d, buffer, m0, n0);
            else if (a.residual) residuals.finish(a, d, m0, n0);
            else if (a.yFmt == FMT_F32 && !a.gated) finishFloats<BN>(a, d, m0, n0);
            else if (a.gated || a.act != ACT_NONE || gridDim.z > 1) finishActivated<BN>(a, d, buffer, m0, n0);
            else if (a.yFmt == FMT_F16) finishHalves<BN, true>(a, d, buffer, m0, n0);
            else finishHalves<BN, false>(a, d, buffer, m0, n0);
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
