// A quantized matrix as f16, times its scales, for products of many tokens: row-major, ld elements a row. Reads each weight once
// and writes 2 bytes for it; a product of more than some 200 tokens gains more from plain operands than that costs.
//
// A warp takes a tile of 16 x 128. Its fragments go through 4 KB of shared memory, 16-byte chunks swizzled by row, and leave
// as whole rows of 256 bytes.
#include "unpack.cuh"

template <int FMT> __device__ __forceinline__ void expand(const ExpandArgs& a) {
    __shared__ __align__(16) unsigned char tiles[8][16 * 256];
    Mark mark{a.mark};
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3, colTiles = a.w.ld / TILE_COLS;
    const int column = blockIdx.x * 8 + (threadIdx.x >> 5), row = a.firstTile + blockIdx.y;
    const bool valid = column < colTiles;
    unsigned char* tile = tiles[threadIdx.x >> 5];
    Half<FMT> half[2];
#pragma unroll
    for (int h = 0; h < 2; h++) loadHalf(half[h], a.w, (long long)row * colTiles + column, h, valid);
    dependencyWait(); // the product before may still read what is overwritten
    dependentsLaunch();
    if (!valid) return;
#pragma unroll
    for (int s = 0; s < 8; s++) {
        u32 f[4];
        unpack(half[s >> 2], s & 3, f);
#pragma unroll
        for (int j = 0; j < 4; j++) { // row 2 g + (j & 1), chunk 2 s + j / 2, pair t
            *reinterpret_cast<u32*>(tile + (2 * g + (j & 1)) * 256 + (((2 * s + j / 2) ^ g) << 4) + t * 4) = f[j];
        }
    }
    __syncwarp();
    __half* out = static_cast<__half*>(a.out) + (long long)blockIdx.y * TILE_ROWS * a.w.ld + (long long)column * TILE_COLS;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int r = i * 2 + (lane >> 4), c = lane & 15;
        *reinterpret_cast<uint4*>(out + (long long)r * a.w.ld + c * 8) = *reinterpret_cast<const uint4*>(tile + r * 256 + ((c ^ (r >> 1)) << 4));
    }
}

extern "C" __global__ void __launch_bounds__(256) expand_q8_0(const __grid_constant__ ExpandArgs a) { expand<FMT_Q8_0>(a); }
extern "C" __global__ void __launch_bounds__(256) expand_q4_0(const __grid_constant__ ExpandArgs a) { expand<FMT_Q4_0>(a); }
extern "C" __global__ void __launch_bounds__(256) expand_q4_1(const __grid_constant__ ExpandArgs a) { expand<FMT_Q4_1>(a); }
