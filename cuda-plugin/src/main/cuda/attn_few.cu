// Flash attention for prompts of few tokens on mma.sync, heads of 64 without norms and rotation, queries, keys and values
// and the cache in f16, with the append in the same launch: nothing has to be prepared. Such prompts are bound by latency, and
// code that runs once comes from memory: so there are many small blocks, of 16 queries of a head, whose 8 warps take 16
// keys each in turn and add up what they have at the end.
//
// The sum over a head's elements may go in any order, so a lane of four takes 16 neighbouring ones of its rows, and fragments
// of queries and keys come straight from memory, 16 bytes at a time. Values are read across their rows, from shared memory.
#include "mma.cuh"
#include "positions.cuh"

#define WARPS 8
#define OUT_LD 68 // floats of a query's 64 outputs: rows spread over the banks

struct Strip { u32 w[8]; }; // 16 halves of a row
__device__ __forceinline__ Strip strip(const __half* at) {
    const uint4 a = __ldcg(reinterpret_cast<const uint4*>(at)), b = __ldcg(reinterpret_cast<const uint4*>(at) + 1);
    return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}

__device__ __forceinline__ void attend(const AttentionArgs& a, float* memory) {
    const Seq seq = a.b.seqs[blockIdx.z]; // not written by the kernel before: no need to wait
    const int q0 = (gridDim.y - 1 - blockIdx.y) * 16; // the longest rows first
    dependencyWait();
    dependentsLaunch();
    if (q0 >= seq.count || seq.kvFmt != a.kvFmt) return;
    const int head = blockIdx.x, kvHead = head / (a.heads / a.kvHeads), rows = min(16, seq.count - q0), first = seq.base + q0, length = first + rows;
    const int lo = a.window > 0 ? max(0, first - a.window + 1) : 0, chunks = (length - lo + 15) / 16;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
    const Positions<64> keys(a, seq, kvHead, false), values(a, seq, kvHead, true);
    // 16 bytes a thread of the block's own keys and values, which go to the cache
    const int own = threadIdx.x >> 3 & 15, part = threadIdx.x & 7;
    const bool ofValues = threadIdx.x >= 128, keeps = head % (a.heads / a.kvHeads) == 0 && own < rows && first + own < seq.capacity;
    uint4 kept;
    if (keeps) kept = __ldcg(reinterpret_cast<const uint4*>(ofValues ? values.at(first + own) : keys.at(first + own)) + part);
    float* mine = memory + warp * (16 * OUT_LD); // a tile of values, then the warp's outputs
    const u32 tile = sharedAddress(mine);
    const __half* queries = static_cast<const __half*>(a.q) + (long long)(seq.start + q0) * a.ldq + head * 64 + t * 16;
    const Strip q[2] = {strip(queries + (long long)min(g, rows - 1) * a.ldq), strip(queries + (long long)min(8 + g, rows - 1) * a.ldq)};
    float top[2] = {-INFINITY, -INFINITY}, sum[2] = {}, o[8][4] = {};
    const float scale = a.scale * 1.4426950408889634f;
#pragma unroll 1
    for (int c = warp; c < chunks; c += WARPS) {
        const int p0 = lo + c * 16;
        __syncwarp(); // the tile before has been read
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int r = i * 4 + (lane >> 3), p = p0 + r;
            copyAsync(tile + r * 128 + (((lane & 7) ^ (r & 7)) << 4), values.at(min(p, length - 1)) + (lane & 7) * 8, p < length);
        }
        copyCommit();
        const Strip k[2] = {strip(keys.at(min(p0 + g, length - 1)) + t * 16), strip(keys.at(min(p0 + 8 + g, length - 1)) + t * 16)};
        float s[2][4] = {};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const u32 f[4] = {q[0].w[2 * i], q[1].w[2 * i], q[0].w[2 * i + 1], q[1].w[2 * i + 1]};
#pragma unroll
            for (int j = 0; j < 2; j++) mma<FMT_F16>(s[j], f, k[j].w[2 * i], k[j].w[2 * i + 1]);
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int at = first + h * 8 + g;
            float best = top[h];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float& v = s[i >> 1][2 * h + (i & 1)];
                const int p = p0 + (i >> 1) * 8 + 2 * t + (i & 1);
                if (p > at || (a.window > 0 && p <= at - a.window)) v = -INFINITY;
                best = fmaxf(best, v);
            }
            best = fmaxf(best, __shfl_xor_sync(~0u, best, 1));
            best = fmaxf(best, __shfl_xor_sync(~0u, best, 2));
            const float safe = best == -INFINITY ? 0.f : best * scale, keep = exp2Fast(fmaf(top[h], scale, -safe));
            top[h] = best;
            sum[h] *= keep;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float& v = s[i >> 1][2 * h + (i & 1)];
                sum[h] += v = exp2Fast(fmaf(v, scale, -safe));
            }
#pragma unroll
            for (int n = 0; n < 8; n++) o[n][2 * h] *= keep, o[n][2 * h + 1] *= keep;
        }
        u32 weights[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const __half2 pair = __floats2half2_rn(s[i >> 1][2 * (i & 1)], s[i >> 1][2 * (i & 1) + 1]);
            weights[i] = *reinterpret_cast<const u32*>(&pair);
        }
        copyWait<0>();
        __syncwarp();
#pragma unroll
        for (int n = 0; n < 4; n++) {
            u32 v[4];
            const int r = lane & 15;
            ldmatrix4t(v, tile + r * 128 + (((2 * n + (lane >> 4)) ^ (r & 7)) << 4));
            mma<FMT_F16>(o[2 * n], weights, v[0], v[1]);
            mma<FMT_F16>(o[2 * n + 1], weights, v[2], v[3]);
        }
    }
    if (keeps) (ofValues ? values : keys).cache(first + own)[part] = kept;
    float* tops = memory + WARPS * 16 * OUT_LD;
    float* totals = tops + WARPS * 16;
    __syncwarp();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int r = h * 8 + g;
        float total = sum[h];
        total += __shfl_xor_sync(~0u, total, 1);
        total += __shfl_xor_sync(~0u, total, 2);
        if (t == 0) tops[warp * 16 + r] = top[h], totals[warp * 16 + r] = total;
#pragma unroll
        for (int n = 0; n < 8; n++) *reinterpret_cast<float2*>(mine + r * OUT_LD + n * 8 + 2 * t) = make_float2(o[n][2 * h], o[n][2 * h + 1]);
    }
    __syncthreads();
    const int active = min(WARPS, chunks), c = (threadIdx.x & 15) * 4, r = threadIdx.x >> 4;
    if (r >= rows) return;
    float best = -INFINITY, total = 0;
    float4 sums = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int w = 0; w < WARPS; w++) if (w < active) best = fmaxf(best, tops[w * 16 + r]);
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
        if (w >= active) break;
        const float f = exp2Fast((tops[w * 16 + r] - best) * scale);
        const float4 v = *reinterpret_cast<const float4*>(memory + (w * 16 + r) * OUT_LD + c);
        total += f * totals[w * 16 + r];
        sums.x += f * v.x, sums.y += f * v.y, sums.z += f * v.z, sums.w += f * v.w;
    }
    const float inverse = 1.f / total;
    const long long at = (long long)(seq.start + q0 + r) * a.ldo + head * 64 + c;
    storePair(a.out, at, a.outFmt, sums.x * inverse, sums.y * inverse);
    storePair(a.out, at + 2, a.outFmt, sums.z * inverse, sums.w * inverse);
}

extern "C" __global__ void __launch_bounds__(256, 2) attn_few(const __grid_constant__ AttentionArgs a) {
    __shared__ __align__(16) float memory[WARPS * 16 * (OUT_LD + 2)];
    Mark mark{a.mark};
    attend(a, memory);
}
