// Writes the device's clock, in nanoseconds, before the first kernel of an observed step.
struct MarkArgs { unsigned long long* mark; };

extern "C" __global__ void mark(const __grid_constant__ MarkArgs a) {
    unsigned long long now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    *a.mark = now;
}
