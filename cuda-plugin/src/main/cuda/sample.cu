// Draws the next token as dev.millrace.core.sampling.Sampler defines it, in one block of 1024 threads, and prepares the next
// step. Keys of 64 bits (score, then the lower id) give a total order, so top-k and top-p are radix selections over keys.
#include "embed.cuh"

#define THREADS 1024
#define SMALL 1024 // candidates that are sorted in shared memory

struct Shared {
    u64 keys[SMALL], raw[SMALL];
    double mass[256];
    u32 count[256];
    double sums[32];
    u64 best[32];
    double reached;
    u64 prefix;
    u32 left, size;
    int token;
};

__device__ __forceinline__ u64 mix(u64 z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}
__device__ __forceinline__ float gumbel(u64 key, int index) {
    float u = ((float)(mix(key + 0x9E3779B97F4A7C15ull * (u64)(index + 1ll)) >> 40) + 0.5f) * 0x1p-24f;
    return (float)-log(-log((double)u));
}
__device__ __forceinline__ float keyScore(u64 key) {
    u32 o = u32(key >> 32);
    return __uint_as_float(o & 0x80000000u ? o & 0x7fffffffu : ~o);
}

__device__ u64 blockBest(u64 v, Shared& s) {
    for (int o = 16; o; o >>= 1) v = max(v, __shfl_xor_sync(~0u, v, o));
    __syncthreads();
    if ((threadIdx.x & 31) == 0) s.best[threadIdx.x >> 5] = v;
    __syncthreads();
    v = s.best[threadIdx.x & 31];
    for (int o = 16; o; o >>= 1) v = max(v, __shfl_xor_sync(~0u, v, o));
    return v;
}
__device__ double blockTotal(double v, Shared& s) {
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
    __syncthreads();
    if ((threadIdx.x & 31) == 0) s.sums[threadIdx.x >> 5] = v;
    __syncthreads();
    v = s.sums[threadIdx.x & 31];
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
    return v;
}

// The least key of the smallest set of highest keys that holds `left` keys (MASS false) or the probability mass `target`.
template <bool MASS, class KeyAt>
__device__ u64 threshold(int n, KeyAt keyAt, u32 left, double target, float top, Shared& s) {
    u64 prefix = 0;
    double reached = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        __syncthreads();
        for (int i = threadIdx.x; i < 256; i += THREADS) s.count[i] = 0, s.mass[i] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < n; i += THREADS) {
            u64 key = keyAt(i);
            if (shift < 56 && (key >> (shift + 8)) != (prefix >> (shift + 8))) continue;
            int bin = int(key >> shift) & 255;
            atomicAdd(&s.count[bin], 1u);
            if (MASS) atomicAdd(&s.mass[bin], exp((double)(keyScore(key) - top)));
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            int bin = 255, last = 255;
            for (; bin >= 0; bin--) {
                if (s.count[bin] == 0) continue;
                last = bin;
                if (MASS ? reached + s.mass[bin] >= target : s.count[bin] >= left) break;
                reached += s.mass[bin];
                left -= MASS ? 0 : s.count[bin];
            }
            if (bin < 0) bin = last; // rounding: everything is kept
            s.prefix = prefix | u64(bin) << shift;
            s.reached = reached;
            s.left = left;
            s.size = s.count[bin];
        }
        __syncthreads();
        prefix = s.prefix, reached = s.reached, left = s.left;
        if (MASS ? s.size == 1 : s.size == left) return prefix; // the whole bin belongs to it
    }
    return prefix;
}

// The k highest keys, in order, in s.keys; false where that takes the general way. Of groups of threads, each with the
// highest of its own share, the k-th highest is not above the k-th highest key of all, so few keys are left to sort.
template <class KeyAt> __device__ bool highest(int n, KeyAt keyAt, u64 own, int k, Shared& s) {
    if (k > 192) return false;
    const int groups = k <= 48 ? 64 : 256, per = THREADS / groups;
    for (int o = per / 2; o; o >>= 1) own = max(own, __shfl_xor_sync(~0u, own, o));
    __syncthreads();
    if (threadIdx.x % per == 0) s.raw[threadIdx.x / per] = own;
    if (threadIdx.x == 0) s.size = 0, s.prefix = 0;
    __syncthreads();
    if (int(threadIdx.x) < groups) {
        u64 mine = s.raw[threadIdx.x];
        int rank = 0;
        for (int i = 0; i < groups; i++) rank += s.raw[i] > mine;
        if (rank == k - 1) s.prefix = mine;
    }
    __syncthreads();
    const u64 bound = s.prefix;
    for (int i = threadIdx.x; i < n; i += THREADS) {
        u64 key = keyAt(i);
        if (key < bound) continue;
        u32 at = atomicAdd(&s.size, 1u);
        if (at < SMALL) s.raw[at] = key;
    }
    __syncthreads();
    const int found = s.size;
    if (found > SMALL) return false;
    if (int(threadIdx.x) < found) {
        u64 mine = s.raw[threadIdx.x];
        int rank = 0;
        for (int i = 0; i < found; i++) rank += s.raw[i] > mine;
        if (rank < k) s.keys[rank] = mine;
    }
    __syncthreads();
    return true;
}

// How many of the n keys in s.keys, highest first, it takes to reach the share p of their probability.
__device__ int probable(int n, float p, float top, Shared& s) {
    if (int(threadIdx.x) < n) s.mass[threadIdx.x] = exp((double)(keyScore(s.keys[threadIdx.x]) - top));
    __syncthreads();
    if (threadIdx.x == 0) {
        double total = 0, reached = 0;
        for (int i = n - 1; i >= 0; i--) total += s.mass[i];
        const double target = p * total;
        int kept = 0;
        while (kept < n && reached < target) reached += s.mass[kept++];
        s.size = kept;
    }
    __syncthreads();
    return s.size;
}

__device__ int draw(const SampleArgs& a, const Sampling& p, const int* history, int position, Shared& s) {
    u32* seen = static_cast<u32*>(a.work);
    u64* list = reinterpret_cast<u64*>(static_cast<char*>(a.work) + 65536 + ((a.vocab / 8 + 255) & ~255));
    if (p.repeatPenalty != 1.f) {
        for (int i = threadIdx.x; i <= a.vocab / 32; i += THREADS) seen[i] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < position; i += THREADS) {
            int token = history[i];
            if (token < 0 || token >= a.vocab || (atomicOr(seen + token / 32, 1u << (token & 31)) >> (token & 31) & 1)) continue;
            float v = a.logits[token];
            a.logits[token] = v > 0 ? v / p.repeatPenalty : v * p.repeatPenalty;
        }
        __syncthreads();
    } else if (p.greedy && a.partials > 0) {
        u64 best = 0;
        for (int i = threadIdx.x; i < a.partials; i += THREADS) best = max(best, __ldcg(a.best + i));
        return keyId(blockBest(best, s));
    }
    const float scale = p.greedy ? 1.f : 1.f / p.temperature;
    auto keyOf = [&](int i) { return scoreKey(__fmul_rn(a.logits[i], scale), i); };
    u64 own = 0;
    for (int i = threadIdx.x; i < a.vocab; i += THREADS) own = max(own, keyOf(i));
    const u64 best = blockBest(own, s);
    if (p.greedy) return keyId(best);
    const float top = keyScore(best);

    u64 least = 0; // keys from here on are kept
    int n = a.vocab;
    enum { ALL, LISTED, SORTED } where = ALL;
    if (p.topK > 0 && p.topK < a.vocab) {
        if (highest(n, keyOf, own, p.topK, s)) {
            where = SORTED;
            n = p.topK;
        } else {
            least = threshold<false>(n, keyOf, p.topK, 0, top, s);
            __syncthreads();
            if (threadIdx.x == 0) s.size = 0;
            __syncthreads();
            for (int i = threadIdx.x; i < a.vocab; i += THREADS) {
                u64 key = keyOf(i);
                if (key >= least) list[atomicAdd(&s.size, 1u)] = key;
            }
            __syncthreads();
            n = s.size;
            where = LISTED;
        }
    }
    auto keyAt = [&](int i) { return where == SORTED ? s.keys[i] : where == LISTED ? __ldcg(list + i) : keyOf(i); };
    if (p.topP < 1.f) {
        if (where == SORTED) {
            n = probable(n, p.topP, top, s);
        } else {
            double total = 0;
            for (int i = threadIdx.x; i < n; i += THREADS) total += exp((double)(keyScore(keyAt(i)) - top));
            total = blockTotal(total, s);
            least = max(least, threshold<true>(n, keyAt, 0, p.topP * total, top, s));
        }
    }
    const float floor = p.minP > 0 ? top + (float)log((double)p.minP) : -INFINITY;
    const u64 rng = mix((u64)p.seed + 0x9E3779B97F4A7C15ull * (u64)(position + 1ll));
    // Gumbel lies in [-2.86, 17.4]: a score 20.3 below the highest cannot win, and its two logarithms are saved.
    const float reach = fmaxf(floor, top - 20.5f);
    u64 won = 0;
    for (int i = threadIdx.x; i < n; i += THREADS) {
        u64 key = keyAt(i);
        float score = keyScore(key);
        if (key < least || score < reach) continue;
        won = max(won, scoreKey(score + gumbel(rng, keyId(key)), keyId(key)));
    }
    return keyId(blockBest(won, s));
}

extern "C" __global__ void __launch_bounds__(THREADS) sample(const __grid_constant__ SampleArgs a) {
    __shared__ Shared s;
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    const Sampling p = *a.sampling;
    const Seq seq = a.seqs[0];
    const int position = seq.length;
    int token = draw(a, p, seq.history, min(position, seq.capacity), s);
    token = min(max(token, 0), a.vocab - 1);
    if (threadIdx.x == 0) {
        if (position < seq.capacity) seq.history[position] = token;
        a.rows[0] = {token, position, 0, 0};
        a.seqs[0].base = position;
        a.seqs[0].length = position + 1;
        __threadfence();
        if (a.out) {
            *reinterpret_cast<volatile int*>(a.out + (position & 4095)) = token;
            __threadfence_system();
        }
    }
    __syncthreads();
    if (a.next.parts > 0) embedRow(a.next, 0);
    if (a.angles.out) anglesRow(a.angles, 0);
}
