// What the kernels for one row of x and for several share: how weights in 8 or 4 bits are read and become operands, and how a row
// of x is cut into bytes.
//
// At 4.5 TB/s an SM receives 35 4-bit weights a clock: more than its 128 lanes can turn into floats and multiply one by one.
// So the quants stay integers and meet x in mma.m16n8k32 (s8 x s8, s32 sums): 8 nibbles become two operands in three
// instructions. x keeps float's precision: each block of 32 in fixed point of 22 bits below its largest element, cut into three
// signed bytes, one a column of the mma; the sums are exact, are put together, and scaled per block, in f32.
// Unpacking to f16 for mma.m16n8k16 took 236 instructions a tile (ncu) against about 110: 24 against 15 us for 22016 x 4096.
#pragma once
#include "gemv.cuh"
#include "quant.cuh"

template <int FMT> struct Tile { // what a lane loads of a tile
    static const int VECS = FMT == FMT_Q8_0 ? 4 : 2, SCALE_WORDS = FMT == FMT_Q4_1 ? 4 : 2;
    uint4 q[VECS];
    u32 s[2 * SCALE_WORDS]; // row g, row g + 8
};

__device__ __forceinline__ void loadStreamIf(uint4& v, const void* p, bool there) {
    asm volatile("{ .reg .pred p; setp.ne.u32 p, %5, 0; @p ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4]; }"
                 : "+r"(v.x), "+r"(v.y), "+r"(v.z), "+r"(v.w) : "l"(p), "r"(u32(there)));
}
template <int WORDS> __device__ __forceinline__ void loadIf(u32* v, const void* p, bool there) { // 2 or 4
    if (WORDS == 2) {
        asm volatile("{ .reg .pred p; setp.ne.u32 p, %3, 0; @p ld.global.nc.v2.u32 {%0,%1}, [%2]; }" : "+r"(v[0]), "+r"(v[1]) : "l"(p), "r"(u32(there)));
    } else {
        asm volatile("{ .reg .pred p; setp.ne.u32 p, %5, 0; @p ld.global.nc.v4.u32 {%0,%1,%2,%3}, [%4]; }"
                     : "+r"(v[0]), "+r"(v[1]), "+r"(v[2 % WORDS]), "+r"(v[3 % WORDS]) : "l"(p), "r"(u32(there)));
    }
}

// Where a lane's part of tile 0 lies.
template <int FMT> struct TileStream {
    const char *q, *s;
    static const int BYTES = Tile<FMT>::VECS * 512, SCALE_BYTES = FMT == FMT_Q4_1 ? 256 : 128;
    __device__ __forceinline__ explicit TileStream(const Weight& w) {
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
    // The same if `there`, without a branch.
    __device__ __forceinline__ void load(Tile<FMT>& t, u32 tile, bool there) const {
        const char *from = q + (u64)tile * BYTES, *scales = s + (u64)tile * SCALE_BYTES;
#pragma unroll
        for (int v = 0; v < Tile<FMT>::VECS; v++) loadStreamIf(t.q[v], from + v * 512, there);
#pragma unroll
        for (int r = 0; r < 2; r++) loadIf<Tile<FMT>::SCALE_WORDS>(t.s + r * Tile<FMT>::SCALE_WORDS, scales + r * (SCALE_BYTES / 2), there);
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

__device__ __forceinline__ void mma(int c[4], const u32 a[4], uint2 b) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.x), "r"(b.y));
}

// acc += rows 2g, 2g + 1 of the tile times x: lane t of a quad holds bytes 0 and 1 (t even) or 2 of blocks 0 and 2 (t < 2) or 1 and 3
// of x. Scale and sum: of the lane's blocks (`second`: 1 and 3).
template <int FMT>
__device__ __forceinline__ void products(const Tile<FMT>& tile, const uint2 x[4], float2 scale, float2 sum, bool second, float acc[2]) {
    float2 low, high;
    if (FMT != FMT_Q4_1) {
        const u32 select = second ? 0x7632 : 0x5410;
        low = f16Pair(__byte_perm(tile.s[0], tile.s[1], select)), high = f16Pair(__byte_perm(tile.s[2], tile.s[3], select));
    }
#pragma unroll
    for (int p = 0; p < 2; p++) {
        int c[4] = {0, 0, 0, 0};
#pragma unroll
        for (int b = 2 * p; b < 2 * p + 2; b++) {
            u32 w[4];
            operands(tile, 2 * b, w[0], w[1]);
            operands(tile, 2 * b + 1, w[2], w[3]);
            mma(c, w, x[b]);
        }
        const float u = p ? scale.y : scale.x, q = float(c[0] + (c[1] << 8)) * u, r = float(c[2] + (c[3] << 8)) * u;
        if (FMT == FMT_Q4_1) {
            const int H = Tile<FMT>::SCALE_WORDS, L = 2 * p, M = 2 * H; // (d, m) of rows g, g + 8
            const float2 lo = f16Pair(second ? tile.s[L + 1] : tile.s[L]), hi = f16Pair(second ? tile.s[(H + L + 1) % M] : tile.s[(H + L) % M]);
            const float s = p ? sum.y : sum.x;
            acc[0] += lo.x * q + lo.y * s;
            acc[1] += hi.x * r + hi.y * s;
        } else {
            acc[0] += (p ? low.y : low.x) * q;
            acc[1] += (p ? high.y : high.x) * r;
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

#define QUADS_AT_ONCE 2 // quads of x that a thread holds
struct Quads {
    Quad v[QUADS_AT_ONCE];
    // Quads i, i + step, ...; zeros past the end.
    __device__ __forceinline__ void load(const float* p, int i, int step, int k, bool fresh) {
#pragma unroll
        for (int j = 0; j < QUADS_AT_ONCE; j++) v[j].load(p, i + j * step, k, fresh);
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
        for (int j = 0; j < QUADS_AT_ONCE; j++) sum += q.v[j].sum(), n += i + j * STEP < k / 4 ? 4 : 0;
        i += QUADS_AT_ONCE * STEP;
        if (i >= k / 4) break;
        q.load(x, i, STEP, k, true);
    }
    sum = warpSum(sum), n = warpSum(n);
    const float mean = n > 0 ? __fdividef(sum, n) : 0;
    q = first;
#pragma unroll 1
    for (int i = threadIdx.x;;) {
#pragma unroll
        for (int j = 0; j < QUADS_AT_ONCE; j++) sq += i + j * STEP < k / 4 ? q.v[j].squares(mean) : 0;
        i += QUADS_AT_ONCE * STEP;
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

// Quad i of a row of x: its block is brought to integers of at most 2^22 and cut into bytes, the block's scale (and sum) go to
// `at`. The 8 threads of a block are neighbours in a warp, of which all lanes come here.
template <int FMT> __device__ __forceinline__ void cut(const Quad& quad, int i, int at, bool there, u32* digits, float* scales, float* sums) {
    const float* v = quad.v;
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
        sum = quad.sum();
#pragma unroll
        for (int o = 4; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
    }
    if (!there) return;
    u32* to = digits + (i >> 3) * BLOCK_WORDS + (i & 3) * 2 + (i >> 2 & 1);
    // byte order: operands()
    const int A = 0, B = FMT == FMT_Q8_0 ? 1 : 2, C = FMT == FMT_Q8_0 ? 2 : 1;
    const u32 p = __byte_perm(d[A], d[B], 0x5140), r = __byte_perm(d[C], d[3], 0x5140);
    to[0] = __byte_perm(p, r, 0x5410) ^ 0x80808080u;
    to[8] = __byte_perm(p, r, 0x7632) ^ 0x80808080u;
    to[16] = __byte_perm(__byte_perm(d[A], d[B], 0x0062), __byte_perm(d[C], d[3], 0x0062), 0x5410) ^ 0x80808080u;
    if ((i & 7) == 0) {
        const u32 unit = exponent - (21u << 23) - (FMT == FMT_Q4_0 ? 4u << 23 : 0); // Q4_0's operands are 16 q
        scales[at] = exponent == 0x7f800000u ? NAN : __uint_as_float(unit); // no finite x
        if (FMT == FMT_Q4_1) sums[at] = sum;
    }
}

// A row of x: normalized (but for the factor of a root mean square), and cut into bytes. `gain`: the norm's weights of the thread's first quads,
// ones without a norm. Whatever is next is asked for while these are cut, in code as short as it can be: it runs once.
// PART: `columns` columns from `from` on, and a tile's scales in the order 0, 2, 1, 3.
template <int FMT, bool PART>
__device__ __forceinline__ void stageDigits(const LinearArgs& a, int row, int m, const Staged& staged, float2* stats, Quads gain, int from = 0, int columns = 0) {
    const int k = PART ? min(a.w.k - from, columns) : a.w.k, ld = PART ? columns : a.w.ld, STEP = GEMV_THREADS;
    const float* x = static_cast<const float*>(a.x) + (long long)row * a.ldx + from;
    u32* digits = staged.digits + m * (ld / 32 * BLOCK_WORDS);
    float *scales = staged.scales + m * (ld / 32), *sums = staged.sums + m * (ld / 32);
    const bool layer = a.norm.kind == NORM_LAYER;
    Quads q;
    q.load(x, threadIdx.x, STEP, k, true);
    float2 l = make_float2(0, 1);
    if (layer) {
        Quads first = q;
        if (PART && ld < a.w.ld) first.load(x - from, threadIdx.x, STEP, a.w.k, true);
        l = rowStats(x - from, first, a.w.k, a.norm.eps, stats);
    }
    float sq = 0;
#pragma unroll 1
    for (int base = threadIdx.x;;) {
#pragma unroll
        for (int j = 0; j < QUADS_AT_ONCE; j++) {
            float* v = q.v[j].v;
            sq += q.v[j].squares(0);
            if (layer) {
                Quad b = {};
                if (a.norm.b) b.load(a.norm.b + from, base + j * STEP, k, false);
#pragma unroll
                for (int e = 0; e < 4; e++) v[e] = (v[e] - l.x) * l.y * gain.v[j].v[e] + b.v[e]; // past the end: weights are 0
            } else {
#pragma unroll
                for (int e = 0; e < 4; e++) v[e] *= gain.v[j].v[e];
            }
        }
        const Quads now = q;
        const int after = base + QUADS_AT_ONCE * STEP;
        q.load(x, after, STEP, k, true);
        if (a.norm.kind != NORM_NONE) gain.load(a.norm.w + from, after, STEP, k, false);
#pragma unroll
        for (int j = 0; j < QUADS_AT_ONCE; j++) {
            const int i = base + j * STEP, block = i >> 3;
            cut<FMT>(now.v[j], i, PART ? (block & ~3) + (block & 1) * 2 + (block >> 1 & 1) : block, i < ld / 4, digits, scales, sums);
        }
        base = after;
        if (base >= ld / 4) break;
    }
    if (a.norm.kind != NORM_RMS) return;
    sq = warpSum(sq);
    if ((threadIdx.x & 31) == 0) stats[threadIdx.x >> 5] = make_float2(0, sq);
}
