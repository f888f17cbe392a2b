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
// What other blocks send to this one, counted by barriers of 8 bytes. One thread calls startBarriers() and expectBytes() before
// clusterArrive(); all call clusterArrive() and, before anything is sent, clusterWait(): then every block has started and counts.
__device__ __forceinline__ void startBarriers(u64* barriers, int n) {
#if __CUDA_ARCH__ >= 900
    for (int i = 0; i < n; i++) asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(u32(__cvta_generic_to_shared(barriers + i))) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
__device__ __forceinline__ void expectBytes(u64* barrier, u32 bytes) {
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(u32(__cvta_generic_to_shared(barrier))), "r"(bytes) : "memory");
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
// The same of four neighbours, 16-byte aligned.
__device__ __forceinline__ void send(float4* p, u64* barrier, u32 rank, float4 v) {
#if __CUDA_ARCH__ >= 900
    u32 to, counter;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"(u32(__cvta_generic_to_shared(p))), "r"(rank));
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(counter) : "r"(u32(__cvta_generic_to_shared(barrier))), "r"(rank));
    asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];"
                 ::"r"(to), "r"(__float_as_uint(v.x)), "r"(__float_as_uint(v.y)), "r"(__float_as_uint(v.z)), "r"(__float_as_uint(v.w)), "r"(counter) : "memory");
#endif
}
// The copy engine brings `bytes` from global to shared memory, both 16-byte aligned, and counts them on the barrier.
__device__ __forceinline__ void bring(void* to, const void* from, u32 bytes, u64* barrier) {
#if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                 ::"r"(u32(__cvta_generic_to_shared(to))), "l"(from), "r"(bytes), "r"(u32(__cvta_generic_to_shared(barrier))) : "memory");
#endif
}
// Until all that was expected is there; `turn`: how often that was before.
__device__ __forceinline__ void awaitBytes(u64* barrier, u32 turn = 0) {
#if __CUDA_ARCH__ >= 900
    asm volatile("{ .reg .pred p; again: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1; @p bra done; bra again; done: }"
                 ::"r"(u32(__cvta_generic_to_shared(barrier))), "r"(turn & 1) : "memory");
#endif
}
