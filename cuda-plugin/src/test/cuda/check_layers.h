// Layers of one row in two launches, against the definition in double.
#pragma once
#include "harness.h"

struct LayerCase {
    int width, heads, kvHeads, dim, hidden; bool llama; // RMS norms, rotation, gated and no biases; else as GPT-2
    bool headNorms, interleaved; int window, past, before /* parts of the stream that comes in */, clusters /* 0: the rule */;
};

static std::vector<double> normed(const std::vector<double>& v, const std::vector<float>& w, const std::vector<float>& b, bool layer, size_t from, size_t n) {
    double mean = 0, sq = 0;
    for (size_t i = 0; i < n; i++) mean += v[from + i];
    mean = layer ? mean / n : 0;
    for (size_t i = 0; i < n; i++) sq += (v[from + i] - mean) * (v[from + i] - mean);
    std::vector<double> y(n);
    for (size_t i = 0; i < n; i++) y[i] = (v[from + i] - mean) / sqrt(sq / n + 1e-5f) * w[i] + (layer ? b[i] : 0);
    return y;
}
static std::vector<double> times(const Raw& w, const std::vector<double>& x) {
    std::vector<double> y(w.n);
#pragma omp parallel for
    for (int n = 0; n < w.n; n++) {
        double s = 0;
        for (int k = 0; k < w.k; k++) s += x[k] * w.values[(size_t)n * w.k + k];
        y[n] = s;
    }
    return y;
}

static void layer(int fmt, int kvFmt, LayerCase c, unsigned long long seed) {
    Random rnd(seed);
    checks++;
    const int D = c.dim, Q = c.heads * D, K = c.kvHeads * D, W = c.width, capacity = c.past + 3;
    auto floats = [&](int n, float mid, float by) { std::vector<float> v(n); for (auto& e : v) e = mid + by * rnd.uniform(); return v; };
    Raw rq = randomRaw(Q + 2 * K, W, fmt, rnd), ro = randomRaw(W, Q, fmt, rnd), ru = randomRaw(c.hidden, W, fmt, rnd), rg = randomRaw(c.hidden, W, fmt, rnd), rd = randomRaw(W, c.hidden, fmt, rnd);
    DeviceWeight wq(Q + 2 * K, W, fmt), wo(W, Q, fmt), wu(c.llama ? 2 * c.hidden : c.hidden, W, fmt), wd(W, c.hidden, fmt);
    wq.put(rq, 0, 1), wo.put(ro, 0, 1), wd.put(rd, 0, 1);
    if (c.llama) wu.put(rg, 0, 2), wu.put(ru, 1, 2);
    else wu.put(ru, 0, 1);
    auto x = floats(W, 0.3f, 2), inBias = floats(W, 0, 1), parts = floats(32 * W, 0, 1), n1 = floats(W, 1, 0.3f), b1 = floats(W, 0, 0.2f), n2 = floats(W, 1, 0.3f), b2 = floats(W, 0, 0.2f);
    auto bq = floats(Q + 2 * K, 0, 0.5f), bo = floats(W, 0, 0.5f), bu = floats(c.hidden, 0, 0.5f), bd = floats(W, 0, 0.5f), hq = floats(D, 1, 0.3f), hk = floats(D, 1, 0.3f), hb = floats(D, 0, 0.2f);
    // the cache of two layers, of which this is the second; what is not yet there is not a number
    const size_t per = (size_t)c.kvHeads * capacity * D;
    std::vector<float> cache(2 * per, NAN);
    for (int h = 0; h < 2 * c.kvHeads; h++)
        for (int i = 0; i < c.past * D; i++) cache[(size_t)h * capacity * D + i] = roundTo(rnd.uniform(), kvFmt ? FMT_F16 : FMT_F32);
    const int es = kvFmt ? 2 : 4;
    std::vector<unsigned char> bytes(4 * per * es, 0xff);
    for (size_t i = 0; i < 2 * per; i++) {
        unsigned short half = f2half(cache[i]);
        memcpy(&bytes[(2 * per + i) * es], kvFmt ? (void*)&half : (void*)&cache[i], es);
    }
    std::vector<float2> cs(D / 2);
    for (int i = 0; i < D / 2; i++) cs[i] = {(float)cos(c.past * pow(10000.0, -2.0 * i / D)), (float)sin(c.past * pow(10000.0, -2.0 * i / D))};
    Dev<unsigned char> kv(bytes);
    Dev<Seq> seq(std::vector<Seq>{{kv.p, nullptr, capacity, kvFmt, 0, 1, c.past, c.past + 1, {0, 0}}});
    Dev<Row> row(std::vector<Row>{{0, c.past, 0, 0}});
    Dev<float> dx(x), dInBias(inBias), dParts(parts), dn1(n1), db1(b1), dn2(n2), db2(b2), dbq(bq), dbo(bo), dbu(bu), dbd(bd), dhq(hq), dhk(hk), dhb(hb);
    Dev<float> first(W, 0xff), second(W, 0xff), attParts(32 * W, 0xff), mlpParts(32 * W, 0xff), middle(W, 0xff), out(W, 0xff);
    Dev<float2> dcs(cs);
    const int kind = c.llama ? NORM_RMS : NORM_LAYER;
    LayerAttentionArgs a = {};
    a.in = {dx.p, c.before ? dInBias.p : nullptr, dParts.p, first.p, c.before, W};
    a.norm = {dn1.p, c.llama ? nullptr : db1.p, 1e-5f, kind, W, 0};
    a.qkv = wq.w, a.o = wo.w, a.bias = c.llama ? nullptr : dbq.p, a.parts = attParts.p, a.b = {row.p, seq.p, nullptr, 1, 1, 0, 1};
    if (c.headNorms) a.qNorm = {dhq.p, nullptr, 1e-5f, NORM_RMS, D, 0}, a.kNorm = {dhk.p, dhb.p, 1e-5f, NORM_LAYER, D, 0};
    if (c.llama) a.rope = {dcs.p, D, D, c.interleaved, D / 2};
    a.kvOffset = 2ll * c.kvHeads * D, a.heads = c.heads, a.kvHeads = c.kvHeads, a.headDim = D, a.window = c.window, a.scale = 1 / sqrtf((float)D), a.kvFmt = kvFmt;
    const bool quant = fmt >= FMT_Q8_0;
    const int together = quant ? 2 : 1; // heads of a cluster
    if (quant) launch(layerAttentionQuantOf(fmt, kvFmt, std::min(together, c.heads / c.kvHeads), D), layerAttentionQuantLaunch(a), a);
    else launch(layerAttentionOf(fmt), layerAttentionLaunch(a), a);
    LayerMlpArgs m = {};
    m.in = {first.p, c.llama ? nullptr : dbo.p, attParts.p, second.p, c.heads / together, W};
    m.norm = {dn2.p, c.llama ? nullptr : db2.p, 1e-5f, kind, W, 0};
    m.up = wu.w, m.down = wd.w, m.bias = c.llama ? nullptr : dbu.p, m.parts = mlpParts.p, m.act = c.llama ? ACT_SILU : ACT_GELU_TANH, m.gated = c.llama;
    const Launch g = quant ? layerMlpQuantLaunch(m, c.clusters) : layerMlpLaunch(m, sms, c.clusters);
    launch(quant ? layerMlpQuantOf(fmt, W) : layerMlpOf(fmt), g, m);
    LayerSumArgs s = {{second.p, c.llama ? nullptr : dbd.p, mlpParts.p, out.p, (int)g.grid.x, W}, W, 0, nullptr};
    launch(layer_sum, layerSumLaunch(s), s);
    CU(cudaDeviceSynchronize());
    // reference
    std::vector<double> stream(W);
    for (int i = 0; i < W; i++) {
        stream[i] = x[i] + (c.before ? inBias[i] : 0);
        for (int p = 0; p < c.before; p++) stream[i] += parts[p * W + i];
    }
    const std::vector<double> come = stream;
    auto qkv = times(rq, normed(stream, n1, b1, !c.llama, 0, W));
    if (!c.llama) for (int i = 0; i < Q + 2 * K; i++) qkv[i] += bq[i];
    for (int h = 0; h < c.heads + c.kvHeads; h++) {
        std::vector<double> v(qkv.begin() + h * D, qkv.begin() + (h + 1) * D);
        if (c.headNorms) v = normed(v, h < c.heads ? hq : hk, hb, h >= c.heads, 0, D);
        for (int i = 0; c.llama && i < D / 2; i++) {
            const int p = c.interleaved ? 2 * i : i, q = c.interleaved ? p + 1 : p + D / 2;
            const double u = v[p], w = v[q];
            v[p] = u * cs[i].x - w * cs[i].y, v[q] = w * cs[i].x + u * cs[i].y;
        }
        std::copy(v.begin(), v.end(), qkv.begin() + h * D);
    }
    std::vector<float> fresh;
    std::vector<double> expected;
    auto after = kv.host();
    for (int h = 0; h < 2 * c.kvHeads; h++) {
        for (int d = 0; d < D; d++) {
            const size_t at = ((size_t)h * capacity + c.past) * D + d;
            expected.push_back(qkv[Q + h * D + d]);
            unsigned short half;
            float f;
            memcpy(&half, &after[(2 * per + at) * es], 2), memcpy(&f, &after[(2 * per + at) * es], es);
            fresh.push_back(kvFmt ? half2f(half) : f);
            cache[at] = roundTo((float)expected.back(), kvFmt ? FMT_F16 : FMT_F32);
        }
    }
    std::vector<double> att(Q);
    double most = 0; // score
    for (int h = 0; h < c.heads; h++) {
        const int kh = h / (c.heads / c.kvHeads), lo = c.window ? std::max(0, c.past - c.window + 1) : 0;
        const float *keys = &cache[(size_t)kh * capacity * D], *values = &cache[((size_t)c.kvHeads + kh) * capacity * D];
        std::vector<double> w(c.past + 1);
        double top = -INFINITY, total = 0;
        for (int p = lo; p <= c.past; p++) {
            for (int d = 0; d < D; d++) w[p] += qkv[h * D + d] * keys[p * D + d] * a.scale;
            top = std::max(top, w[p]), most = std::max(most, fabs(w[p]));
        }
        for (int p = lo; p <= c.past; p++) total += w[p] = exp(w[p] - top);
        for (int p = lo; p <= c.past; p++) for (int d = 0; d < D; d++) att[h * D + d] += w[p] / total * values[p * D + d];
    }
    auto y = times(ro, att);
    for (int i = 0; i < W; i++) stream[i] += y[i] + (c.llama ? 0 : bo[i]);
    const std::vector<double> mid = stream, row2 = normed(stream, n2, b2, !c.llama, 0, W);
    auto hidden = times(ru, row2), gate = c.llama ? times(rg, row2) : hidden;
    for (int i = 0; i < c.hidden; i++) hidden[i] = c.llama ? actRef(gate[i], ACT_SILU) * hidden[i] : actRef(hidden[i] + bu[i], ACT_GELU_TANH);
    y = times(rd, hidden);
    for (int i = 0; i < W; i++) stream[i] += y[i] + (c.llama ? 0 : bd[i]);
    char name[200];
    snprintf(name, 200, "layer %s, cache %s, width %d heads %d/%d of %d hidden %d%s past %d window %d before %d clusters %d (%d) seed %llu", fmtName(fmt), kvFmt ? "f16" : "f32", W, c.heads, c.kvHeads, D, c.hidden,
             c.llama ? " llama" : "", c.past, c.window, c.before, c.heads / together, (int)g.grid.x, seed);
    report(std::string(name) + ": the stream", compare(first.host(), come), 3e-7);
    report(std::string(name) + ": new keys and values", compare(fresh, expected), kvFmt ? 4e-4 : 2e-6);
    // a rounding of keys and values may fall either way; a score's error is relative, so that of its weight grows with it
    // q4_1's d q and m cancel each other, as check_linear.h allows
    const double limit = kvFmt ? 4e-5 : std::max(fmt == FMT_Q4_1 ? 2e-6 : 1e-6, 5e-7 * most);
    report(std::string(name) + ": between", compare(second.host(), mid), limit);
    report(std::string(name) + ": output", compare(out.host(), stream), limit);
}

static void layers(const std::vector<int>& formats) {
    if (!hopper) return;
    const std::vector<LayerCase> cases = {
        {768, 12, 12, 64, 3072, false, false, false, 0, 128, 16, 0}, {768, 12, 12, 64, 3072, false, false, false, 0, 0, 0, 0},
        {576, 9, 3, 64, 1536, true, false, false, 20, 37, 15, 0},    {64, 4, 2, 16, 160, true, true, true, 0, 5, 3, 0},
        {512, 8, 8, 128, 1024, false, false, false, 0, 700, 32, 0}, {1024, 16, 16, 64, 1024, false, false, false, 0, 130, 15, 0}, {96, 3, 1, 32, 200, true, false, true, 0, 64, 1, 7},
        {320, 4, 4, 80, 640, false, true, false, 300, 1000, 8, 3},   {128, 32, 4, 8, 64, true, true, false, 0, 9, 8, 2},
    };
    const std::vector<LayerCase> quants = { // heads of 64, then of 128
        {2048, 32, 8, 64, 8192, true, false, false, 0, 128, 16, 0},    {2048, 32, 8, 64, 1056, true, false, false, 0, 1000, 8, 0},   {2048, 32, 8, 64, 1024, true, false, true, 0, 300, 16, 5},
        {768, 12, 12, 64, 3072, false, false, false, 0, 128, 12, 0},   {768, 12, 12, 64, 3072, false, false, false, 0, 0, 0, 24},    {768, 12, 12, 64, 800, false, false, false, 300, 700, 24, 0},
        {256, 4, 2, 64, 160, true, true, true, 0, 5, 3, 0},            {1280, 20, 20, 64, 640, false, true, false, 0, 77, 10, 0},    {1024, 16, 8, 64, 1024, true, true, false, 20, 131, 32, 3},
        {512, 8, 4, 64, 2048, false, false, false, 0, 63, 5, 0},
        {4096, 32, 32, 128, 1024, true, false, false, 0, 128, 15, 0},  {4096, 32, 8, 128, 512, true, false, true, 0, 1000, 16, 0},   {2560, 20, 20, 128, 704, false, false, false, 0, 63, 10, 3},
        {3072, 24, 4, 128, 800, true, true, true, 300, 700, 12, 0},    {1024, 8, 8, 128, 640, false, true, false, 0, 0, 0, 0},       {2048, 16, 8, 128, 1056, true, true, false, 20, 131, 16, 5},
        {256, 2, 2, 128, 160, true, true, true, 0, 5, 3, 0},
    };
    int part = 0, of = 1;
    if (getenv("PART")) sscanf(getenv("PART"), "%d/%d", &part, &of);
    unsigned long long seed = 1;
    for (int fmt : formats)
        for (int kv : {0, 1})
            for (auto& c : fmt < FMT_Q8_0 ? cases : quants) {
                if (int(seed % of) == part % of) layer(fmt, kv, c, seed);
                seed++;
            }
}
