// y = epilogue(norm(x) W^T) for up to 8 rows of x and W in 8 or 4 bits, on the matrix units' integers.
//
// At 4.5 TB/s an SM receives 35 4-bit weights a clock: more than its 128 lanes can turn into floats and multiply one by one.
// So the quants stay integers and meet x in mma.m16n8k32 (s8 x s8, s32 sums): 8 nibbles become two operands in three
// instructions. x keeps float's precision: each block of 32 in fixed point of 22 bits below its largest element, cut into three
// signed bytes, one a column of the mma; the sums are exact and come out as floats (1.5 * 2^23 + sum, by the bits of the
// accumulator), are put together, and scaled per block, in f32. Two rows of x fill the mma's eight columns.
// Unpacking to f16 for mma.m16n8k16 took 236 instructions a tile (ncu) against about 110: 24 against 15 us for 22016 x 4096.
#include "gemv.cuh"
#include "quant.cuh"

template <int FMT> struct Tile { // what a lane loads of a tile
    static const int VECS = FMT == FMT_Q8_0 ? 4 : 2, SCALE_WORDS = FMT == FMT_Q4_1 ? 4 : 2;
    uint4 q[VECS];
    u32 s[2 * SCALE_WORDS]; // row g, row g + 8
};

// Where a lane's part of tile 0 lies.
template <int FMT> struct Stream {
    const char *q, *s;
    static const int BYTES = Tile<FMT>::VECS * 512, SCALE_BYTES = FMT == FMT_Q4_1 ? 256 : 128;
    __device__ __forceinline__ explicit Stream(const Weight& w) {
        const int lane = threadIdx.x & 31;
        q = static_cast<const char*>(w.data) + lane * 16;
        s = static_cast<const char*>(w.scales) + (lane >> 2) * (SCALE_BYTES / 16);
    }
    __device__ __forceinline__ void load(Tile<FMT>& t, u32 tile) const {
        const char *from = q + (u64)tile * BYTES, *scales = s + (u64)tile * SCALE_BYTES;
#pragma unroll
        for (int v = 0; v < Tile<FMT>::VECS; v++) t.q[v] = loadStream(from + v * 512);
        if (FMT == FMT_Q4_1) {
            const uint4 p = __ldg(reinterpret_cast<const uint4*>(scales)), r = __ldg(reinterpret_cast<const uint4*>(scales + SCALE_BYTES / 2));
            t.s[0] = p.x, t.s[1] = p.y, t.s[2] = p.z, t.s[3] = p.w;
            t.s[4 % (2 * Tile<FMT>::SCALE_WORDS)] = r.x, t.s[5 % (2 * Tile<FMT>::SCALE_WORDS)] = r.y;
            t.s[6 % (2 * Tile<FMT>::SCALE_WORDS)] = r.z, t.s[7 % (2 * Tile<FMT>::SCALE_WORDS)] = r.w;
        } else {
            const uint2 p = __ldg(reinterpret_cast<const uint2*>(scales)), r = __ldg(reinterpret_cast<const uint2*>(scales + SCALE_BYTES / 2));
            t.s[0] = p.x, t.s[1] = p.y, t.s[2] = r.x, t.s[3] = r.y;
        }
    }
};

// Operand bytes of a step of 16 columns: row g in `even`, row g + 8 in `odd`. Q4: columns 2t, 2t+8, 2t+1, 2t+9, as 16 q (Q4_0,
// q signed) or q (Q4_1); Q8: columns 2t, 2t+1, 2t+8, 2t+9.
template <u32 AND, u32 XOR> __device__ __forceinline__ u32 andXor(u32 v) { // one instruction: constants come from registers
    u32 r, m, x;
    asm("mov.b32 %0, %1;" : "=r"(m) : "n"(AND));
    asm("mov.b32 %0, %1;" : "=r"(x) : "n"(XOR));
    asm("lop3.b32 %0, %1, %2, %3, 0x6a;" : "=r"(r) : "r"(v), "r"(m), "r"(x)); // (v & m) ^ x
    return r;
}
template <int FMT> __device__ __forceinline__ void operands(const Tile<FMT>& tile, int step, u32& even, u32& odd) {
    if (FMT == FMT_Q8_0) {
        uint4 v = tile.q[(step >> 1) % Tile<FMT>::VECS];
        u32 p = step & 1 ? v.z : v.x, q = step & 1 ? v.w : v.y;
        even = __byte_perm(p, q, 0x5410) ^ 0x80808080u;
        odd = __byte_perm(p, q, 0x7632) ^ 0x80808080u;
    } else {
        uint4 v = tile.q[(step >> 2) % Tile<FMT>::VECS];
        u32 w = (step & 3) == 0 ? v.x : (step & 3) == 1 ? v.y : (step & 3) == 2 ? v.z : v.w;
        if (FMT == FMT_Q4_0) {
            even = andXor<0xf0f0f0f0, 0x80808080>(w << 4);
            odd = andXor<0xf0f0f0f0, 0x80808080>(w);
        } else {
            even = w & 0x0f0f0f0fu;
            odd = (w >> 4) & 0x0f0f0f0fu;
        }
    }
}

// x in shared memory. Digits: [row][block of 32 columns][byte of the fixed point: 3][lane t: 4][step: 2] words; scales
// [row][block]: what a unit of the fixed point counts; Q4_1: sums [row][block] of the block's elements.
#define BLOCK_WORDS 24
struct Staged {
    u32* digits;
    float *scales, *sums;
    template <int FMT> static __device__ __forceinline__ int rowBytes(int ld) { return 3 * ld + ld / 8 * (FMT == FMT_Q4_1 ? 2 : 1); }
};

// acc += rows 2g, 2g + 1 of the tile times x; lane t of a quad holds bytes 0, 1 (t even) or 2 of row t / 2 of x (+ 2 in the
// second call).
template <int FMT>
__device__ __forceinline__ void multiply(const Tile<FMT>& tile, u32 digits, u32 scales, u32 sums, float acc[2]) { // in shared memory
    const float magic = 12582912.f; // 1.5 * 2^23: as an integer accumulator it counts in the last bit
    const int m = 0x4b400000;
    uint2 x[4];
    float scale[4], sum[4];
#pragma unroll
    for (int b = 0; b < 4; b++) asm volatile("ld.shared.v2.u32 {%0,%1}, [%2];" : "=r"(x[b].x), "=r"(x[b].y) : "r"(digits + b * BLOCK_WORDS * 4));
    asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(scale[0]), "=f"(scale[1]), "=f"(scale[2]), "=f"(scale[3]) : "r"(scales));
    if (FMT == FMT_Q4_1) asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(sum[0]), "=f"(sum[1]), "=f"(sum[2]), "=f"(sum[3]) : "r"(sums));
#pragma unroll
    for (int b = 0; b < 4; b++) {
        u32 a0, a1, a2, a3;
        operands(tile, 2 * b, a0, a1);
        operands(tile, 2 * b + 1, a2, a3);
        int c0, c1, c2, c3;
        asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
                     : "=r"(c0), "=r"(c1), "=r"(c2), "=r"(c3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(x[b].x), "r"(x[b].y), "r"(m));
        const float even = fmaf(__int_as_float(c1) - magic, 256.f, __int_as_float(c0) - magic) * scale[b];
        const float odd = fmaf(__int_as_float(c3) - magic, 256.f, __int_as_float(c2) - magic) * scale[b];
        if (FMT == FMT_Q4_1) {
            float2 lo = f16Pair(tile.s[b]), hi = f16Pair(tile.s[(4 + b) % (2 * Tile<FMT>::SCALE_WORDS)]);
            const float once = (threadIdx.x & 1) == 0 ? sum[b] : 0.f; // in the even lanes
            acc[0] += lo.x * even + lo.y * once;
            acc[1] += hi.x * odd + hi.y * once;
        } else {
            float2 lo = f16Pair(tile.s[b >> 1]), hi = f16Pair(tile.s[2 + (b >> 1)]);
            acc[0] += (b & 1 ? lo.y : lo.x) * even;
            acc[1] += (b & 1 ? hi.y : hi.x) * odd;
        }
    }
}

// A thread's four columns of x: c, c + 1, c + 8, c + 9, which make one word of an operand. Quad i of a row:
struct Quad {
    float v[4];
    static __device__ __forceinline__ int column(int i) { return (i >> 3) * 32 + (i & 4) * 4 + (i & 3) * 2; }
    __device__ __forceinline__ void load(const float* p, int i, int k, bool fresh) { // k: a multiple of 32
        const float2* at = reinterpret_cast<const float2*>(p + column(i));
        float2 a = make_float2(0, 0), b = a;
        if (column(i) < k) {
            if (fresh) a = __ldcg(at), b = __ldcg(at + 4);
            else a = __ldg(at), b = __ldg(at + 4);
        }
        v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y;
    }
    __device__ __forceinline__ float sum() const { return (v[0] + v[1]) + (v[2] + v[3]); }
    __device__ __forceinline__ float squares(float mean) const {
        float s = 0;
#pragma unroll
        for (int e = 0; e < 4; e++) s += (v[e] - mean) * (v[e] - mean);
        return s;
    }
};

#define AT_ONCE 2 // quads of x that a thread holds
struct Quads {
    Quad v[AT_ONCE];
    // Quads i, i + step, ...; zeros past the end.
    __device__ __forceinline__ void load(const float* p, int i, int step, int k, bool fresh) {
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) v[j].load(p, i + j * step, k, fresh);
    }
};

// Mean and 1 / deviation of a row of x of k columns (a multiple of 32), of which a thread holds a part; `first`: its first quads.
__device__ __forceinline__ float2 rowStats(const float* x, const Quads& first, int k, float eps, float2* stats) {
    const int STEP = GEMV_THREADS;
    float sum = 0, n = 0, sq = 0;
    Quads q = first;
#pragma unroll 1
    for (int i = threadIdx.x;;) {
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) sum += q.v[j].sum(), n += i + j * STEP < k / 4 ? 4 : 0;
        i += AT_ONCE * STEP;
        if (i >= k / 4) break;
        q.load(x, i, STEP, k, true);
    }
    sum = warpSum(sum), n = warpSum(n);
    const float mean = n > 0 ? __fdividef(sum, n) : 0;
    q = first;
#pragma unroll 1
    for (int i = threadIdx.x;;) {
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) sq += i + j * STEP < k / 4 ? q.v[j].squares(mean) : 0;
        i += AT_ONCE * STEP;
        if (i >= k / 4) break;
        q.load(x, i, STEP, k, true);
    }
    sq = warpSum(sq);
    if ((threadIdx.x & 31) == 0) stats[threadIdx.x >> 5] = make_float2(sum, sq);
    __syncthreads();
    float total = 0, squares = 0;
#pragma unroll 4
    for (int w = 0; w < GEMV_WARPS; w++) total += stats[w].x;
    const float inverse = __fdividef(1.f, float(k));
    total *= inverse;
#pragma unroll 4
    for (int w = 0; w < GEMV_WARPS; w++) { // Chan et al., 1983
        const int quads = k / 4, own = quads / STEP * 32 + min(32, max(0, quads % STEP - w * 32));
        const float d = own > 0 ? __fdividef(stats[w].x, 4.f * own) - total : 0;
        squares += stats[w].y + 4.f * own * d * d;
    }
    return make_float2(total, rsqrtf(squares * inverse + eps));
}

// Row m of x: normalized (but for the factor of a root mean square), and each block brought to integers of at most 2^22 and
// cut into bytes. The 8 threads of a block are neighbours in a warp. `gain`: the norm's weights of the thread's first quads,
// ones without a norm. Whatever is next is asked for while these are cut, in code as short as it can be: it runs once.
template <int FMT>
__device__ __forceinline__ void stageDigits(const LinearArgs& a, int row, int m, const Staged& staged, float2* stats, Quads gain) {
    const int k = a.w.k, ld = a.w.ld, STEP = GEMV_THREADS;
    const float* x = static_cast<const float*>(a.x) + (long long)row * a.ldx;
    u32* digits = staged.digits + m * (ld / 32 * BLOCK_WORDS);
    float *scales = staged.scales + m * (ld / 32), *sums = staged.sums + m * (ld / 32);
    const bool layer = a.norm.kind == NORM_LAYER;
    Quads q;
    q.load(x, threadIdx.x, STEP, k, true);
    float2 l = make_float2(0, 1);
    if (layer) l = rowStats(x, q, k, a.norm.eps, stats);
    float sq = 0;
#pragma unroll 1
    for (int base = threadIdx.x;;) {
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            float* v = q.v[j].v;
            sq += q.v[j].squares(0);
            if (layer) {
                Quad b = {};
                if (a.norm.b) b.load(a.norm.b, base + j * STEP, k, false);
#pragma unroll
                for (int e = 0; e < 4; e++) v[e] = (v[e] - l.x) * l.y * gain.v[j].v[e] + b.v[e]; // past the end: weights are 0
            } else {
#pragma unroll
                for (int e = 0; e < 4; e++) v[e] *= gain.v[j].v[e];
            }
        }
        const Quads now = q;
        const int after = base + AT_ONCE * STEP;
        q.load(x, after, STEP, k, true);
        if (a.norm.kind != NORM_NONE) gain.load(a.norm.w, after, STEP, k, false);
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            const int i = base + j * STEP;
            const float* v = now.v[j].v;
            float sum = 0;
            float top = fmaxf(fmaxf(fabsf(v[0]), fabsf(v[1])), fmaxf(fabsf(v[2]), fabsf(v[3])));
#pragma unroll
            for (int o = 4; o; o >>= 1) top = fmaxf(top, __shfl_xor_sync(~0u, top, o));
            // 2^21 times x / 2^(exponent of top) is below 2^22
            const u32 exponent = max(__float_as_uint(top) & 0x7f800000u, 32u << 23);
            const float scale = __uint_as_float((275u << 23) - exponent);
            u32 d[4];
#pragma unroll
            for (int e = 0; e < 4; e++) { // 1.5 * 2^23 + integer, as one whose bytes less 128 each make it up
                d[e] = __float_as_uint(fmaf(v[e], scale, 12582912.f)) + (0x808080u - 0x4b400000u);
            }
            if (FMT == FMT_Q4_1) {
                sum = now.v[j].sum();
#pragma unroll
                for (int o = 4; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
            }
            if (i >= ld / 4) continue;
            u32* to = digits + (i >> 3) * BLOCK_WORDS + (i & 3) * 2 + (i >> 2 & 1);
            // byte order: operands()
            const int A = 0, B = FMT == FMT_Q8_0 ? 1 : 2, C = FMT == FMT_Q8_0 ? 2 : 1;
            const u32 p = __byte_perm(d[A], d[B], 0x5140), r = __byte_perm(d[C], d[3], 0x5140);
            to[0] = __byte_perm(p, r, 0x5410) ^ 0x80808080u;
            to[8] = __byte_perm(p, r, 0x7632) ^ 0x80808080u;
            to[16] = __byte_perm(__byte_perm(d[A], d[B], 0x0062), __byte_perm(d[C], d[3], 0x0062), 0x5410) ^ 0x80808080u;
            if ((i & 7) == 0) {
                const u32 unit = exponent - (21u << 23) - (FMT == FMT_Q4_0 ? 4u << 23 : 0); // Q4_0's operands are 16 q
                scales[i >> 3] = exponent == 0x7f800000u ? NAN : __uint_as_float(unit); // no finite x
                if (FMT == FMT_Q4_1) sums[i >> 3] = sum;
            }
        }
        base = after;
        if (base >= ld / 4) break;
    }
    if (a.norm.kind != NORM_RMS) return;
    sq = warpSum(sq);
    if ((threadIdx.x & 31) == 0) stats[threadIdx.x >> 5] = make_float2(0, sq);
}

// MANY: there may be more than two rows of x at once; a block makes as many as its shared memory holds, from blockIdx.y times that
// on. (A loop over them would meet barriers of all warps after those of a team, in an order that racecheck cannot follow.) The warps that share rows (kSlices of them) meet at a barrier of their own.
template <int FMT, bool MANY> __device__ __forceinline__ void gemv(const LinearArgs& a) {
    extern __shared__ __align__(16) u32 staged[];
    const int XROWS = MANY ? 4 : 2;
    __shared__ struct {
        float partial[2][GEMV_WARPS][16][XROWS], undo[GEMV_WARPS][4];
        float2 stats[XROWS][GEMV_WARPS];
        u64 bests[XROWS][GEMV_WARPS];
        u32 zeros[4 * BLOCK_WORDS]; // the fourth digit
    } shared;
    const int DEPTH = FMT == FMT_Q8_0 ? 2 : 4; // tiles a lane has in flight
    Mark mark{a.mark};
    const int ld = a.w.ld, ks = a.kSlices, shift = __ffs(ks) - 1, warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    const int slice = warp & (ks - 1), team = warp >> shift, perBlock = GEMV_WARPS >> shift, total = gridDim.x * perBlock;
    const int rowTiles = (a.w.n + 15) / 16, colTiles = ld / TILE_COLS, own = blockIdx.x * perBlock + team;
    const Stream<FMT> stream(a.w);
    Tile<FMT> ring[DEPTH];
    auto fetch = [&](int d, int row, int kt) { // what is not there is not multiplied
        if (row < rowTiles && kt < colTiles) stream.load(ring[d], row * colTiles + kt);
    };
#pragma unroll
    for (int d = 0; d < DEPTH; d++) fetch(d, own, d * ks + slice);
    Quads gain;
#pragma unroll
    for (int j = 0; j < AT_ONCE; j++) gain.v[j] = {1, 1, 1, 1};
    if (a.norm.kind != NORM_NONE) gain.load(a.norm.w, threadIdx.x, GEMV_THREADS, a.w.k, false);
    const int e0 = slice * 32 + lane, rowBytes = Staged::rowBytes<FMT>(ld), rowWords = ld * 3 / 4;
    Epilogue epilogue;
    epilogue.loadBias(a, own * 16 + (e0 & 15) - (a.gated ? e0 & 1 : 0));
    const int mt = int(dynamicShared()) >= 4 * rowBytes ? 4 : int(dynamicShared()) >= 2 * rowBytes ? 2 : 1, m0 = blockIdx.y * mt;
    const int outputs = 16 * mt; // of a row tile; thread e of its warps makes output e, e + 32 ks, ...
    const Staged x = {staged, reinterpret_cast<float*>(staged) + mt * rowWords, reinterpret_cast<float*>(staged) + mt * (rowWords + ld / 32)};
    if (threadIdx.x < 4 * BLOCK_WORDS) shared.zeros[threadIdx.x] = 0;
    dependencyWait();
    dependentsLaunch();
    if (e0 < outputs) epilogue.loadResidual(a, m0 + (e0 >> 4), own * 16 + (e0 & 15));
#pragma unroll 1
    for (int m = 0; m < mt && m0 + m < a.m; m++) stageDigits<FMT>(a, m0 + m, m, x, shared.stats[m], gain);
    __syncthreads();
    if (slice == 0 && lane < mt) { // what a sum still lacks: read after the next barrier
        float sq = 0;
#pragma unroll 4
        for (int w = 0; w < GEMV_WARPS; w++) sq += shared.stats[lane][w].y;
        shared.undo[team][lane] = a.norm.kind == NORM_RMS ? rsqrtf(__fdividef(sq, float(a.w.k)) + a.norm.eps) : 1.f;
    }
    // the lane's column of the mma: byte g & 3 of row g / 4 of x; rows that are not there repeat others and are not used
    const bool digit = (g & 3) < 3;
    const int stride = digit ? 16 * BLOCK_WORDS : 0, lanePart = (g & 3) * 8 + t * 2;
    auto at = [](const void* p) { return u32(__cvta_generic_to_shared(p)); };
    const u32 column0 = at(digit ? x.digits + min(g >> 2, mt - 1) * rowWords + lanePart : shared.zeros);
    const u32 column1 = at(digit ? x.digits + min(2 + (g >> 2), mt - 1) * rowWords + lanePart : shared.zeros);
    const u32 row0 = min(t >> 1, mt - 1) * (ld / 8), row1 = min(2 + (t >> 1), mt - 1) * (ld / 8), scales = at(x.scales), sums0 = at(x.sums);
    const float weight = t & 1 ? 65536.f : 1.f; // of the lane's bytes
    u64 best[2] = {}; // of the thread's first output a tile, and of its second (another row of x)
    bool odd = false;
#pragma unroll 1
    for (int row = own; row < rowTiles; row += total, odd = !odd) {
        float acc[2] = {}, acc2[2] = {}; // rows 0, 1 and 2, 3 of x
#pragma unroll 1
        for (int kt0 = slice; kt0 < colTiles;) {
            const int after = kt0 + DEPTH * ks, nextRow = after < colTiles ? row : row + total, next = after < colTiles ? after : slice;
#pragma unroll
            for (int d = 0; d < DEPTH; d++) { // the code of a tile exists DEPTH times, that of the epilogue once
                const int kt = kt0 + d * ks;
                if (kt < colTiles) {
                    multiply(ring[d], column0 + kt * stride, scales + row0 + kt * 16, sums0 + row0 + kt * 16, acc);
                    if (MANY) {
                        multiply(ring[d], column1 + kt * stride, scales + row1 + kt * 16, sums0 + row1 + kt * 16, acc2);
                    }
                }
                fetch(d, nextRow, next + d * ks);
            }
            kt0 = after;
        }
        float(*sums)[16][XROWS] = shared.partial[odd];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float p = acc[i] * weight, q = acc2[i] * weight;
            p += __shfl_xor_sync(~0u, p, 1);
            if (MANY) q += __shfl_xor_sync(~0u, q, 1);
            if ((t & 1) == 0) {
                sums[warp][g * 2 + i][t >> 1] = p;
                if (MANY) sums[warp][g * 2 + i][2 + (t >> 1)] = q;
            }
        }
        if (ks > 1) asm volatile("bar.sync %0, %1;" ::"r"(1 + team), "r"(ks * 32) : "memory");
        else __syncwarp();
#pragma unroll 1
        for (int e = e0; e < outputs; e += ks * 32) {
            const int r = e & 15, m = e >> 4, n = row * 16 + r;
            if (m0 + m >= a.m || n >= a.w.n || (a.gated && (r & 1))) continue;
            if (row != own || e != e0) {
                epilogue.loadBias(a, n);
                epilogue.loadResidual(a, m0 + m, n);
            }
            float v = 0, up = 0;
            for (int s = 0; s < ks; s++) {
                v += sums[warp - slice + s][r][m];
                if (a.gated) up += sums[warp - slice + s][r + 1][m];
            }
            epilogue.finish(a, m0 + m, n, v * shared.undo[team][m], up * shared.undo[team][m], best[e != e0]);
        }
        if (ks == 1) __syncwarp();
    }
    if (a.best) {
        publishBests(a, m0, min(mt, a.m - m0), shared.bests, [&](int m) {
            return e0 >= outputs ? 0 : m == e0 >> 4 ? best[0] : m == (e0 >> 4) + 2 * ks ? best[1] : 0;
        });
    }
}

// gemv_F: at most two rows of x; gemv_F_many: up to 8. Kernels of their own: as branches of one they spill registers.
#define KERNELS(NAME, FMT) \
    extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) NAME(const __grid_constant__ LinearArgs a) { gemv<FMT, false>(a); } \
    extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) NAME##_many(const __grid_constant__ LinearArgs a) { gemv<FMT, true>(a); }
KERNELS(gemv_q8_0, FMT_Q8_0)
KERNELS(gemv_q4_0, FMT_Q4_0)
KERNELS(gemv_q4_1, FMT_Q4_1)
