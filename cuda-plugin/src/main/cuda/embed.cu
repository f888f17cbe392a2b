// The first kernels of a step: its tables, embedding lookups, and the angles of rotary position embedding.
#include "batch.cuh"
#include "embed.cuh"

extern "C" __global__ void __launch_bounds__(256) describe(const __grid_constant__ DescribeArgs a) {
    __shared__ int slice[MESSAGE_SLICE];
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    const int s = blockIdx.y, i = blockIdx.x * 256 + threadIdx.x, t = threadIdx.x;
    const volatile int* tokens = a.message + MESSAGE_HEAD + MESSAGE_SLICE * a.b.nSeqs;
    // a way over the bus and back is most of the time: what a single slice reads is asked for at once
    int token = a.b.nSeqs == 1 && i < a.b.nRows ? tokens[i] : 0;
    if (t < MESSAGE_SLICE) slice[t] = a.message[MESSAGE_HEAD + MESSAGE_SLICE * s + t];
    const int next = a.next && blockIdx.x == 0 && s == 0 && t < 20 ? a.message[t] : 0;
    __syncthreads();
    const Seq& seq = *reinterpret_cast<const Seq*>(slice);
    const int kept = slice[12], keptAt = slice[13], typed = slice[14], r = seq.start + i;
    if (i < seq.count && r < a.b.nRows) {
        if (a.b.nSeqs > 1) token = tokens[r];
        const_cast<Row*>(a.b.rows)[r] = {token, seq.base + i, typed ? tokens[a.b.nRows + r] : 0, s};
        const int of = i - (seq.count - kept);
        if (of >= 0) const_cast<int*>(a.b.selected)[keptAt + of] = r;
    }
    if (blockIdx.x > 0) return;
    if (t < 12) reinterpret_cast<int*>(const_cast<Seq*>(a.b.seqs) + s)[t] = slice[t];
    if (a.next && s == 0 && t < 20) a.next[t] = next;
}

// embedRow of plain tables, four elements a thread, those of all tables asked for at once.
__device__ __forceinline__ void embedFours(const EmbedArgs& a, int r) {
    const Row row = a.b.rows[r];
    if (threadIdx.x == 0) {
        const Seq& seq = a.b.seqs[row.seq];
        if (seq.history && row.position < seq.capacity) seq.history[row.position] = row.token;
    }
    for (int c = threadIdx.x * 4; c < a.width; c += 1024) {
        uint4 v[3] = {};
#pragma unroll
        for (int p = 0; p < 3; p++) {
            if (p >= a.parts) break;
            int i = a.index[p] == 0 ? row.token : a.index[p] == 1 ? row.position : row.type;
            i = min(max(i + a.offset[p], 0), a.t[p].n - 1);
            const long long at = (long long)i * a.t[p].ld + c;
            if (a.t[p].fmt == FMT_F32) v[p] = *reinterpret_cast<const uint4*>(static_cast<const float*>(a.t[p].data) + at);
            else *reinterpret_cast<uint2*>(&v[p]) = *reinterpret_cast<const uint2*>(static_cast<const __half*>(a.t[p].data) + at);
        }
        float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll
        for (int p = 0; p < 3; p++) {
            if (p >= a.parts) break;
            float4 f = *reinterpret_cast<const float4*>(&v[p]);
            if (a.t[p].fmt != FMT_F32) {
                const float2 x = a.t[p].fmt == FMT_F16 ? f16Pair(v[p].x) : bf16Pair(v[p].x), y = a.t[p].fmt == FMT_F16 ? f16Pair(v[p].y) : bf16Pair(v[p].y);
                f = make_float4(x.x, x.y, y.x, y.y);
            }
            sum.x += f.x, sum.y += f.y, sum.z += f.z, sum.w += f.w;
        }
        *reinterpret_cast<float4*>(a.out + (long long)r * a.ld + c) = sum;
    }
}

extern "C" __global__ void __launch_bounds__(256) embed(const __grid_constant__ EmbedArgs a) {
    Mark mark{a.mark};
    bool fours = (a.width & 3) == 0;
    for (int p = 0; p < a.parts; p++) fours &= a.t[p].fmt <= FMT_BF16;
    dependencyWait();
    dependentsLaunch();
    if (fours) embedFours(a, blockIdx.x);
    else embedRow(a, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(128) rope_angles(const __grid_constant__ AnglesArgs a) {
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    anglesRow(a, blockIdx.x);
}
