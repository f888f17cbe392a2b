// Every kernel against double on the CPU: usage: check [VERBOSE=1]. Exits 1 when one is off.
#include "harness.h"
cudaStream_t stream;
int sms, failures;
bool pdl = true;
static int checks;
static bool hopper; // compute capability 9.0

struct Case { int m, n, k; bool norm, bias, gated, residual; int act; };

static void linear(int fmt, Case c, bool gemm, bool tf32, int yFmt, int normKind, unsigned long long seed) {
    Random rnd(seed);
    checks++;
    const int width = c.gated ? c.n : c.n, rows = c.gated ? 2 * c.n : c.n;
    Raw r0 = randomRaw(c.n, c.k, fmt, rnd), r1 = randomRaw(c.gated ? c.n : 1, c.k, fmt, rnd);
    DeviceWeight w(rows, c.k, fmt);
    w.put(r0, 0, c.gated ? 2 : 1);
    if (c.gated) w.put(r1, 1, 2);
    const int ldx = roundUp(c.k, 64), ldy = roundUp(width, 64), mAlloc = roundUp(c.m, 128);
    std::vector<float> x((size_t)c.m * ldx, NAN), nw(c.k), nb(c.k), bias(rows), res((size_t)c.m * ldy);
    for (int m = 0; m < c.m; m++) for (int k = 0; k < c.k; k++) x[(size_t)m * ldx + k] = rnd.uniform() * 2 + 0.3f;
    for (auto& v : nw) v = 1 + 0.3f * rnd.uniform();
    for (auto& v : nb) v = 0.2f * rnd.uniform();
    for (auto& v : bias) v = rnd.uniform();
    for (auto& v : res) v = rnd.uniform();
    const int xFmt = gemm ? computeFmt(fmt) : FMT_F32;
    LinearArgs a = {};
    a.w = w.w;
    Dev<float> dx((size_t)mAlloc * ldx, 0xff), dnw(nw), dnb(nb), db(bias), dres(res), dy((size_t)mAlloc * ldy, 0xff);
    CU(cudaMemcpy(dx.p, x.data(), x.size() * 4, cudaMemcpyHostToDevice));
    Dev<unsigned short> dx16((size_t)mAlloc * ldx, 0xff);
    NormRef norm = {dnw.p, normKind == NORM_LAYER ? dnb.p : nullptr, 1e-5f, c.norm ? normKind : NORM_NONE, c.k, 0};
    a.m = c.m, a.ldx = ldx, a.ldy = ldy, a.ldr = ldy, a.act = c.act, a.gated = c.gated, a.xFmt = xFmt, a.yFmt = yFmt;
    a.bias = c.bias ? db.p : nullptr, a.residual = c.residual ? dres.p : nullptr, a.y = dy.p;
    if (gemm && (c.norm || xFmt != FMT_F32)) {
        Dev<float> dn((size_t)mAlloc * ldx, 0xff);
        NormArgs na = {norm, dx.p, xFmt == FMT_F32 ? (void*)dn.p : (void*)dx16.p, c.m, c.k, ldx, ldx, xFmt, 0, nullptr};
        launch(normalize, {dim3(c.m), 256, 0}, na);
        CU(cudaDeviceSynchronize());
        if (xFmt == FMT_F32) CU(cudaMemcpy(dx.p, dn.p, dn.n * 4, cudaMemcpyDeviceToDevice));
    }
    a.x = gemm && xFmt != FMT_F32 ? (void*)dx16.p : (void*)dx.p;
    if (!gemm) a.norm = norm;
    Dev<u64> best(8 * 4096);
    Dev<int> counters(65536);
    Dev<float> work(gemm ? 16 << 20 : 1, 0xff);
    a.work = work.p, a.counters = counters.p;
    Launch l = gemm ? gemmLaunch(a, sms, tf32) : gemvLaunch(a, sms);
    if (!gemm && !c.gated) a.best = best.p;
    // reference
    std::vector<double> ref((size_t)c.m * width);
    for (int m = 0; m < c.m; m++) {
        std::vector<double> v(c.k);
        double mean = 0, sq = 0;
        for (int k = 0; k < c.k; k++) mean += x[(size_t)m * ldx + k];
        mean = normKind == NORM_LAYER ? mean / c.k : 0;
        for (int k = 0; k < c.k; k++) sq += pow(x[(size_t)m * ldx + k] - mean, 2);
        double scale = 1 / sqrt(sq / c.k + 1e-5f);
        for (int k = 0; k < c.k; k++) {
            v[k] = x[(size_t)m * ldx + k];
            if (c.norm) v[k] = (v[k] - mean) * scale * nw[k] + (normKind == NORM_LAYER ? nb[k] : 0);
            v[k] = roundTo((float)v[k], xFmt);
        }
#pragma omp parallel for
        for (int n = 0; n < width; n++) {
            auto dot = [&](const Raw& r) {
                double s = 0;
                for (int k = 0; k < c.k; k++) s += v[k] * r.values[(size_t)n * c.k + k];
                return s;
            };
            double p = dot(r0) + (c.bias ? bias[c.gated ? 2 * n : n] : 0), y;
            if (c.gated) y = actRef(p, c.act) * (dot(r1) + (c.bias ? bias[2 * n + 1] : 0));
            else y = actRef(p, c.act);
            ref[(size_t)m * width + n] = y + (c.residual ? res[(size_t)m * ldy + n] : 0);
        }
    }
    char name[200];
    snprintf(name, 200, "%s_%s m %d n %d k %d%s%s%s%s act %d yFmt %d seed %llu", gemm ? "gemm" : "gemv", tf32 ? "tf32" : fmtName(fmt), c.m, c.n, c.k,
             c.norm ? " norm" : "", c.bias ? " bias" : "", c.gated ? " gated" : "", c.residual ? " residual" : "", c.act, yFmt, seed);
    double limit = !gemm ? 2e-6 : tf32 ? (c.gated ? 1.5e-3 : 6e-4) : fmt == FMT_F32 ? 2e-6 : fmt >= FMT_Q8_0 ? 6e-4 : 5e-6;
    if (gemm && c.norm) limit = std::max(limit, xFmt == FMT_F32 ? 2e-6 : 4e-4); // a rounding of x may fall either way
    if (yFmt == FMT_F16) limit = std::max(limit, 5e-4);
    if (yFmt == FMT_BF16) limit = std::max(limit, 4e-3);
    std::vector<float> y(ref.size());
    auto verify = [&](const std::string& name) {
        std::vector<float> raw = dy.host();
        const unsigned short* y16 = (const unsigned short*)raw.data();
        bool padded = true;
        for (int m = 0; m < c.m; m++) {
            for (int n = 0; n < ldy; n++) {
                size_t at = (size_t)m * ldy + n;
                float v = yFmt == FMT_F32 ? raw[at] : yFmt == FMT_F16 ? half2f(y16[at]) : bf2f(y16[at]);
                if (n < width) y[(size_t)m * width + n] = v;
                else if (yFmt != FMT_F32 && v != 0) padded = false;
            }
        }
        report(name, compare(y, ref), limit);
        if (!padded) report(name + ": padding not zero", {INFINITY, 0}, 0);
        for (int v : counters.host()) if (v) { report(name + ": counters not reset", {INFINITY, 0}, 0); break; }
    };
    if (gemm && hopper && (xFmt != FMT_F32 || tf32)) {
        Dev<unsigned short> scratch(fmt >= FMT_Q8_0 ? (size_t)roundUp(rows, 16) * w.w.ld : 1, 0xff);
        const int steps = ceilDiv(c.k * (xFmt == FMT_F32 ? 4 : 2), 128), ruled = gemmTiles(a, sms).splits;
        for (int bn : {256, 160, 128}) {
            for (int splits : {1, ruled, 3}) {
                if (splits > 1 && ceilDiv(steps, ceilDiv(steps, splits)) != splits) continue;
                checks++;
                CU(cudaMemset(dy.p, 0xff, dy.n * 4));
                launchTiles(a, bn, splits, scratch.p);
                verify(std::string(name) + " tiles " + std::to_string(bn) + "/" + std::to_string(splits));
            }
        }
        for (int nt : {128, 64, 32}) {
            for (int splits : {1, 2, 3, 5, 8}) {
                if (splits > steps || ceilDiv(steps, ceilDiv(steps, splits)) != splits) continue;
                checks++;
                CU(cudaMemset(dy.p, 0xff, dy.n * 4));
                launchShort(a, nt, splits, scratch.p);
                verify(std::string(name) + " short " + std::to_string(nt) + "/" + std::to_string(splits));
            }
        }
        CU(cudaMemset(dy.p, 0xff, dy.n * 4));
    }
    launch(gemm ? gemmOf(a, sms, tf32) : gemvOf(fmt, a.m), l, a);
    verify(name);
    if (a.best) {
        auto b = best.host();
        for (int m = 0; m < c.m; m++) {
            u64 top = 0;
            for (unsigned i = 0; i < l.grid.x; i++) top = std::max(top, b[(size_t)m * l.grid.x + i]);
            int want = 0;
            for (int n = 1; n < width; n++) if (y[(size_t)m * width + n] > y[(size_t)m * width + want]) want = n;
            if (int(~u32(top)) != want) report(std::string(name) + ": argmax", {INFINITY, 0}, 0);
        }
    }
}

static void linears() {
    unsigned long long seed = 1;
    for (int fmt = 0; fmt < 6; fmt++) {
        int q = fmt >= FMT_Q8_0;
        std::vector<Case> cases = {
            {1, 768, 768, true, true, false, true, ACT_NONE}, {1, 2304, 768, true, true, false, false, ACT_NONE},
            {1, 3072, 768, true, true, false, false, ACT_GELU_TANH}, {1, 768, 3072, false, true, false, true, ACT_NONE},
            {1, 50257, 768, true, false, false, false, ACT_NONE}, {1, 5504, 2048, true, false, true, false, ACT_SILU},
            {1, 1024, 11008, false, false, false, true, ACT_NONE}, {1, 1, 64, false, true, false, false, ACT_RELU},
            {1, 37, q ? 96 : 41, true, true, false, true, ACT_GELU}, {1, 7, q ? 32 : 3, false, false, true, true, ACT_TANH},
            {2, 300, 1056, true, true, false, true, ACT_NONE}, {3, 129, 4128, true, false, true, false, ACT_SILU},
            {4, 96, 8192, true, true, false, true, ACT_NONE}, {5, 1000, 768, true, true, false, true, ACT_GELU},
            {1, 4003, 4128, true, true, false, true, ACT_NONE}, {2, 3301, 11008, false, true, false, true, ACT_NONE},
            {2, 1711, 2208, true, true, true, false, ACT_SILU}, {1, 5000, 4096, true, false, true, false, ACT_SILU},
            {1, 20011, 2144, true, false, false, false, ACT_NONE}, {3, 2200, 4096, true, false, false, true, ACT_NONE},
            {8, 515, 11008, true, false, false, false, ACT_NONE}, {8, 33, q ? 160 : 130, true, true, true, true, ACT_GELU},
        };
        for (auto& c : cases)
            for (int norm = 1; norm <= (c.norm ? 2 : 1); norm++) linear(fmt, c, false, false, FMT_F32, norm, seed++);
        std::vector<Case> big = {
            {9, 768, 768, true, true, false, true, ACT_NONE}, {128, 2304, 768, true, true, false, false, ACT_NONE},
            {77, 515, q ? 160 : 130, false, true, false, true, ACT_GELU}, {300, 257, 1056, true, false, true, false, ACT_SILU},
            {17, 1, q ? 32 : 5, false, true, false, false, ACT_NONE}, {129, 384, 3072, false, true, false, true, ACT_NONE},
            {200, 99, 256, false, true, true, true, ACT_GELU_TANH}, {256, 512, 512, false, false, false, false, ACT_NONE},
            {300, 700, 4096, true, true, false, true, ACT_NONE}, {1100, 1290, 1280, true, true, false, true, ACT_GELU},
            {150, 3000, 256, true, true, true, false, ACT_SILU},
        };
        for (auto& c : big)
            for (int yf = 0; yf < (fmt == FMT_F32 ? 1 : 2); yf++)
                for (int tf = 0; tf <= (fmt == FMT_F32); tf++) linear(fmt, c, true, tf, yf ? computeFmt(fmt) : FMT_F32, NORM_LAYER, seed++);
    }
}

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
    Launch l = decode ? attnDecodeLaunch(a, sms) : Launch{};
    Dev<float> work((size_t)rows * c.heads * std::max(a.splits, 1) * (D + 2), 0xff);
    Dev<int> counters(65536);
    a.work = work.p, a.counters = counters.p;
    if (decode) launch(attn_decode, l, a);
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
    if (!decode && !strict && hopper && attnTiles(a)) {
        checks++;
        CU(cudaMemset(dout.p, 0xff, dout.n * 4));
        launch(D == 64 ? attn_tiles64 : attn_tiles128, attnTilesLaunch(a), a);
        verify(std::string(name) + " tiles");
    }
    if (!decode && !strict && hopper && attnShort(a)) { // from the caches and rows as they were before the append
        checks++;
        CU(cudaMemset(dout.p, 0xff, dout.n * 4));
        CU(cudaMemcpy(dx.p, xin.data(), xin.size(), cudaMemcpyHostToDevice));
        for (int s = 0; s < S; s++) CU(cudaMemcpy(devs[s]->p, raw[s].data(), raw[s].size(), cudaMemcpyHostToDevice));
        launch(D == 64 ? attn_short64 : attn_short128, attnShortLaunch(a), a);
        verify(std::string(name) + " short");
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
            report(std::string(name) + " short: cache", compare(got, want), c.kvFmt ? 1e-4 : 2e-6);
            if (!untouched) report(std::string(name) + " short: wrote elsewhere in the cache", {INFINITY, 0}, 0);
        }
    }
    auto ctr = counters.host();
    for (int v : ctr) if (v) { report(std::string(name) + ": counters not reset", {INFINITY, 0}, 0); break; }
    for (auto* d : devs) delete d;
}

static void attentions() {
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
        for (auto& c : dec) attention(c, FMT_F32, FMT_F32, true, false, seed++);
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
        };
        for (auto& c : pre) {
            attention(c, FMT_F32, FMT_F32, false, true, seed++);
            attention(c, FMT_F32, FMT_F32, false, false, seed++);
            attention(c, FMT_F16, FMT_F16, false, false, seed++);
            attention(c, FMT_BF16, FMT_F32, false, false, seed++);
        }
    }
}

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

static void embeds() {
    Random rnd(5);
    for (int fmt = 0; fmt < 6; fmt++) {
        checks++;
        const int V = 133, W = fmt >= FMT_Q8_0 ? 160 : 77, rows = 9, ld = roundUp(W, 64);
        Raw tok = randomRaw(V, W, fmt, rnd), pos = randomRaw(40, W, FMT_F32, rnd), typ = randomRaw(2, W, FMT_BF16, rnd);
        DeviceWeight dt(V, W, fmt), dpos(40, W, FMT_F32), dty(2, W, FMT_BF16);
        dt.put(tok, 0, 1), dpos.put(pos, 0, 1), dty.put(typ, 0, 1);
        Dev<int> hist(64);
        std::vector<Row> rows_;
        for (int r = 0; r < rows; r++) rows_.push_back({rnd.below(V), 11 + r, r & 1, 0});
        Dev<Row> dr(rows_);
        Dev<Seq> ds(std::vector<Seq>{{nullptr, hist.p, 64, 0, 0, rows, 11, 11 + rows, {0, 0}}});
        Dev<float> out(rows * ld, 0xff);
        EmbedArgs a = {};
        a.t[0] = dt.w, a.t[1] = dpos.w, a.t[2] = dty.w, a.index[1] = 1, a.index[2] = 2, a.offset[1] = 2, a.parts = 3, a.width = W, a.ld = ld, a.out = out.p;
        a.b = {dr.p, ds.p, nullptr, rows, 1, 0, rows};
        launch(embed, {dim3(rows), 256, 0}, a);
        auto o = out.host();
        auto h = hist.host();
        std::vector<float> y;
        std::vector<double> ref;
        for (int r = 0; r < rows; r++) {
            if (h[11 + r] != rows_[r].token) report("embed: history", {INFINITY, 0}, 0);
            for (int c = 0; c < W; c++) {
                y.push_back(o[r * ld + c]);
                ref.push_back((double)tok.values[rows_[r].token * W + c] + pos.values[(11 + r + 2) * W + c] + typ.values[(r & 1) * W + c]);
            }
        }
        report(std::string("embed ") + fmtName(fmt), compare(y, ref), 2e-7);
    }
}

int main(int argc, char** argv) {
    cudaDeviceProp prop;
    CU(cudaGetDeviceProperties(&prop, 0));
    sms = prop.multiProcessorCount;
    hopper = prop.major == 9 && prop.minor == 0;
    CU(cudaStreamCreate(&stream));
    std::string only = argc > 1 ? argv[1] : "";
    if (only.empty() || only == "embed") embeds();
    if (only.empty() || only == "sample") samplers();
    if (only.empty() || only == "linear") linears();
    if (only.empty() || only == "attention") attentions();
    printf("%d checks on %s, %d failures\n", checks, prop.name, failures);
    return failures != 0;
}
