// Attention with its rotation, norms and cache, against the definition in double.
#pragma once
#include "harness.h"

struct AttnCase { int heads, kvHeads, dim, rotary, interleaved, kvFmt, window; bool causal, norms; std::vector<int> base, count; };

// qkv of all rows -> output, in double; keys and values rounded as the cache does.
static void attention(AttnCase c, int inFmt, int outFmt, bool decode, bool strict, unsigned long long seed) {
    Random rnd(seed);
    checks++;
    const int S = c.base.size(), D = c.dim, W = (c.heads + 2 * c.kvHeads) * D, ldq = roundUp(W, 64), ldo = roundUp(c.heads * D, 64);
    int rows = 0, maxCount = 0;
    for (int n : c.count) rows += n, maxCount = std::max(maxCount, n);
    std::vector<float> x((size_t)rows * ldq);
    for (auto& v : x) v = roundTo(rnd.uniform() * 1.5f, inFmt);
    std::vector<float> qn(D), kn(D), qb(D), kb(D);
    for (int d = 0; d < D; d++) qn[d] = 1 + 0.3f * rnd.uniform(), kn[d] = 1 + 0.3f * rnd.uniform(), qb[d] = 0.1f * rnd.uniform(), kb[d] = 0.1f * rnd.uniform();
    const int layers = 2, layer = 1, kvEl = c.kvFmt ? 2 : 4;
    const long long kvOffset = 2ll * c.kvHeads * D * layer;
    std::vector<Row> hrows;
    std::vector<Seq> hseqs;
    std::vector<std::vector<float>> caches; // layer's K then V: [kvHeads][cap][D]
    std::vector<std::vector<unsigned char>> raw;
    std::vector<Dev<unsigned char>*> devs;
    int start = 0;
    for (int s = 0; s < S; s++) {
        int cap = c.base[s] + c.count[s] + 3;
        size_t per = (size_t)c.kvHeads * cap * D;
        std::vector<float> kv(2 * per);
        for (auto& v : kv) v = roundTo(rnd.uniform(), c.kvFmt ? FMT_F16 : FMT_F32);
        std::vector<unsigned char> bytes(layers * 2 * per * kvEl, 0xff);
        for (int h = 0; h < 2 * c.kvHeads; h++) // only the past is valid
            for (int p = 0; p < c.base[s]; p++)
                for (int d = 0; d < D; d++) {
                    size_t at = ((size_t)h * cap + p) * D + d;
                    float v = kv[at];
                    unsigned short b = f2half(v);
                    unsigned char* to = bytes.data() + (layer * 2 * per + at) * kvEl;
                    if (c.kvFmt) memcpy(to, &b, 2); else memcpy(to, &v, 4);
                }
        caches.push_back(kv);
        raw.push_back(bytes);
        devs.push_back(new Dev<unsigned char>(bytes));
        hseqs.push_back({devs.back()->p, nullptr, cap, c.kvFmt, start, c.count[s], c.causal ? c.base[s] : 0, c.base[s] + c.count[s], {0, 0}});
        for (int i = 0; i < c.count[s]; i++) hrows.push_back({0, (c.causal ? c.base[s] : 0) + i, 0, s});
        start += c.count[s];
    }
    Dev<Row> drows(hrows);
    Dev<Seq> dseqs(hseqs);
    Dev<float> dqn(qn), dkn(kn), dqb(qb), dkb(kb);
    std::vector<double> inv(c.rotary / 2 + 1);
    for (int i = 0; i < c.rotary / 2; i++) inv[i] = pow(10000.0, -2.0 * i / c.rotary);
    Dev<double> dinv(inv);
    Dev<float2> cs((size_t)rows * (c.rotary / 2 + 1));
    BatchRef b = {drows.p, dseqs.p, nullptr, rows, S, 0, maxCount};
    if (c.rotary) {
        AnglesArgs g = {};
        g.b = b, g.inv = dinv.p, g.out = cs.p, g.pairs = c.rotary / 2, g.ld = c.rotary / 2, g.magnitude = 1.1f;
        launch(rope_angles, {dim3(rows), 128, 0}, g);
    }
    AttentionArgs a = {};
    const int esz = inFmt == FMT_F32 ? 4 : 2;
    std::vector<unsigned char> xin((size_t)rows * ldq * esz);
    for (size_t i = 0; i < x.size(); i++) {
        if (inFmt == FMT_F32) memcpy(&xin[i * 4], &x[i], 4);
        else { unsigned short h = inFmt == FMT_F16 ? f2half(x[i]) : f2bf(x[i]); memcpy(&xin[i * 2], &h, 2); }
    }
    Dev<unsigned char> dx(xin);
    Dev<float> dout((size_t)roundUp(rows, 128) * ldo, 0xff);
    a.b = b, a.q = dx.p, a.k = dx.p + (size_t)c.heads * D * esz, a.v = dx.p + (size_t)(c.heads + c.kvHeads) * D * esz, a.out = dout.p;
    a.ldq = a.ldk = a.ldv = ldq, a.ldo = ldo, a.heads = c.heads, a.kvHeads = c.kvHeads, a.headDim = D, a.window = c.window;
    a.scale = 1 / sqrtf((float)D), a.causal = c.causal, a.kvOffset = kvOffset, a.inFmt = inFmt, a.outFmt = outFmt, a.kvFmt = c.kvFmt;
    if (c.norms) a.qNorm = {dqn.p, nullptr, 1e-6f, NORM_RMS, D, 0}, a.kNorm = {dkn.p, dkb.p, 1e-6f, NORM_LAYER, D, 0};
    if (c.rotary) a.rope = {cs.p, D, c.rotary, c.interleaved, c.rotary / 2};
    const Launch l = decode ? attnDecodeLaunch(a, sms) : Launch{};
    Dev<float> work((size_t)rows * c.heads * std::max(a.splits, 1) * (D + 2), 0xff);
    Dev<int> counters(65536);
    a.work = work.p, a.counters = counters.p;
    if (decode) launch(l.cluster > 1 ? attn_decode_cluster : attn_decode, l, a);
    else {
        launch(kv_append, appendLaunch(a), a);
        launch(strict ? attn_prefill_f32 : attn_prefill, attnPrefillLaunch(a, strict), a);
    }
    CU(cudaDeviceSynchronize());
    // reference
    auto vec = [&](int r, int off, bool isQ, int pos, bool rotate) {
        std::vector<double> v(D);
        for (int d = 0; d < D; d++) v[d] = x[(size_t)r * ldq + off + d];
        if (c.norms) {
            double mean = 0, sq = 0;
            if (!isQ) { for (double e : v) mean += e; mean /= D; }
            for (double e : v) sq += (e - mean) * (e - mean);
            for (int d = 0; d < D; d++) v[d] = (v[d] - mean) / sqrt(sq / D + 1e-6f) * (isQ ? qn[d] : kn[d]) + (isQ ? 0 : kb[d]);
        }
        if (rotate && c.rotary) {
            for (int i = 0; i < c.rotary / 2; i++) {
                int p = c.interleaved ? 2 * i : i, q = c.interleaved ? p + 1 : p + c.rotary / 2;
                double co = cos(pos * inv[i]) * 1.1f, si = sin(pos * inv[i]) * 1.1f, u = v[p], w = v[q];
                v[p] = u * co - w * si, v[q] = w * co + u * si;
            }
        }
        return v;
    };
    std::vector<double> ref((size_t)rows * c.heads * D);
    for (int s = 0; s < S; s++) {
        const Seq& q = hseqs[s];
        for (int i = 0; i < q.count; i++) {
            int r = q.start + i, pos = q.base + i;
            for (int h = 0; h < c.kvHeads; h++) {
                auto k = vec(r, (c.heads + h) * D, false, pos, true);
                std::vector<double> v(D);
                for (int d = 0; d < D; d++) v[d] = x[(size_t)r * ldq + (c.heads + c.kvHeads + h) * D + d];
                for (int d = 0; d < D; d++) {
                    int f = c.causal ? (c.kvFmt ? FMT_F16 : FMT_F32) : inFmt;
                    caches[s][((size_t)h * q.capacity + pos) * D + d] = roundTo((float)k[d], f);
                    caches[s][((size_t)(c.kvHeads + h) * q.capacity + pos) * D + d] = roundTo((float)v[d], f);
                }
            }
        }
#pragma omp parallel for
        for (int i = 0; i < q.count; i++) {
            int r = q.start + i, pos = q.base + i;
            for (int h = 0; h < c.heads; h++) {
                auto qv = vec(r, h * D, true, pos, true);
                if (!decode) for (auto& e : qv) e = roundTo((float)e, inFmt);
                int kh = h / (c.heads / c.kvHeads), last = c.causal ? pos : q.count - 1, lo = c.window ? std::max(0, pos - c.window + 1) : 0;
                std::vector<double> w(last + 1, 0);
                double top = -INFINITY, sum = 0;
                for (int p = lo; p <= last; p++) {
                    double dot = 0;
                    for (int d = 0; d < D; d++) dot += qv[d] * caches[s][((size_t)kh * q.capacity + p) * D + d];
                    w[p] = dot * a.scale, top = std::max(top, w[p]);
                }
                for (int p = lo; p <= last; p++) sum += w[p] = exp(w[p] - top);
                for (int d = 0; d < D; d++) {
                    double o = 0;
                    for (int p = lo; p <= last; p++) o += w[p] * caches[s][((size_t)(c.kvHeads + kh) * q.capacity + p) * D + d];
                    ref[((size_t)r * c.heads + h) * D + d] = o / sum;
                }
            }
        }
    }
    char name[240];
    snprintf(name, 240, "%s heads %d/%d dim %d rotary %d%s kv %s window %d%s%s in %s base %d count %d seqs %d seed %llu", decode ? "attn_decode" : strict ? "attn_prefill strict" : "attn_prefill",
             c.heads, c.kvHeads, D, c.rotary, c.interleaved ? "i" : "", c.kvFmt ? "f16" : "f32", c.window, c.causal ? "" : " full", c.norms ? " norms" : "", fmtName(inFmt), c.base[0], c.count[0], S, seed);
    double limit = inFmt == FMT_BF16 ? 8e-3 : inFmt == FMT_F16 ? 1.5e-3 : decode || strict ? (c.kvFmt ? (c.norms ? 5e-5 : 1e-5) : 3e-6) : 2e-3; // a rounding of k to f16 may fall either way
    auto verify = [&](const std::string& name) {
        std::vector<float> raw32 = dout.host(), y(ref.size());
        const unsigned short* y16 = (const unsigned short*)raw32.data();
        for (int r = 0; r < rows; r++)
            for (int d = 0; d < c.heads * D; d++) {
                size_t at = (size_t)r * ldo + d;
                y[(size_t)r * c.heads * D + d] = outFmt == FMT_F32 ? raw32[at] : outFmt == FMT_F16 ? half2f(y16[at]) : bf2f(y16[at]);
            }
        report(name, compare(y, ref), limit);
    };
    verify(name);
    for (int splits = 2; decode && hopper && splits <= 8; splits++) {
        checks++;
        CU(cudaMemset(dout.p, 0xff, dout.n * 4));
        launch(attn_decode_cluster, attnMeetLaunch(a, splits), a);
        verify(std::string(name) + " cluster " + std::to_string(splits));
    }
    if (!decode && strict && attnStrict64(a)) {
        checks++;
        CU(cudaMemset(dout.p, 0xff, dout.n * 4));
        launch(attn_strict64, attnStrict64Launch(a), a);
        verify(std::string(name) + " 64");
    }
    if (!decode && !strict && hopper && attnTiles(a)) {
        checks++;
        CU(cudaMemset(dout.p, 0xff, dout.n * 4));
        launch(D == 64 ? attn_tiles64 : attn_tiles128, attnTilesLaunch(a), a);
        verify(std::string(name) + " tiles");
    }
    // A kernel that appends: from the caches and rows as they were before the append.
    auto appends = [&](const char* kind, void (*kernel)(AttentionArgs), Launch l) {
        checks++;
        CU(cudaMemset(dout.p, 0xff, dout.n * 4));
        CU(cudaMemcpy(dx.p, xin.data(), xin.size(), cudaMemcpyHostToDevice));
        for (int s = 0; s < S; s++) CU(cudaMemcpy(devs[s]->p, raw[s].data(), raw[s].size(), cudaMemcpyHostToDevice));
        launch(kernel, l, a);
        verify(std::string(name) + kind);
        for (int s = 0; s < S; s++) {
            const Seq& q = hseqs[s];
            const std::vector<unsigned char> now = devs[s]->host();
            const size_t per = (size_t)c.kvHeads * q.capacity * D, at0 = layer * 2 * per;
            std::vector<float> got;
            std::vector<double> want;
            bool untouched = memcmp(now.data(), raw[s].data(), at0 * kvEl) == 0;
            for (int h = 0; h < 2 * c.kvHeads; h++)
                for (int p = 0; p < q.capacity; p++) {
                    const size_t at = ((size_t)h * q.capacity + p) * D;
                    const unsigned char* from = now.data() + (at0 + at) * kvEl;
                    if (p < q.base || p >= q.length) untouched &= memcmp(from, raw[s].data() + (at0 + at) * kvEl, D * kvEl) == 0;
                    else for (int d = 0; d < D; d++) {
                        float v;
                        unsigned short b;
                        if (c.kvFmt) memcpy(&b, from + d * 2, 2), v = half2f(b); else memcpy(&v, from + d * 4, 4);
                        got.push_back(v), want.push_back(caches[s][at + d]);
                    }
                }
            report(std::string(name) + kind + ": cache", compare(got, want), c.kvFmt ? 1e-4 : 2e-6);
            if (!untouched) report(std::string(name) + kind + ": wrote elsewhere in the cache", {INFINITY, 0}, 0);
        }
    };
    if (!decode && !strict && hopper && attnShort(a)) appends(" short", D == 64 ? attn_short64 : attn_short128, attnShortLaunch(a));
    if (!decode && !strict && attnPlain(a)) {
        appends(" few", attn_few, attnFewLaunch(a));
        if (hopper) appends(" tiles that append", attn_tiles64_appends, attnTilesLaunch(a));
    }
    auto ctr = counters.host();
    for (int v : ctr) if (v) { report(std::string(name) + ": counters not reset", {INFINITY, 0}, 0); break; }
    for (auto* d : devs) delete d;
}

// strictly: only prompts in strict float32.
static void attentions(bool strictly) {
    unsigned long long seed = 1000;
    for (int kv = 0; kv < 2; kv++) {
        std::vector<AttnCase> dec = {
            {12, 12, 64, 0, 0, kv, 0, true, false, {200}, {1}}, {12, 12, 64, 0, 0, kv, 0, true, false, {0}, {1}},
            {32, 8, 64, 64, 0, kv, 0, true, false, {1000}, {1}}, {32, 32, 128, 128, 1, kv, 0, true, false, {1920}, {1}},
            {4, 2, 80, 40, 0, kv, 0, true, true, {77}, {1}}, {6, 2, 96, 96, 0, kv, 50, true, true, {333}, {1}},
            {3, 1, 5, 2, 0, kv, 0, true, false, {40}, {1}}, {16, 1, 256, 64, 1, kv, 0, true, false, {99}, {1}},
            {10, 1, 33, 32, 0, kv, 7, true, true, {64}, {1}}, {8, 8, 64, 64, 0, kv, 0, true, false, {5, 0, 300, 17}, {1, 1, 1, 1}},
            {14, 2, 64, 64, 0, kv, 0, true, false, {130, 31}, {1, 1}},
        };
        if (!strictly) for (auto& c : dec) attention(c, FMT_F32, FMT_F32, true, false, seed++);
        std::vector<AttnCase> pre = {
            {12, 12, 64, 0, 0, kv, 0, true, false, {0}, {130}}, {8, 2, 64, 64, 0, kv, 0, true, false, {37}, {65}},
            {4, 4, 128, 128, 1, kv, 0, true, false, {0}, {200}}, {4, 2, 80, 40, 0, kv, 0, true, true, {11, 0}, {9, 100}},
            {6, 2, 96, 96, 0, kv, 20, true, true, {3}, {150}}, {3, 1, 5, 2, 0, kv, 0, true, false, {40}, {33}},
            {2, 1, 256, 64, 1, kv, 0, true, false, {9}, {70}}, {3, 1, 33, 32, 0, kv, 7, true, true, {64, 0, 1}, {10, 90, 1}},
            {12, 12, 64, 0, 0, kv, 0, false, false, {0, 0, 0}, {50, 129, 3}}, {4, 4, 32, 32, 0, kv, 0, false, true, {0}, {77}},
            {4, 4, 64, 64, 0, kv, 9, false, false, {0}, {100}},
            {6, 3, 128, 128, 0, kv, 0, true, true, {300, 0, 5}, {140, 1, 513}}, {4, 1, 128, 64, 1, kv, 70, true, false, {0, 17}, {401, 260}},
            {4, 2, 64, 32, 0, kv, 33, true, true, {130}, {390}}, {2, 2, 128, 0, 0, kv, 0, false, false, {0, 0}, {300, 129}},
            {2, 1, 64, 24, 1, kv, 0, true, false, {2}, {257}},
            {6, 2, 64, 0, 0, kv, 0, true, false, {37, 0, 130}, {65, 9, 301}}, {4, 4, 64, 0, 0, kv, 50, true, false, {0, 20}, {128, 200}}, {2, 2, 64, 0, 0, kv, 9, true, false, {1000}, {17}},
            {3, 1, 64, 0, 0, kv, 0, true, false, {0, 31, 0}, {1, 33, 32}}, {2, 2, 64, 0, 0, kv, 100, true, false, {0}, {530}},
        };
        for (auto& c : pre) {
            attention(c, FMT_F32, FMT_F32, false, true, seed++);
            if (strictly) continue;
            attention(c, FMT_F32, FMT_F32, false, false, seed++);
            attention(c, FMT_F16, FMT_F16, false, false, seed++);
            attention(c, FMT_BF16, FMT_F32, false, false, seed++);
        }
    }
}
