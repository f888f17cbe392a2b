// Blocks of one cluster, which see each other's shared memory. Before 9.0 every block is alone.
#pragma once
#include "common.cuh"

// Blocks of this one's cluster: neighbours in z.
__device__ __forceinline__ int clusterDepth() {
    int blocks = 1;
#if __CUDA_ARCH__ >= 900
    asm("mov.u32 %0, %%cluster_nctaid.z;" : "=r"(blocks));
#endif
    return blocks;
}
// What other blocks send to this one, counted by a barrier of 8 bytes. One thread calls expect() before clusterArrive(); all call
// clusterArrive() and, before anything is sent, clusterWait(): then every block has started and its barrier counts.
__device__ __forceinline__ void expectBytes(u64* barrier, u32 bytes) {
#if __CUDA_ARCH__ >= 900
    const u32 at = u32(__cvta_generic_to_shared(barrier));
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(at) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory");
#endif
}
__device__ __forceinline__ void clusterArrive() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void clusterWait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
// Sends v to where block `rank` of the cluster has what lies at p here.
__device__ __forceinline__ void send(float* p, u64* barrier, u32 rank, float v) {
#if __CUDA_ARCH__ >= 900
    u32 to, counter;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"(u32(__cvta_generic_to_shared(p))), "r"(rank));
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(counter) : "r"(u32(__cvta_generic_to_shared(barrier))), "r"(rank));
    asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(to), "r"(__float_as_uint(v)), "r"(counter) : "memory");
#endif
}
// Until all that was expected is there; turn: which time the barrier counts.
__device__ __forceinline__ void awaitBytes(u64* barrier, u32 turn = 0) {
#if __CUDA_ARCH__ >= 900
    asm volatile("{ .reg .pred p; again: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1; @p bra done; bra again; done: }"
                 ::"r"(u32(__cvta_generic_to_shared(barrier))), "r"(turn & 1) : "memory");
#endif
}
