// Decode steps of whole models, and matrix-vector products alone.
#pragma once
#include "speed_timing.h"

struct Decoder {
    Model m;
    int fmt;
    std::vector<Mat*> qkv, o, up, down;
    Mat *head, *emb;
    Dev<float> vec, x, qkvOut, att, mid, logits, work;
    Dev<int> counters, hist, out;
    Dev<u64> best;
    Dev<unsigned char> kv, sampleWork;
    Dev<Row> row;
    Dev<Seq> seq;
    Dev<Sampling> sampling;
    Dev<double> inv;
    Dev<float2> cs;
    BatchRef b;
    int capacity, reach = 128;
    double bytes = 0;
    Decoder(Model m, int fmt, int capacity)
        : m(m), fmt(fmt), vec(std::vector<float>(65536 * 2, 0.5f)), x(m.d * 8), qkvOut((m.heads + 2 * m.kvHeads) * m.hd), att(m.d), mid(m.f), logits(m.vocab + 64),
          work(m.heads * 64 * (m.hd + 2)), counters(65536), hist(capacity), out(4096), best(8 * 4096),
          kv((size_t)m.layers * 2 * m.kvHeads * m.hd * capacity * 2), sampleWork(16ull * m.vocab + 65536), row(1), seq(1),
          sampling(std::vector<Sampling>{{1, 0, 0, 1, 0, 1, 0}}), inv(std::vector<double>(64, 0.01)), cs(64), capacity(capacity) {
        for (int l = 0; l < m.layers; l++) {
            qkv.push_back(new Mat((m.heads + 2 * m.kvHeads) * m.hd, m.d, fmt));
            o.push_back(new Mat(m.d, m.d, fmt));
            up.push_back(new Mat(m.llama ? 2 * m.f : m.f, m.d, fmt));
            down.push_back(new Mat(m.d, m.f, fmt));
        }
        head = new Mat(m.vocab, m.d, fmt);
        emb = head;
        for (int l = 0; l < m.layers; l++) bytes += qkv[l]->bytes + o[l]->bytes + up[l]->bytes + down[l]->bytes;
        bytes += head->bytes;
        fillBits<<<1024, 256>>>((u32*)kv.p, kv.n / 4, 0x83ff83ffu, 0x20002000u);
        b = {row.p, seq.p, nullptr, 1, 1, 0, 1};
        reset(128);
    }
    ~Decoder() {
        for (auto* v : {&qkv, &o, &up, &down}) for (auto* w : *v) delete w;
        delete head;
    }
    void reset(int pos) {
        for (reach = 128; reach < pos + 128 && reach < 4096;) reach *= 2; // the steps that are timed
        std::vector<float> h(m.d * 8);
        Random r(3);
        for (auto& v : h) v = r.uniform();
        CU(cudaMemcpy(x.p, h.data(), h.size() * 4, cudaMemcpyHostToDevice));
        Row hr = {1, pos, 0, 0};
        Seq hs = {kv.p, hist.p, capacity, 1, 0, 1, pos, pos + 1, {0, 0}};
        CU(cudaMemcpy(row.p, &hr, sizeof hr, cudaMemcpyHostToDevice));
        CU(cudaMemcpy(seq.p, &hs, sizeof hs, cudaMemcpyHostToDevice));
    }
    void linear(const Mat& w, const float* in, float* y, bool norm, bool residual, int act, bool gated, bool wantBest = false) {
        LinearArgs a = {};
        a.w = w.w, a.x = in, a.y = y, a.m = 1, a.ldx = w.w.k, a.ldy = a.ldr = w.w.n, a.act = act, a.gated = gated;
        if (norm) a.norm = {vec.p, m.llama ? nullptr : vec.p, 1e-5f, m.llama ? NORM_RMS : NORM_LAYER, w.w.k, 0};
        if (!m.llama && !wantBest) a.bias = vec.p;
        if (residual) a.residual = y;
        if (wantBest) a.best = best.p;
        Launch l = gemvLaunch(a, sms);
        lastGrid = l.grid.x * l.grid.z;
        launch(gemvOf(fmt, a.m), l, a);
    }
    unsigned lastGrid = 0;
    void attention(int layer) {
        AttentionArgs a = {};
        const int D = m.hd;
        a.b = b, a.q = qkvOut.p, a.k = qkvOut.p + m.heads * D, a.v = qkvOut.p + (m.heads + m.kvHeads) * D, a.out = att.p;
        a.ldq = a.ldk = a.ldv = qkvOut.n, a.ldo = m.d, a.heads = m.heads, a.kvHeads = m.kvHeads, a.headDim = D, a.scale = 0.125f, a.causal = 1;
        a.kvOffset = 2ll * m.kvHeads * D * layer, a.kvFmt = 1, a.work = work.p, a.counters = counters.p;
        if (m.llama) a.rope = {cs.p, D, D, 0, D / 2};
        launchAttnDecode(a, sms, reach);
    }
    void token() {
        SampleArgs s = {};
        s.logits = logits.p, s.vocab = m.vocab, s.sampling = sampling.p, s.rows = row.p, s.seqs = seq.p, s.out = out.p, s.work = sampleWork.p, s.best = best.p, s.partials = lastGrid;
        s.next.t[0] = emb->w, s.next.parts = 1, s.next.width = m.d, s.next.ld = m.d, s.next.b = b, s.next.out = x.p;
        if (m.llama) s.angles.b = b, s.angles.inv = inv.p, s.angles.out = cs.p, s.angles.pairs = m.hd / 2, s.angles.ld = m.hd / 2, s.angles.magnitude = 1;
        launch(sample, {dim3(1), 1024, 0}, s);
    }
    void qkvStep(int l) { linear(*qkv[l], x.p, qkvOut.p, true, false, ACT_NONE, false); }
    void oStep(int l) { linear(*o[l], att.p, x.p, false, true, ACT_NONE, false); }
    void upStep(int l) { linear(*up[l], x.p, mid.p, true, false, m.llama ? ACT_SILU : ACT_GELU_TANH, m.llama); }
    void downStep(int l) { linear(*down[l], mid.p, x.p, false, true, ACT_NONE, false); }
    void headStep() { linear(*head, x.p, logits.p, true, false, ACT_NONE, false, true); }
    // The same with two launches a layer.
    Dev<float> streams{2 * 4096}, attParts{32 * 4096}, mlpParts{32 * 4096};
    int clusters = 0, mlpParts_ = 0, attParts_ = 0;
    bool quant() { return fmt >= FMT_Q8_0; }
    NormRef norm() { return {vec.p, m.llama ? nullptr : vec.p, 1e-5f, m.llama ? NORM_RMS : NORM_LAYER, m.d, 0}; }
    ResidualRef behindMlp(int l, float* sum) { return {l ? streams.p + m.d : x.p, l && !m.llama ? vec.p : nullptr, mlpParts.p, sum, l ? mlpParts_ : 0, m.d}; }
    void layerAttention(int l) {
        LayerAttentionArgs a = {};
        a.in = behindMlp(l, streams.p), a.norm = norm(), a.qkv = qkv[l]->w, a.o = o[l]->w, a.parts = attParts.p, a.b = b;
        a.kvOffset = 2ll * m.kvHeads * m.hd * l, a.heads = m.heads, a.kvHeads = m.kvHeads, a.headDim = m.hd, a.scale = 0.125f, a.kvFmt = 1;
        if (!m.llama) a.bias = vec.p;
        else a.rope = {cs.p, m.hd, m.hd, 0, m.hd / 2};
        const int of = quant() ? 2 : 1;
        attParts_ = m.heads / of;
        if (quant()) launch(layerAttentionQuantOf(fmt, 1, std::min(of, m.heads / m.kvHeads), m.hd), layerAttentionQuantLaunch(a), a);
        else launch(layerAttentionOf(fmt), layerAttentionLaunch(a), a);
    }
    void layerMlp(int l) {
        LayerMlpArgs a = {};
        a.in = {streams.p, m.llama ? nullptr : vec.p, attParts.p, streams.p + m.d, attParts_, m.d};
        a.norm = norm(), a.up = up[l]->w, a.down = down[l]->w, a.bias = m.llama ? nullptr : vec.p, a.parts = mlpParts.p;
        a.act = m.llama ? ACT_SILU : ACT_GELU_TANH, a.gated = m.llama;
        const Launch g = quant() ? layerMlpQuantLaunch(a, clusters) : layerMlpLaunch(a, sms, clusters);
        mlpParts_ = g.grid.x;
        launch(quant() ? layerMlpQuantOf(fmt, m.d) : layerMlpOf(fmt), g, a);
    }
    void layerSum() {
        LayerSumArgs a = {behindMlp(m.layers, x.p), m.d, 0, nullptr};
        launch(layer_sum, layerSumLaunch(a), a);
    }
    void layersStep() {
        for (int l = 0; l < m.layers; l++) layerAttention(l), layerMlp(l);
        layerSum();
        headStep();
        token();
    }
    void step() {
        for (int l = 0; l < m.layers; l++) qkvStep(l), attention(l), oStep(l), upStep(l), downStep(l);
        headStep();
        token();
    }
};

static void decodeModel(Model m, int fmt, int pos, bool parts) {
    Decoder d(m, fmt, pos + 1024);
    CU(cudaDeviceSynchronize());
    d.reset(pos);
    float ms = timeGraph([&] { d.step(); }, 40);
    double kv = 2.0 * m.layers * 2 * m.kvHeads * m.hd * (pos + 128);
    pdl = false;
    d.reset(pos);
    float plain = timeGraph([&] { d.step(); }, 40);
    pdl = true;
    printf("decode %-13s %-5s after %4d: %8.1f us %7.0f tok/s (no pdl %8.1f us) %7.1f MB weights + %5.1f MB kv, %5.1f%% of the read roof\n", m.name, fmtName(fmt), pos,
           ms * 1e3, 1e3 / ms, plain * 1e3, d.bytes / 1e6, kv / 1e6, 100 * (d.bytes + kv) / (ms * 1e6) / readRoof);
    if (!parts) return;
    auto part = [&](const char* name, double bytes, std::function<void(int)> f) {
        d.reset(pos);
        float t = timeGraph([&] { for (int l = 0; l < m.layers; l++) f(l); }, 20) / m.layers;
        printf("    %-6s %7.2f us  %6.0f GB/s  (bytes alone %6.2f us)\n", name, t * 1e3, bytes / t / 1e6, bytes / readRoof / 1e3);
    };
    part("qkv", d.qkv[0]->bytes, [&](int l) { d.qkvStep(l); });
    part("attn", kv / m.layers, [&](int l) { d.attention(l); });
    part("o", d.o[0]->bytes, [&](int l) { d.oStep(l); });
    part("up", d.up[0]->bytes, [&](int l) { d.upStep(l); });
    part("down", d.down[0]->bytes, [&](int l) { d.downStep(l); });
    part("head", d.head->bytes, [&](int) { d.headStep(); });
    part("token", 0, [&](int) { d.token(); });
}

// Layers of two launches beside those of five: the same logits, and how long.
static void decodeLayers(Model m, int fmt, int pos) {
    Decoder d(m, fmt, pos + 1024);
    CU(cudaDeviceSynchronize());
    d.reset(pos);
    d.step();
    auto expected = d.logits.host();
    d.reset(pos);
    const float before = timeGraph([&] { d.step(); }, 40);
    const std::vector<int> plain = {0, 12, 14, 16}, narrow = {0, 16, 24}, wide = {0, 14}, rule = {0};
    for (int clusters : !d.quant() ? plain : m.d > 2048 ? rule : m.d > 1024 ? wide : narrow) { // 0: the rule
        d.clusters = clusters;
        d.reset(pos);
        d.layersStep();
        auto logits = d.logits.host();
        const Error e = compare(std::vector<float>(logits.begin(), logits.begin() + m.vocab), std::vector<double>(expected.begin(), expected.begin() + m.vocab));
        d.reset(pos);
        const float ms = timeGraph([&] { d.layersStep(); }, 40);
        d.reset(pos);
        float att = timeGraph([&] { for (int l = 1; l < m.layers; l++) d.layerAttention(l); }, 20) / (m.layers - 1);
        d.reset(pos);
        float mlp = timeGraph([&] { for (int l = 1; l < m.layers; l++) d.layerMlp(l); }, 20) / (m.layers - 1);
        float head = timeGraph([&] { d.headStep(); }, 20), sum = timeGraph([&] { for (int l = 1; l < m.layers; l++) d.layerSum(); }, 20) / (m.layers - 1);
        float token = timeGraph([&] { for (int l = 1; l < m.layers; l++) d.token(); }, 20) / (m.layers - 1);
        printf("layers %s %s after %d, clusters %d: %d: %.1f us, before %.1f (logits differ by rms %.1e); attention %.2f mlp %.2f sum %.2f head %.2f token %.2f\n", m.name, fmtName(fmt), pos,
               clusters, d.mlpParts_, ms * 1e3, before * 1e3, e.rms, att * 1e3, mlp * 1e3, sum * 1e3, head * 1e3, token * 1e3);
        fflush(stdout);
    }
}

// Sweeps the slices of a matrix (one row of x: the blocks of a cluster) in the decode chain's surroundings: a norm'd linear and its consumer.
static void sweep(const char* what, int fmt, int n, int k, bool norm, bool gated) {
    const int copies = getenv("COPIES") ? atoi(getenv("COPIES")) : 12;
    auto again = [&](std::function<void(int)> f) { for (int i = 0; i < 12; i++) f(i % copies); };
    std::vector<Mat*> w;
    for (int i = 0; i < copies; i++) w.push_back(new Mat(n, k, fmt));
    Dev<float> vec(std::vector<float>(65536 * 4, 0.5f)), x(65536), y(262144);
    struct R { float us; int ks, grid; };
    std::vector<R> all;
    LinearArgs a = {};
    a.w = w[0]->w, a.x = x.p, a.y = y.p, a.m = 1, a.ldx = roundUp(k, 64), a.ldy = a.ldr = n, a.act = gated ? ACT_SILU : ACT_NONE, a.gated = gated, a.bias = vec.p;
    if (norm) a.norm = {vec.p, vec.p, 1e-5f, NORM_LAYER, k, 0};
    const bool clustered = fmt >= FMT_Q8_0 || gemvOne(a);
    Launch rule = gemvLaunch(a, sms);
    R ruled = {0, clustered ? rule.cluster : a.kSlices, (int)rule.grid.x};
    for (int ks = 1; ks <= 8; ks *= 2) {
        if (ks > 1 && ks * (clustered ? 128 : 256) > 2 * k) continue;
        if (gemvOne(a) && ks > ceilDiv(k, fmt == FMT_F32 ? 128 : 256)) continue;
        Launch l = gemvLaunch(a, sms, ks);
        const int named = clustered ? l.cluster : ks;
        float ms = timeGraph([&] { again([&](int i) { a.w = w[i]->w; launch(gemvOf(fmt, a.m), l, a); }); }, 10, 1) / 12;
        all.push_back({ms * 1e3f, named, (int)l.grid.x});
    }
    std::sort(all.begin(), all.end(), [](R p, R q) { return p.us < q.us; });
    printf("sweep %-16s %-5s n %6d k %5d %6.2f us of bytes:", what, fmtName(fmt), n, k, w[0]->bytes / readRoof / 1e3);
    for (int i = 0; i < 5 && i < (int)all.size(); i++) printf("  %.2f (ks%d g%d)", all[i].us, all[i].ks, all[i].grid);
    for (auto& r : all) if (r.ks == ruled.ks) printf("  rule %.2f (ks%d g%d)", r.us, r.ks, r.grid);
    printf("\n");
    for (auto* p : w) delete p;
}
