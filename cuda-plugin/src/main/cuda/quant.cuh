// The device layout of quantized matrices: what a warp loads is what mma.m16n8k16 takes as its A operand.
//
// A matrix is cut into tiles of 16 rows x 128 columns, stored [row tile][column tile]. Lane l = 4 g + t of a warp owns,
// in each of the tile's 8 steps of 16 columns, the elements of fragment rows g and g + 8 in columns 2t, 2t+1, 2t+8, 2t+9:
//   a0 = (g; 2t, 2t+1)   a1 = (g+8; 2t, 2t+1)   a2 = (g; 2t+8, 2t+9)   a3 = (g+8; 2t+8, 2t+9)
// Fragment row f < 8 is matrix row 2f of the tile and f >= 8 is row 2(f - 8) + 1, so that one lane holds neighbouring
// rows: a gate and its up.
//   Q4: one 32-bit word per step and lane; a_j is nibble j (first column) and nibble j + 4 (second).
//       Lane l's 8 words are two 16-byte vectors: [vector][lane][word], 1024 bytes a tile.
//   Q8: two words per step and lane, the bytes a0 a1 | a2 a3, each value + 128; four vectors, 2048 bytes a tile.
// Scales: [fragment row][block of 32 columns], 4 halves a row, 128 bytes a tile; Q4_1: half2 (d, m), 256 bytes.
#pragma once
#include "common.cuh"

#define TILE_ROWS 16
#define TILE_COLS 128

__device__ __forceinline__ int fragmentRow(int row) { return (row & 15) / 2 + (row & 1) * 8; }
__device__ __forceinline__ long long tileIndex(const int ld, int row, int col) {
    return (long long)(row / TILE_ROWS) * (ld / TILE_COLS) + col / TILE_COLS;
}
// Where element (row, col) lies: the lane that owns it, the step, the fragment register and its half.
struct Place { int lane, step, reg, half; };
__device__ __forceinline__ Place place(int row, int col) {
    int f = fragmentRow(row), c = col & 15;
    return {(f & 7) * 4 + ((c & 7) >> 1), (col & 127) >> 4, (f >> 3) + 2 * (c >> 3), c & 1};
}
// Byte of the tile that holds the element, and its nibble (Q4).
__device__ __forceinline__ int q4Byte(Place p, int& shift) {
    int nibble = p.reg + 4 * p.half;
    shift = (nibble & 1) * 4;
    return (p.step >> 2) * 512 + p.lane * 16 + (p.step & 3) * 4 + nibble / 2;
}
__device__ __forceinline__ int q8Byte(Place p) {
    return (p.step >> 1) * 512 + p.lane * 16 + (p.step & 1) * 8 + (p.reg >> 1) * 4 + (p.reg & 1) * 2 + p.half;
}
__device__ __forceinline__ int scaleIndex(int row, int col) { return fragmentRow(row) * 4 + ((col & 127) >> 5); }

// One element as float, for row gathers.
__device__ __forceinline__ float element(const Weight& w, int row, int col) {
    if (w.fmt <= FMT_BF16) return loadAs(w.data, (long long)row * w.ld + col, w.fmt);
    long long tile = tileIndex(w.ld, row, col);
    Place p = place(row, col);
    const unsigned char* data = static_cast<const unsigned char*>(w.data);
    long long s = tile * 64 + scaleIndex(row, col);
    if (w.fmt == FMT_Q8_0) {
        return __half2float(static_cast<const __half*>(w.scales)[s]) * (float)(int(data[tile * 2048 + q8Byte(p)]) - 128);
    }
    int shift, q = data[tile * 1024 + q4Byte(p, shift)];
    q = (q >> shift) & 15;
    if (w.fmt == FMT_Q4_0) return __half2float(static_cast<const __half*>(w.scales)[s]) * (float)(q - 8);
    float2 dm = __half22float2(static_cast<const __half2*>(w.scales)[s]);
    return dm.x * (float)q + dm.y;
}

// Four f16 pairs a0..a3 of one step from a Q4 word: nibbles become the low mantissa bits of 1024 or 64 (exact).
// MINUS is subtracted: 8 for Q4_0, 0 for Q4_1.
template <int MINUS> __device__ __forceinline__ void q4Fragment(u32 w, u32 a[4]) {
    const u32 lo = 0x64006400u;                                  // 1024: a nibble in bits 0..3 counts 1
    u32 b0 = (w & 0x000f000fu) | lo, b1 = (w & 0x00f000f0u) | lo;  // in bits 4..7 it counts 16
    w >>= 8;
    u32 b2 = (w & 0x000f000fu) | lo, b3 = (w & 0x00f000f0u) | lo;
    const __half2 sub = __half2half2(__ushort_as_half(0x6400 + MINUS));        // 1024 + MINUS
    const __half2 mul = __half2half2(__ushort_as_half(0x2c00));                // 1 / 16
    const __half2 add = __half2half2(__ushort_as_half(MINUS == 8 ? 0xd480 : 0xd400)); // -(64 + MINUS)
    auto h2 = [](u32 v) { return *reinterpret_cast<__half2*>(&v); };
    auto bits = [](__half2 v) { return *reinterpret_cast<u32*>(&v); };
    a[0] = bits(__hsub2(h2(b0), sub));
    a[1] = bits(__hfma2(h2(b1), mul, add));
    a[2] = bits(__hsub2(h2(b2), sub));
    a[3] = bits(__hfma2(h2(b3), mul, add));
}
// The same from the two words of a Q8 step: byte u = q + 128 becomes 1024 + u, less 1152 (exact).
__device__ __forceinline__ void q8Fragment(u32 w0, u32 w1, u32 a[4]) {
    const __half2 sub = __half2half2(__ushort_as_half(0x6480));                // 1152
    auto pair = [&](u32 w, u32 select) {
        u32 v = __byte_perm(w, 0x64646464u, select);
        __half2 h = __hsub2(*reinterpret_cast<__half2*>(&v), sub);
        return *reinterpret_cast<u32*>(&h);
    };
    a[0] = pair(w0, 0x4140);
    a[1] = pair(w0, 0x4342);
    a[2] = pair(w1, 0x4140);
    a[3] = pair(w1, 0x4342);
}

__device__ __forceinline__ void mmaF16(float c[4], const u32 a[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
