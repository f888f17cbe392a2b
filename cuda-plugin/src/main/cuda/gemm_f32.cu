// y = epilogue(x W^T) in strict float: multiply-adds on the ordinary units.
//
// A lane makes TM x 8 sums, a warp 4 TM x 64, WM x WN warps a tile; WK such groups take every WK-th step of k each, and
// their sums meet in shared memory. Rows of x and W come 16 columns at a time (cp.async, three stages), their 16-byte
// chunks turned by the row's number, so that the 4 or 8 rows that a warp reads at once lie on different banks: four
// columns of a row are one read, 12 reads for 256 multiply-adds of a lane.
//
// Registers: a bank gives one operand a clock, and a multiply-add on another x (which the reuse cache keeps, one for each
// bank) reads two, a sum and a W. In the order of products() an odd column goes with an even sum or the two kinds
// alternate, so neither bank is asked for more than one a clock; in the order of k it ran at two thirds of the rate.
//
// Blocks take whole tiles in turn; the last a.kSlices tiles all blocks share out, in equal numbers of steps. Of a tile that
// several have worked on, the last to come adds up what each left in a.work.
#include "gemm.cuh"

#define STEP 16  // columns of a step
#define STAGES 3
#define COLUMNS 8 // sums of a lane in a row

__device__ __forceinline__ void copy16(u32 to, const void* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
__device__ __forceinline__ void copy16(u32 to, const void* from, int bytes) { // the rest are zeros
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void copiesEnd() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> __device__ __forceinline__ void copiesWait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

template <bool B> struct Is { static constexpr bool value = B; };

template <int TM, int WM, int WN, int WK, int PASSES> struct Strict {
    static constexpr int BM = 4 * TM * WM, BN = 8 * COLUMNS * WN, GROUP = 32 * WM * WN, THREADS = GROUP * WK;
    static constexpr int ROW = STEP * 4, CHUNKS = STEP / 4, STAGE = (BM + BN) * ROW;
    static constexpr int ROWS_AT_ONCE = GROUP / CHUNKS; // that a group copies
    static constexpr int ROWS = BM / PASSES, LD = BN + 8; // of sums in shared memory

    static __device__ __forceinline__ void meet(int group) {
        if (WM * WN == 1) __syncwarp();
        else if (WK == 1) __syncthreads();
        else asm volatile("bar.sync %0, %1;" ::"r"(group + 1), "n"(GROUP) : "memory");
    }
    static __device__ __forceinline__ void multiplyAdd(float& sum, const float4& x, const float4& w, int k) {
        const float a = k == 0 ? x.x : k == 1 ? x.y : k == 2 ? x.z : x.w, b = k == 0 ? w.x : k == 1 ? w.y : k == 2 ? w.z : w.w;
        asm volatile("fma.rn.f32 %0, %1, %2, %0;" : "+f"(sum) : "f"(a), "f"(b));
    }
    static __device__ __forceinline__ void products(float* sums, const float4& x, const float4* w) {
#pragma unroll
        for (int k = 0; k < 4; k += 2)
#pragma unroll
            for (int h = 1; h >= 0; h--)
#pragma unroll
                for (int j = 0; j < COLUMNS; j += 2) multiplyAdd(sums[j], x, w[j], k + h), multiplyAdd(sums[j + 1], x, w[j + 1], k + 1 - h);
    }

    // What a thread copies and reads; the tile that it is at.
    const LinearArgs& a;
    unsigned char* pipe;
    int group, lane, wm, wn, tx, ty, chunk, row;
    u32 to;
    int atX, atW, m0, n0;

    __device__ __forceinline__ Strict(const LinearArgs& a, unsigned char* shared) : a(a) {
        const int tid = threadIdx.x, t = WK == 1 ? tid : tid % GROUP;
        group = WK == 1 ? 0 : tid / GROUP, lane = tid & 31, wm = t / 32 % WM, wn = t / 32 / WM;
        tx = lane >> 1 & 7, ty = (lane >> 4) * 2 + (lane & 1); // neighbours share W: one pass over the banks for 16 lanes
        pipe = shared + group * (STAGE * STAGES);
        chunk = t % CHUNKS, row = t / CHUNKS;
        to = (u32)__cvta_generic_to_shared(pipe) + row * ROW + ((chunk ^ (row >> 1 & 3)) << 4);
        const int rx = wm * 4 * TM + ty, rw = wn * 8 * COLUMNS + tx; // and every 4th of x, every 8th of W
        atX = rx * ROW + ((rx >> 1 & 3) << 4), atW = BM * ROW + rw * ROW + ((rw >> 1 & 3) << 4);
    }

    template <int COUNT, bool INSIDE>
    __device__ __forceinline__ void copy(u32 to, const float* from, long long step, const void* any, int rows, int bytes) const {
#pragma unroll
        for (int i = 0; i < COUNT / ROWS_AT_ONCE; i++) {
            if (INSIDE) copy16(to + i * ROWS_AT_ONCE * ROW, from + i * step);
            else {
                const bool has = bytes > 0 && i * ROWS_AT_ONCE < rows;
                copy16(to + i * ROWS_AT_ONCE * ROW, has ? from + i * step : any, has ? bytes : 0);
            }
        }
    }

    // Adds to acc the products of `count` steps from column `base` (of this thread's chunk) on. The launch's first has
    // still to wait for x.
    template <bool INSIDE> __device__ __forceinline__ void multiply(float (&acc)[TM][COLUMNS], int base, int count, bool first) const {
        const int allocated = (a.w.n + 15) & ~15;
        const float* x = static_cast<const float*>(a.x) + (long long)(m0 + row) * a.ldx + base;
        const float* w = static_cast<const float*>(a.w.data) + (long long)(n0 + row) * a.w.ld + base;
        const long long stepX = (long long)ROWS_AT_ONCE * a.ldx, stepW = (long long)ROWS_AT_ONCE * a.w.ld;
        auto copyX = [&](int q, int stage) {
            const int k = q * (STEP * WK), bytes = min(16, (a.w.k - base - k) * 4);
            copy<BM, INSIDE>(to + stage * STAGE, x + k, stepX, a.x, a.m - m0 - row, bytes);
        };
        auto copyW = [&](int q, int stage) {
            const int k = q * (STEP * WK), bytes = base + k < a.w.k ? 16 : 0;
            copy<BN, INSIDE>(to + stage * STAGE + BM * ROW, w + k, stepW, a.w.data, allocated - n0 - row, bytes);
        };
#pragma unroll
        for (int s = 0; s < STAGES - 1; s++) if (s < count) copyW(s, s);
        if (first) {
            dependencyWait();
            dependentsLaunch();
        }
#pragma unroll
        for (int s = 0; s < STAGES - 1; s++) {
            if (s < count) copyX(s, s);
            copiesEnd();
        }
        copiesWait<STAGES - 2>();
        meet(group);
        float4 wv[2][COLUMNS], xv[3]; // of this chunk of four columns and the next; of this row and the next two
        auto readW = [&](int j, int at) { return *reinterpret_cast<const float4*>(pipe + at + j * 8 * ROW); };
        auto readX = [&](int at, int i) { // 4 rows further chunks turn differently
            return *reinterpret_cast<const float4*>(pipe + (at ^ (i & 1) << 5) + i * 4 * ROW);
        };
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) wv[0][j] = readW(j, atW);
        xv[0] = readX(atX, 0), xv[1] = readX(atX, 1);
        int now = 0, fill = STAGES - 1;
#pragma unroll 1
        for (int q = 0; q < count; q++) {
            const int next = now == (STAGES - 1) * STAGE ? 0 : now + STAGE;
#pragma unroll 1
            for (int pair = 0; pair < CHUNKS; pair += 2) {
#pragma unroll
                for (int c = 0; c < 2; c++) {
                    const bool last = c == 1 && pair == CHUNKS - 2;
                    if (last) { // the next step is there, and all are done with the one before this
                        copiesWait<STAGES - 3>();
                        meet(group);
                        if (q + STAGES - 1 < count) {
                            copyW(q + STAGES - 1, fill);
                            copyX(q + STAGES - 1, fill);
                        }
                        copiesEnd();
                        fill = fill == STAGES - 1 ? 0 : fill + 1;
                    }
                    const int turn = (pair + c) << 4, turned = last ? 0 : (pair + c + 1) << 4, from = last ? next : now;
#pragma unroll
                    for (int i = 0; i < TM; i++) {
                        const int n = i + TM * c;
                        xv[(n + 2) % 3] = i + 2 < TM ? readX((now + atX) ^ turn, i + 2) : readX((from + atX) ^ turned, i + 2 - TM);
                        if (i % (TM / COLUMNS) == 0) wv[c ^ 1][i / (TM / COLUMNS)] = readW(i / (TM / COLUMNS), (from + atW) ^ turned);
                        products(acc[i], xv[n % 3], wv[c]);
                    }
                }
                const float4 u = xv[2 * TM % 3], v = xv[(2 * TM + 1) % 3];
                xv[0] = u, xv[1] = v;
            }
            now = next;
        }
    }

    // Sums of `count` steps of tile `tile`, a pass of rows at a time through shared memory: to y, or, when they are a share
    // of blocks firstOf to lastOf, to work, and the last block goes on.
    __device__ __forceinline__ void finish(const float (&acc)[TM][COLUMNS], unsigned char* shared, bool part, int firstOf, int lastOf, int* counter, int* arrived) const {
        constexpr int FOURS = BN / 4, AT_ONCE = THREADS / FOURS;
        const int column = threadIdx.x % FOURS * 4, row0 = threadIdx.x / FOURS;
        float* work = static_cast<float*>(a.work) + column;
        auto share = [&](int block) { return work + (long long)(2 * block + (block == firstOf)) * (BM * BN); };
        float* mine = share(blockIdx.x);
        float* out = reinterpret_cast<float*>(shared);
        const Epilogue e(a, n0 + column);
#pragma unroll 1
        for (int p = 0; p < PASSES; p++) {
            __syncthreads();
#pragma unroll
            for (int i = 0; i < TM; i++) {
                if (i / (TM / PASSES) != p) continue;
                float* o = out + (group * ROWS + wm * (ROWS / WM) + i % (TM / PASSES) * 4 + ty) * LD + wn * 8 * COLUMNS + tx;
#pragma unroll
                for (int j = 0; j < COLUMNS; j++) o[j * 8] = acc[i][j];
            }
            __syncthreads();
#pragma unroll 2
            for (int r = row0; r < ROWS; r += AT_ONCE) {
                float4 v = *reinterpret_cast<const float4*>(out + r * LD + column);
#pragma unroll
                for (int g = 1; g < WK; g++) {
                    const float4 u = *reinterpret_cast<const float4*>(out + (g * ROWS + r) * LD + column);
                    v.x += u.x, v.y += u.y, v.z += u.z, v.w += u.w;
                }
                const int m = r / (ROWS / WM) * (4 * TM) + p * (ROWS / WM) + r % (ROWS / WM);
                if (part) __stcg(reinterpret_cast<float4*>(mine + m * BN), v);
                else if (m0 + m < a.m && !e.idle()) e.row(a, m0 + m, v);
            }
        }
        if (part) {
            __threadfence();
            __syncthreads();
            if (threadIdx.x == 0) *arrived = atomicAdd(counter, 1);
            __syncthreads();
            if (*arrived == lastOf - firstOf) {
                __threadfence();
                if (threadIdx.x == 0) *counter = 0;
#pragma unroll 1
                for (int r = row0; r < BM && m0 + r < a.m && !e.idle(); r += AT_ONCE) {
                    float4 v = make_float4(0, 0, 0, 0);
#pragma unroll 4
                    for (int z = firstOf; z <= lastOf; z++) {
                        const float4 u = __ldcg(reinterpret_cast<const float4*>(share(z) + r * BN));
                        v.x += u.x, v.y += u.y, v.z += u.z, v.w += u.w;
                    }
                    e.row(a, m0 + r, v);
                }
            }
        }
        __syncthreads();
    }

    __device__ __forceinline__ void run(unsigned char* shared) {
        __shared__ int arrived;
        const int down = (a.m + BM - 1) / BM, tiles = down * ((a.w.n + BN - 1) / BN), steps = (a.w.k + STEP * WK - 1) / (STEP * WK);
        const int whole = tiles - a.kSlices, blocks = gridDim.x, each = a.kSlices * steps / blocks, more = a.kSlices * steps % blocks;
        auto startOf = [&](int block) { return block * each + min(block, more); };
        auto blockOf = [&](int i) { return i < more * (each + 1) ? i / (each + 1) : more + (i - more * (each + 1)) / each; };
        int tile = blockIdx.x, at = startOf(blockIdx.x);
        const int stop = startOf(blockIdx.x + 1);
        for (bool first = true;; first = false) {
            int from = 0, count = steps, now = tile;
            if (tile < whole) tile += blocks;
            else if (at < stop) now = whole + at / steps, from = at % steps, count = min(steps - from, stop - at), at += count;
            else break;
            m0 = now % down * BM, n0 = now / down * BN;
            const int base = (from * WK + group) * STEP + chunk * 4;
            float acc[TM][COLUMNS] = {};
            if (m0 + BM <= a.m && n0 + BN <= a.w.n && (from + count) * (STEP * WK) <= a.w.k) multiply<true>(acc, base, count, first);
            else multiply<false>(acc, base, count, first);
            const int s = now - whole;
            const bool part = count < steps;
            finish(acc, shared, part, part ? blockOf(s * steps) : 0, part ? blockOf(s * steps + steps - 1) : 0, a.counters + s, &arrived);
        }
    }
};

#define KERNEL(NAME, BLOCKS, ...) \
    extern "C" __global__ void __launch_bounds__(Strict<__VA_ARGS__>::THREADS, BLOCKS) NAME(const __grid_constant__ LinearArgs a) { \
        extern __shared__ __align__(128) unsigned char shared[]; \
        Mark mark{a.mark}; \
        Strict<__VA_ARGS__>(a, shared).run(shared); \
    }
KERNEL(gemm_f32, 2, 16, 2, 2, 1, 2)       // 128 x 128
KERNEL(gemm_f32_small, 2, 16, 1, 1, 4, 1) // 64 x 64, four groups of a warp
KERNEL(gemm_f32_few, 1, 8, 1, 1, 8, 1)    // 32 x 64, eight groups of a warp
