// Linear maps against sums in double.
#pragma once
#include "harness.h"

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
        launchNorm(na);
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
        for (int bn : {256, 192, 160, 128}) {
            if (!tilesReach(a, bn)) continue;
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
    if (gemm && fmt == FMT_F32 && !tf32) {
        for (int kind = 0; kind < 3; kind++) {
            const StrictKind& s = strictKinds[kind];
            const int tiles = ceilDiv(c.m, s.bm) * ceilDiv(rows, s.bn), steps = ceilDiv(c.k, s.unit);
            for (auto p : {StrictPlan{kind, tiles, 0}, {kind, std::min(sms, tiles), 0}, {kind, 2 * tiles, tiles}, {kind, std::min(sms, 5 * tiles), tiles}, {kind, tiles / 2 + 1, tiles / 2 + 1}, {kind, tiles / 2 + 2, tiles / 3 + 1}}) {
                if (p.together && (p.together * steps < p.blocks || (size_t)p.blocks * 2 * s.bm * s.bn > work.n)) continue;
                checks++;
                CU(cudaMemset(dy.p, 0xff, dy.n * 4));
                const Launch l = strictLaunch(a, p);
                launch(strictOf(kind), l, a);
                verify(std::string(name) + " strict " + std::to_string(kind) + "/" + std::to_string(p.blocks) + "/" + std::to_string(p.together));
            }
        }
        CU(cudaMemset(dy.p, 0xff, dy.n * 4));
        l = gemmLaunch(a, sms, tf32);
    }
    auto verifyBest = [&](const std::string& name, unsigned blocks) {
        auto b = best.host();
        for (int m = 0; a.best && m < c.m; m++) {
            u64 top = 0;
            for (unsigned i = 0; i < blocks; i++) top = std::max(top, b[(size_t)m * blocks + i]);
            int want = 0;
            for (int n = 1; n < width; n++) if (y[(size_t)m * width + n] > y[(size_t)m * width + want]) want = n;
            if (int(~u32(top)) != want) report(name + ": argmax", {INFINITY, 0}, 0);
        }
    };
    if (!gemm && c.m == 1 && hopper) {
        for (int blocks : {1, 2, 4, 8}) {
            if (blocks > ceilDiv(a.w.ld, fmt == FMT_F16 || fmt == FMT_BF16 ? 256 : 128)) continue;
            checks++;
            CU(cudaMemset(dy.p, 0xff, dy.n * 4));
            LinearArgs b = a;
            const Launch other = gemvLaunch(b, sms, blocks);
            launch(gemvOf(fmt, 1), other, b);
            verify(std::string(name) + " blocks " + std::to_string(blocks));
            verifyBest(std::string(name) + " blocks " + std::to_string(blocks), other.grid.x * other.grid.z);
        }
        CU(cudaMemset(dy.p, 0xff, dy.n * 4));
    }
    launch(gemm ? gemmOf(a, sms, tf32) : gemvOf(fmt, a.m), l, a);
    verify(name);
    verifyBest(name, l.grid.x * l.grid.z);
}

// few: matrix-vector kernels, for up to 8 rows; many: matrix-matrix kernels.
static void linears(bool few, bool many) {
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
            for (int norm = 1; norm <= (c.norm ? 2 : 1); norm++, seed++) if (few) linear(fmt, c, false, false, FMT_F32, norm, seed);
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
                for (int tf = 0; tf <= (fmt == FMT_F32); tf++, seed++) if (many) linear(fmt, c, true, tf, yf ? computeFmt(fmt) : FMT_F32, NORM_LAYER, seed);
    }
}
