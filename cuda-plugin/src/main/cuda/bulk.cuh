// Barriers in shared memory and the copy engine that brings tiles and counts their bytes on them (sm_90).
#pragma once
#include "wgmma.cuh"

#ifdef HAS_WGMMA
__device__ __forceinline__ void barrierInit(u32 at, int arrivals) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(arrivals) : "memory"); }
// Inits are visible to the copy engine.
__device__ __forceinline__ void barriersReady() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); proxyFence(); }
__device__ __forceinline__ void barrierArrive(u32 at) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(at) : "memory"); }
__device__ __forceinline__ void barrierExpect(u32 at, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory");
}
// Until the barrier's phase of that parity is over.
__device__ __forceinline__ void barrierWait(u32 at, u32 parity) {
    asm volatile("{ .reg .pred p; again: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1; @p bra done; bra again; done: }"
                 ::"r"(at), "r"(parity) : "memory");
}
// The box of a tensor map at (column, row), zeros outside the matrix.
__device__ __forceinline__ void loadBox(u32 to, const TensorMap& map, int column, int row, u32 barrier) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
                 ::"r"(to), "l"(&map), "r"(barrier), "r"(column), "r"(row) : "memory");
}
// The same as far as the L2.
__device__ __forceinline__ void prefetchBox(const TensorMap& map, int column, int row) {
    asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global [%0, {%1, %2}];" ::"l"(&map), "r"(column), "r"(row) : "memory");
}
// All threads of the cluster's blocks meet, and see what each other wrote.
__device__ __forceinline__ void clusterMeet() {
    asm volatile("barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// Threads of some whole warps meet: barrier ids 1 .. 15.
__device__ __forceinline__ void meet(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

// A ring of stages that producers fill and consumers empty.
template <int STAGES> struct Ring {
    u32 full, empty; // barriers of 8 bytes
    int stage;
    u32 parity;
    __device__ __forceinline__ Ring(u32 full, u32 empty) : full(full), empty(empty), stage(0), parity(0) {}
    __device__ __forceinline__ u32 fullNow() const { return full + stage * 8; }
    __device__ __forceinline__ u32 emptyNow() const { return empty + stage * 8; }
    __device__ __forceinline__ void next() { if (++stage == STAGES) stage = 0, parity ^= 1; }
};
#endif
