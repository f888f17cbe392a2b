// y = epilogue(x W^T) on Hopper for prompts whose products are bound by latency: W's rows are what a warpgroup's 64 rows run
// over, tokens (NT of them) are the columns, so 9 tokens cost no more than they must.
//
// A block makes 64 outputs x NT tokens of a share of k; the shares of a tile are one cluster (gridDim.z blocks), whose sums
// meet in shared memory: each block gets the others' sums of its part of the tokens and finishes those. Half of an SM's
// memory a block: the next kernel's blocks start beside this one's and bring their weights while they wait for x; weights that
// have no stage yet come as far as the L2.
#include "bulk.cuh"
#include "gemm.cuh"

#ifdef HAS_WGMMA
#define SUMS_LD 68 // floats of a token's 64 sums: fragments and rows both spread over the banks

// Sums that meet in the cluster: those of token group j (8 tokens) go to block j / GROUPS, as the fragments they are.
template <int NT> __device__ __forceinline__ void sendSums(const float* d, u32 base, int groups, int rank) {
    u32 to = 0;
    int in = groups, block = -1;
#pragma unroll
    for (int j = 0; j < NT / 8; j++) {
        if (in == groups) {
            in = 0, block++;
            asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"(base + (rank * groups * 128 + threadIdx.x) * 16), "r"(block));
        }
        asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};"
                     ::"r"(to + in * 2048), "f"(d[4 * j]), "f"(d[4 * j + 1]), "f"(d[4 * j + 2]), "f"(d[4 * j + 3]) : "memory");
        in++;
    }
}

// Four sums of a thread (columns 2 t, + 1 of a group of 8 tokens; outputs g and g + 8 of the warp's 16) to rows of tokens.
__device__ __forceinline__ void placeSums(float* sums, int group, float4 v) {
    const int lane = threadIdx.x & 31;
    float* to = sums + (group * 8 + (lane & 3) * 2) * SUMS_LD + (threadIdx.x >> 5) * 16 + (lane >> 2);
    to[0] = v.x, to[SUMS_LD] = v.y, to[8] = v.z, to[SUMS_LD + 8] = v.w;
}

template <int FMT, int NT, int STAGES> __device__ __forceinline__ void gemm(const TiledArgs& t, unsigned char* shared) {
    const LinearArgs& a = t.a;
    const int BYTES = (64 + NT) * 128, KC = FMT == FMT_F32 ? 32 : 64; // columns of k in 128 bytes
    const u32 base = sharedAddress(shared), bars = base + STAGES * BYTES;
    const int shares = gridDim.z, rank = blockIdx.z, m0 = blockIdx.x * NT, n0 = blockIdx.y * 64;
    const int all = (a.w.k + KC - 1) / KC, share = (all + shares - 1) / shares, start = rank * share, steps = min(share, all - start);
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) barrierInit(bars + s * 8, 1), barrierInit(bars + (STAGES + s) * 8, 4);
        barriersReady();
    }
    __syncthreads();
    Ring<STAGES> ring(bars, bars + STAGES * 8);
    if (threadIdx.x >= 128) {
        if (threadIdx.x == 128) {
            const int ahead = a.fresh ? 0 : min(STAGES, steps);
            for (int s = 0; s < ahead; s++) {
                barrierExpect(bars + s * 8, BYTES);
                loadBox(base + s * BYTES + NT * 128, t.w, (start + s) * KC, n0, bars + s * 8);
            }
            if (!a.fresh) for (int s = ahead; s < steps; s++) prefetchBox(t.w, (start + s) * KC, n0);
            dependencyWait();
            dependentsLaunch();
            for (int s = 0; s < steps; s++) {
                const u32 to = base + ring.stage * BYTES, full = ring.fullNow();
                if (s >= ahead) {
                    barrierWait(ring.emptyNow(), ring.parity ^ 1);
                    barrierExpect(full, BYTES);
                    loadBox(to + NT * 128, t.w, (start + s) * KC, n0, full);
                }
                loadBox(to, t.x, (start + s) * KC, m0, full);
                ring.next();
            }
        }
        __syncwarp();
        if (shares > 1) clusterMeet(), clusterMeet();
        return;
    }
    const int c = (threadIdx.x & 15) * 4, groups = (NT / 8 + shares - 1) / shares; // of 8 tokens that this block finishes
    const Epilogue e(a, n0 + c);
    const int first = m0 + rank * groups * 8 + (threadIdx.x >> 4), end = min(min(first + groups * 8, m0 + NT), a.m);
    dependencyWait(); // residuals, and y, which the kernel before may read
    float4 q[4];
#pragma unroll
    for (int i = 0; i < 4; i++) q[i] = first + 8 * i < end && !e.idle() ? e.residualOf(a, first + 8 * i) : make_float4(0, 0, 0, 0);
    float d[NT / 2];
    u32 last = 0;
    for (int s = 0; s < steps; s++) {
        barrierWait(ring.fullNow(), ring.parity);
        const u32 at = base + ring.stage * BYTES;
        const u64 x = wgmmaSide(at), w = wgmmaSide(at + NT * 128);
        wgmmaFence();
#pragma unroll
        for (int k = 0; k < 4; k++) wgmma<FMT, NT>(d, w + 2 * k, x + 2 * k, s > 0 || k > 0);
        wgmmaCommit();
        if (s > 0) {
            wgmmaWait<1>();
            if ((threadIdx.x & 31) == 0) barrierArrive(last);
        }
        last = ring.emptyNow();
        ring.next();
    }
    wgmmaWait<0>();
    wgmmaDone<NT / 2>(d);
    float* sums = reinterpret_cast<float*>(shared);
    if (shares == 1) {
        meet(1, 128); // every warp's products are over: their stages are free
#pragma unroll
        for (int j = 0; j < NT / 8; j++) placeSums(sums, j, make_float4(d[4 * j], d[4 * j + 1], d[4 * j + 2], d[4 * j + 3]));
    } else {
        clusterMeet(); // every block's are
        sendSums<NT>(d, base, groups, rank);
        clusterMeet();
        const float4* got = reinterpret_cast<const float4*>(shared) + threadIdx.x;
        sums += shares * groups * 512;
        for (int j = 0; j < groups; j++) {
            float4 v = got[j * 128];
            for (int z = 1; z < shares; z++) {
                const float4 u = got[(z * groups + j) * 128];
                v.x += u.x, v.y += u.y, v.z += u.z, v.w += u.w;
            }
            placeSums(sums, j, v);
        }
    }
    meet(1, 128);
    if (e.idle()) return;
    const float* from = sums + (threadIdx.x >> 4) * SUMS_LD + c;
#pragma unroll NT / 32 // a row's code is long and comes from memory: the fewer copies the better, as long as rows overlap
    for (int m = first; m < end; m += 8) {
        const float4 now = q[0];
        q[0] = q[1], q[1] = q[2], q[2] = q[3];
        if (m + 32 < end) q[3] = e.residualOf(a, m + 32);
        e.row<true>(a, m, *reinterpret_cast<const float4*>(from), now);
        from += 8 * SUMS_LD;
    }
}
#endif

template <int FMT, int NT, int STAGES> __device__ __forceinline__ void product(const TiledArgs& t) {
#ifdef HAS_WGMMA
    extern __shared__ __align__(1024) unsigned char shared[];
    Mark mark{t.a.mark};
    gemm<FMT, NT, STAGES>(t, shared);
#else
    __trap(); // no launch rule of another card comes here
#endif
}
#define SHORT(NAME, FMT, NT, STAGES) \
    extern "C" __global__ void __launch_bounds__(160, 2) gemm_##NAME##_short##NT(const __grid_constant__ TiledArgs t) { product<FMT, NT, STAGES>(t); }
#define TOKENS(NAME, FMT) SHORT(NAME, FMT, 32, 8) SHORT(NAME, FMT, 64, 6) SHORT(NAME, FMT, 128, 4)
TOKENS(f16, FMT_F16)
TOKENS(bf16, FMT_BF16)
TOKENS(tf32, FMT_F32)
