// The sampler against its definition.
#pragma once
#include "harness.h"

// The definition of dev.millrace.core.sampling.Sampler, written out again by sorting.
static unsigned long long mixRef(unsigned long long z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}
static int sampleRef(std::vector<float> s, Sampling p, const std::vector<int>& history, int position) {
    const int V = s.size();
    std::vector<char> seen(V);
    if (p.repeatPenalty != 1)
        for (int i = 0; i < position; i++)
            if (!seen[history[i]]) seen[history[i]] = 1, s[history[i]] = s[history[i]] > 0 ? s[history[i]] / p.repeatPenalty : s[history[i]] * p.repeatPenalty;
    std::vector<int> ids(V);
    for (int i = 0; i < V; i++) ids[i] = i;
    auto above = [&](int a, int b) { return s[a] > s[b] || (s[a] == s[b] && a < b); };
    if (p.greedy) return *std::min_element(ids.begin(), ids.end(), above);
    float scale = 1 / p.temperature;
    for (auto& v : s) v *= scale;
    std::sort(ids.begin(), ids.end(), above);
    if (p.topK > 0 && p.topK < V) ids.resize(p.topK);
    if (p.topP < 1) {
        double total = 0, reached = 0;
        for (int i : ids) total += exp((double)(s[i] - s[ids[0]]));
        size_t n = 0;
        while (n < ids.size() && reached < p.topP * total) reached += exp((double)(s[ids[n++]] - s[ids[0]]));
        ids.resize(n);
    }
    float least = p.minP > 0 ? s[ids[0]] + (float)log((double)p.minP) : -INFINITY, bestScore = -INFINITY;
    unsigned long long key = mixRef((unsigned long long)p.seed + 0x9E3779B97F4A7C15ull * (unsigned long long)(position + 1));
    int best = ids[0];
    for (int i : ids) {
        if (s[i] < least) continue;
        float u = ((float)(mixRef(key + 0x9E3779B97F4A7C15ull * (unsigned long long)(i + 1)) >> 40) + 0.5f) * 0x1p-24f;
        float score = s[i] + (float)-log(-log((double)u));
        if (score > bestScore || (score == bestScore && i < best)) best = i, bestScore = score;
    }
    return best;
}
static void samplers() {
    Random rnd(77);
    for (int V : {5, 1000, 50257, 128256}) {
        for (int t = 0; t < 24; t++) {
            checks++;
            Sampling p = {t & 1 ? 1.1f : 1.f, t % 3 == 2 ? 1.5f : 0.8f, t % 4 == 0 ? 0 : t % 4 == 1 ? 40 : t % 4 == 2 ? 3 : 2000, t % 5 == 0 ? 1.f : t % 5 == 1 ? 0.5f : 0.95f, t % 6 == 1 ? 0.05f : 0.f, t == 23 || t == 22, (long long)rnd.next()};
            std::vector<float> logits(V);
            for (auto& v : logits) v = rnd.uniform() * (t % 2 ? 4 : 12);
            if (t % 3 == 0) for (auto& v : logits) v = roundf(v * 4) / 4; // ties
            int pos = 1 + rnd.below(60);
            std::vector<int> history(64);
            for (auto& h : history) h = rnd.below(V);
            int want = sampleRef(logits, p, history, pos);
            Dev<float> dl(logits);
            Dev<Sampling> dp(std::vector<Sampling>{p});
            Dev<int> dh(history), out(4096, 0xff);
            Dev<Row> dr(std::vector<Row>{{9, pos - 1, 0, 0}});
            Dev<Seq> ds(std::vector<Seq>{{nullptr, dh.p, 64, 0, 0, 1, pos - 1, pos, {0, 0}}});
            Dev<unsigned char> work(16ull * V + 65536, 0xff);
            SampleArgs a = {};
            a.logits = dl.p, a.vocab = V, a.sampling = dp.p, a.rows = dr.p, a.seqs = ds.p, a.out = out.p, a.work = work.p;
            launch(sample, {dim3(1), 1024, 0}, a);
            int got = out.host()[pos], hist = dh.host()[pos];
            Row r = dr.host()[0];
            Seq s = ds.host()[0];
            char name[200];
            snprintf(name, 200, "sample V %d case %d: token %d, want %d", V, t, got, want);
            bool ok = got == want && hist == got && r.token == got && r.position == pos && s.base == pos && s.length == pos + 1;
            report(name, {ok ? 0 : INFINITY, 0}, 0);
        }
    }
}
