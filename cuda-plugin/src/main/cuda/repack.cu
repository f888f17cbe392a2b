// Raw checkpoint rows (plain numbers, or ggml blocks) into the device layouts of abi.cuh and quant.cuh.
#include "quant.cuh"

extern "C" __global__ void repack(const __grid_constant__ RepackArgs a) {
    Mark mark{a.mark};
    dependencyWait();
    int row = a.rowOffset + blockIdx.x * a.rowStep;
    const unsigned char* raw = static_cast<const unsigned char*>(a.raw);
    if (a.fmt <= FMT_BF16) {
        long long from = (long long)blockIdx.x * a.k, to = (long long)row * a.ld;
        for (int c = threadIdx.x; c < a.k; c += blockDim.x) {
            if (a.fmt == a.srcFmt && a.fmt != FMT_F32) { // bits as they are
                static_cast<unsigned short*>(a.data)[to + c] = reinterpret_cast<const unsigned short*>(raw)[from + c];
            } else {
                storeAs(a.data, to + c, a.fmt, loadAs(raw, from + c, a.srcFmt));
            }
        }
        return;
    }
    int blockBytes = a.fmt == FMT_Q8_0 ? 34 : a.fmt == FMT_Q4_0 ? 18 : 20, header = a.fmt == FMT_Q4_1 ? 4 : 2;
    raw += (long long)blockIdx.x * (a.k / 32) * blockBytes;
    // Nibbles of 8 threads share a word, and threads of other blocks (rows) its other bytes: atomics on zeroed memory.
    for (int c = threadIdx.x; c < a.k; c += blockDim.x) {
        const unsigned char* block = raw + (long long)(c / 32) * blockBytes;
        int j = c & 31;
        Place p = place(row, c);
        long long tile = tileIndex(a.ld, row, c);
        if (a.fmt == FMT_Q8_0) {
            static_cast<unsigned char*>(a.data)[tile * 2048 + q8Byte(p)] = block[header + j] ^ 0x80;
        } else {
            int q = j < 16 ? block[header + j] & 15 : block[header + j - 16] >> 4, shift;
            int byte = q4Byte(p, shift);
            u32* word = static_cast<u32*>(a.data) + tile * 256 + byte / 4;
            atomicOr(word, u32(q) << ((byte & 3) * 8 + shift));
        }
        if (j == 0) {
            u32 d = block[0] | block[1] << 8;
            long long s = tile * 64 + scaleIndex(row, c);
            if (a.fmt == FMT_Q4_1) static_cast<u32*>(a.scales)[s] = d | u32(block[2] | block[3] << 8) << 16;
            else static_cast<unsigned short*>(a.scales)[s] = d;
        }
    }
}
