// Prompts of whole models, and matrix-matrix products and attention alone.
#pragma once
#include "speed_timing.h"

static void gemmShape(const char* what, int fmt, bool tf32, int m, int n, int k, bool gated = false, bool residual = false) {
    const int copies = 4; // rotate the weights so that L2 does not hold them
    std::vector<Mat*> w;
    for (int i = 0; i < copies; i++) w.push_back(new Mat(n, k, fmt));
    const int xf = computeFmt(fmt), ma = roundUp(m, 128);
    Mat x(ma, k, xf);
    Dev<float> y((size_t)ma * roundUp(n, 64));
    Dev<float> work(16 << 20);
    Dev<int> counters(65536);
    Dev<unsigned short> scratch(fmt >= FMT_Q8_0 ? (size_t)roundUp(n, 16) * DeviceWeight::ldOf(k, fmt) : 1);
    LinearArgs a = {};
    a.work = work.p, a.counters = counters.p;
    a.w = w[0]->w, a.x = x.block, a.y = y.p, a.m = m, a.ldx = k, a.ldy = a.ldr = roundUp(gated ? n / 2 : n, 64), a.act = gated ? ACT_SILU : ACT_NONE, a.gated = gated, a.xFmt = xf, a.yFmt = residual || n > 32768 ? FMT_F32 : xf;
    if (residual) a.residual = y.p;
    auto each = [&](std::function<void()> f) { return timeGraph([&] { for (int i = 0; i < copies; i++) { a.w = w[i]->w; f(); } }, 3, 1) / copies; };
    const double work_ = 2.0 * m * n * k / 1e9;
    float ms = each([&] { launch(gemmOf(a, sms, tf32), gemmLaunch(a, sms, tf32), a); });
    printf("gemm %-20s %-5s m %5d n %6d k %6d: %8.1f us %6.1f TFLOP/s", what, tf32 ? "tf32" : fmtName(fmt), m, n, k, ms * 1e3, work_ / ms);
    if (fmt != FMT_F32 || tf32) {
        const Tiles rule = gemmTiles(a, sms);
        printf(" | tiles");
        for (int bn : {256, 192, 160, 128}) {
            for (int s = 1; s <= 4; s++) {
                const int steps = ceilDiv(k * (xf == FMT_F32 ? 4 : 2), 128);
                if (s > 1 && (ceilDiv(steps, ceilDiv(steps, s)) != s || ceilDiv(m, 128) * ceilDiv(n, bn) * s > sms)) continue;
                if (s == 1 && (size_t)m * n > 40e6 && bn == 160) continue;
                ms = each([&] { launchTiles(a, bn, s, scratch.p); });
                printf("  %s%d/%d %.1f us %.0f", bn == rule.bn && s == rule.splits ? "*" : "", bn, s, ms * 1e3, work_ / ms);
            }
        }
        if (fmt >= FMT_Q8_0) {
            ms = each([&] {
                ExpandArgs e = {a.w, scratch.p, 0, 0, nullptr};
                launch(fmt == FMT_Q8_0 ? expand_q8_0 : fmt == FMT_Q4_0 ? expand_q4_0 : expand_q4_1, expandLaunch(a.w), e);
            });
            printf("  expand %.1f us", ms * 1e3);
        }
    }
    printf("\n");
    for (auto* p : w) delete p;
}

// Every way to make a product, for the costs that the launch rules compare: lines of kind, format, m, n, k, width, shares, us.
static void calibrate(const char* what, int fmt, bool tf32, std::vector<int> ms, int n, int k, bool gated, bool residual) {
    const size_t bytes = DeviceWeight::dataBytes(n, k, fmt);
    const int copies = std::max<int>(4, std::min<size_t>(48, (100 << 20) / bytes)), most = 1024;
    std::vector<Mat*> w;
    for (int i = 0; i < copies; i++) w.push_back(new Mat(n, k, fmt));
    const int xf = computeFmt(fmt);
    Mat x(most, k, xf);
    Dev<float> y((size_t)most * roundUp(n, 64)), work(16 << 20), bias(n);
    Dev<int> counters(65536);
    Dev<unsigned short> scratch(fmt >= FMT_Q8_0 ? (size_t)roundUp(n, 16) * DeviceWeight::ldOf(k, fmt) : 1);
    for (int m : ms) {
        LinearArgs a = {};
        a.work = work.p, a.counters = counters.p, a.w = w[0]->w, a.x = x.block, a.y = y.p, a.m = m, a.ldx = k, a.ldy = a.ldr = roundUp(gated ? n / 2 : n, 64);
        a.act = gated ? ACT_SILU : ACT_NONE, a.gated = gated, a.xFmt = xf, a.yFmt = residual ? FMT_F32 : xf, a.bias = bias.p;
        if (residual) a.residual = y.p;
        auto each = [&](const char* kind, int width, int shares, std::function<void()> f) {
            float t = timeGraph([&] { for (int i = 0; i < copies; i++) { a.w = w[i]->w; f(); } }, 1, 1) / copies;
            printf("cal %s %s %s %d %d %d %d %d %d %.2f\n", what, kind, tf32 ? "tf32" : fmtName(fmt), m, n, k, gated, width, shares, t * 1e3);
        };
        const int steps = ceilDiv(k * (xf == FMT_F32 ? 4 : 2), 128);
        if (fmt >= FMT_Q8_0) {
            each("unpack", 128, 1, [&] { launch(gemmOf(a, sms, tf32), gemmLaunch(a, sms, tf32), a); });
        } else if (m <= 512) {
            const Launch l = smallLaunch(a, sms);
            if ((int)l.grid.x * l.grid.y * 64 * 64 * l.grid.z <= (16 << 20)) each("small", 64, l.grid.z, [&] { launch(fmt == FMT_F32 ? gemm_tf32_small : fmt == FMT_F16 ? gemm_f16_small : gemm_bf16_small, l, a); });
        }
        for (int bn : {256, 192, 160, 128}) {
            const int tiles = ceilDiv(m, 128) * ceilDiv(n, bn);
            for (int s : {1, 2, 3, 4}) {
                if (s > 1 && (ceilDiv(steps, ceilDiv(steps, s)) != s || tiles * s > sms)) continue;
                each("tiles", bn, s, [&] { launchTiles(a, bn, s, scratch.p); });
            }
        }
        for (int nt : {128, 64, 32}) {
            const int tiles = ceilDiv(m, nt) * ceilDiv(n, 64);
            if (ceilDiv(m, nt) > 4 || nt > 2 * m) continue;
            for (int s : {1, 2, 3, 4, 5, 6, 8}) {
                if (s > 1 && (s > steps || ceilDiv(steps, ceilDiv(steps, s)) != s || tiles * s > 2 * sms)) continue;
                each("short", nt, s, [&] { launchShort(a, nt, s, scratch.p); });
            }
        }
    }
    for (auto* p : w) delete p;
}
// The same for strict floats: kind, m, n, k, blocks, tiles shared, us and the rule's cost.
static void calibrateStrict(const char* what, std::vector<int> ms, int n, int k) {
    const int copies = std::max<int>(2, std::min<int>(32, (100 << 20) / (4 * n * k)));
    std::vector<Mat*> w;
    for (int i = 0; i < copies; i++) w.push_back(new Mat(n, k, FMT_F32));
    Mat x(1024, k, FMT_F32);
    Dev<float> y((size_t)1024 * roundUp(n, 64)), work(16 << 20), bias(n);
    Dev<int> counters(65536);
    for (int m : ms) {
        LinearArgs a = {};
        a.work = work.p, a.counters = counters.p, a.w = w[0]->w, a.x = x.block, a.y = y.p, a.m = m, a.ldx = k, a.ldy = a.ldr = roundUp(n, 64), a.act = ACT_NONE, a.xFmt = a.yFmt = FMT_F32, a.bias = bias.p;
        const StrictPlan rule = strictPlan(a, sms);
        for (int kind = 0; kind < 3; kind++) {
            const StrictKind& s = strictKinds[kind];
            const int tiles = ceilDiv(m, s.bm) * ceilDiv(n, s.bn), steps = ceilDiv(k, s.unit), slots = sms * s.perSm;
            std::vector<std::pair<int, int>> all = {{tiles, 0}};
            for (int blocks = sms; blocks <= slots; blocks += sms) {
                if (tiles > slots && blocks == slots && tiles % slots) all.push_back({slots, tiles % slots}), all.push_back({slots, tiles % slots + slots});
                if (tiles <= blocks) all.push_back({blocks, tiles});
            }
            for (int share = 2; tiles * share <= slots; share++) all.push_back({tiles * share, tiles});
            for (auto [blocks, together] : all) {
                if (together && together * steps < 2 * blocks) continue;
                if (kind == 0 && tiles * 8 < sms) continue;
                StrictPlan p = {kind, blocks, together, strictCost(a, sms, kind, blocks, together)};
                const Launch l = strictLaunch(a, p);
                float t = timeGraph([&] { for (int i = 0; i < copies; i++) { a.w = w[i]->w; launch(strictOf(kind), l, a); } }, 1, 1) / copies;
                printf("strict %s %d %d %d %d %d %d %.2f %.0f%s\n", what, kind, m, n, k, blocks, together, t * 1e3, p.cost, kind == rule.kind && blocks == rule.blocks && together == rule.together ? " *" : "");
            }
        }
    }
    for (auto* p : w) delete p;
}
static void calibrateAll(bool quick) {
    struct { const char* name; Model m; } models[] = {{"gpt2", GPT2}, {"large", GPT2L}, {"1b", L1B}, {"7b", L7B}};
    for (auto& e : models) {
        const Model& m = e.m;
        const int W = (m.heads + 2 * m.kvHeads) * m.hd;
        auto all = [&](int fmt, bool tf32, std::vector<int> ms) {
            auto name = [&](const char* part) { return std::string(e.name) + "." + part; };
            calibrate(name("qkv").c_str(), fmt, tf32, ms, W, m.d, false, false);
            calibrate(name("o").c_str(), fmt, tf32, ms, m.d, m.d, false, true);
            calibrate(name("up").c_str(), fmt, tf32, ms, m.llama ? 2 * m.f : m.f, m.d, m.llama, false);
            calibrate(name("down").c_str(), fmt, tf32, ms, m.d, m.f, false, true);
        };
        all(FMT_BF16, false, {16, 32, 64, 128, 192, 256, 512});
        if (quick) continue;
        if (m.d < 2048) all(FMT_F32, true, {32, 128, 256, 512});
        if (m.llama) all(FMT_Q4_0, false, {16, 32, 64, 128, 192, 256});
    }
}

static void prefillAttention(Model m, int fmt, int T, int kvFmt) {
    const int W = (m.heads + 2 * m.kvHeads) * m.hd, D = m.hd;
    Mat x(T, W, fmt);
    Dev<float> out((size_t)roundUp(T, 128) * m.d);
    Dev<unsigned char> kv((size_t)2 * m.kvHeads * D * T * 4);
    std::vector<Row> rows;
    for (int i = 0; i < T; i++) rows.push_back({0, i, 0, 0});
    Dev<Row> dr(rows);
    Dev<Seq> ds(std::vector<Seq>{{kv.p, nullptr, T, kvFmt, 0, T, 0, T, {0, 0}}});
    AttentionArgs a = {};
    const int es = fmt == FMT_F32 ? 4 : 2;
    a.b = {dr.p, ds.p, nullptr, T, 1, 0, T};
    a.q = x.block, a.k = (char*)x.block + m.heads * D * es, a.v = (char*)x.block + (m.heads + m.kvHeads) * D * es, a.out = out.p;
    a.ldq = a.ldk = a.ldv = W, a.ldo = m.d, a.heads = m.heads, a.kvHeads = m.kvHeads, a.headDim = D, a.scale = 0.125f, a.causal = 1, a.inFmt = fmt, a.outFmt = fmt, a.kvFmt = kvFmt;
    Dev<float2> cs((size_t)T * D / 2);
    if (m.llama) a.rope = {cs.p, D, D, 0, D / 2};
    float t0 = timeGraph([&] { launch(kv_append, appendLaunch(a), a); }, 5);
    for (int strict = 0; strict <= (fmt == FMT_F32); strict++) {
        auto k = strict ? attn_prefill_f32 : attn_prefill;
        float t = timeGraph([&] { launch(k, attnPrefillLaunch(a, strict), a); }, 5);
        if (strict && attnStrict64(a)) {
            float u = timeGraph([&] { launch(attn_strict64, attnStrict64Launch(a), a); }, 5);
            printf("attention %-12s %-5s T %5d strict, heads of 64: %8.1f us %7.1f TFLOP/s\n", m.name, fmtName(fmt), T, u * 1e3, 2.0 * T * T * D * m.heads / u / 1e9);
        }
        if (!strict && attnTiles(a)) {
            float u = timeGraph([&] { launch(D == 64 ? attn_tiles64 : attn_tiles128, attnTilesLaunch(a), a); }, 5);
            printf("attention %-12s %-5s kv %s T %5d tiles: %8.1f us %7.1f TFLOP/s\n", m.name, fmtName(fmt), kvFmt ? "f16" : "f32", T, u * 1e3, 2.0 * T * T * D * m.heads / u / 1e9);
        }
        printf("attention %-12s %-5s T %5d%s: append %6.1f us, attend %8.1f us %7.1f TFLOP/s (causal half)\n", m.name, fmtName(fmt), T, strict ? " strict" : "", t0 * 1e3, t * 1e3,
               2.0 * T * T * D * m.heads / t / 1e9);
    }
}

// What a prompt's launches are chosen by, to try others.
struct Choice {
    int shortAttention = 128; // tokens up to which attn_short appends in the same launch
    bool appends = true;      // attn_few, attn_tiles64_appends
    int fewMost = 512;        // tokens up to which attn_few
    bool warps = true;        // normalize_warps
    bool half = true;         // q, k and v in f16
    bool strict64 = true;     // attn_strict64
    int plans[4][2] = {};     // of qkv, o, up, down: width (negative: short) and shares; 0: the rule's
} choice;
// All of a prompt of T tokens but the embedding, as one graph: the launches that a program makes, with `rows` logits at the end.
static void prefillModel(Model m, int fmt, bool tf32, int T, int rows, bool compareOld = true) {
    const int D = m.hd, W = (m.heads + 2 * m.kvHeads) * D, xf = computeFmt(fmt), kvFmt = fmt == FMT_F32 ? 0 : 1, up = m.llama ? 2 * m.f : m.f, ma = roundUp(T, 128), es = xf == FMT_F32 ? 4 : 2;
    std::vector<Mat*> all;
    for (int l = 0; l < m.layers; l++) for (auto shape : {std::pair<int, int>(W, m.d), {m.d, m.d}, {up, m.d}, {m.d, m.f}}) all.push_back(new Mat(shape.first, shape.second, fmt));
    Mat head(m.vocab, m.d, fmt);
    Dev<float> vec(std::vector<float>(65536 * 2, 0.5f)), x((size_t)ma * m.d), logits((size_t)roundUp(rows, 128) * roundUp(m.vocab, 64)), work(16 << 20);
    Dev<float> normed((size_t)ma * m.d), qkv((size_t)ma * W), att((size_t)ma * m.d), mid((size_t)ma * m.f);
    Dev<unsigned short> scratch(fmt >= FMT_Q8_0 ? (size_t)roundUp(std::max(up, m.vocab), 16) * DeviceWeight::ldOf(std::max(m.d, m.f), fmt) : 1);
    Dev<int> counters(65536);
    Dev<unsigned char> kv((size_t)2 * m.kvHeads * D * T * 4);
    std::vector<Row> hr;
    for (int i = 0; i < T; i++) hr.push_back({0, i, 0, 0});
    Dev<Row> dr(hr);
    Dev<Seq> ds(std::vector<Seq>{{kv.p, nullptr, T, kvFmt, 0, T, 0, T, {0, 0}}});
    Dev<float2> cs((size_t)T * D / 2);
    const BatchRef b = {dr.p, ds.p, nullptr, T, 1, 0, T};
    const bool strict = fmt == FMT_F32 && !tf32;
    const int qf = xf != FMT_F32 && choice.half ? FMT_F16 : xf;
    fillBits<<<256, 256>>>((u32*)x.p, x.n, 0x80ffffffu, 0x3c000000u);
    auto norm = [&](int count) {
        NormArgs a = {{vec.p, m.llama ? nullptr : vec.p, 1e-5f, m.llama ? NORM_RMS : NORM_LAYER, m.d, 0}, x.p, normed.p, count, m.d, m.d, m.d, xf, 0, nullptr};
        if (choice.warps) launchNorm(a);
        else launch(normalize, {dim3(count), 256, 0}, a);
    };
    auto linear = [&](const Mat& w, const void* in, void* y, int yFmt, int count, bool residual, int act, bool gated, bool bias, bool old, int part = -1) {
        LinearArgs a = {};
        a.w = w.w, a.x = in, a.y = y, a.m = count, a.ldx = w.w.k, a.ldy = a.ldr = roundUp(gated ? w.w.n / 2 : w.w.n, 64), a.act = act, a.gated = gated, a.xFmt = xf, a.yFmt = yFmt;
        a.bias = bias ? vec.p : nullptr, a.residual = residual ? (float*)y : nullptr, a.work = work.p, a.counters = counters.p;
        if (count <= 8) {
            a.xFmt = FMT_F32;
            launch(gemvOf(fmt, a.m), gemvLaunch(a, sms), a);
        } else if (old || strict) {
            launch(gemmOf(a, sms, tf32), gemmLaunch(a, sms, tf32), a);
        } else {
            Plan p = gemmPlan(a, sms);
            if (part >= 0 && choice.plans[part][0]) p = {choice.plans[part][0] < 0 ? SHORT : TILES, abs(choice.plans[part][0]), choice.plans[part][1]};
            if (p.kind == SHORT) launchShort(a, p.width, p.splits, scratch.p);
            else launchTiles(a, p.width, p.splits, scratch.p);
        }
    };
    AttentionArgs a = {};
    a.b = b, a.q = qkv.p, a.k = (char*)qkv.p + m.heads * D * es, a.v = (char*)qkv.p + (m.heads + m.kvHeads) * D * es, a.out = att.p;
    a.ldq = a.ldk = a.ldv = W, a.ldo = m.d, a.heads = m.heads, a.kvHeads = m.kvHeads, a.headDim = D, a.scale = 0.125f, a.causal = 1, a.inFmt = qf, a.outFmt = xf, a.kvFmt = kvFmt;
    if (m.llama) a.rope = {cs.p, D, D, 0, D / 2};
    float ms[2] = {}, part[7] = {};
    for (int old = compareOld; old >= 0; old--) {
        auto layer = [&](int l, int only) {
            auto want = [&](int i) { return only < 0 || only == i; };
            if (want(0)) norm(T);
            if (want(1)) linear(*all[4 * l], normed.p, qkv.p, qf, T, false, ACT_NONE, false, !m.llama, old, 0);
            const bool few = !old && !strict && choice.appends && attnPlain(a), brief = !few && !old && !strict && T <= choice.shortAttention && attnShort(a);
            if (want(2) && !brief && !few) launch(kv_append, appendLaunch(a), a);
            if (want(3)) {
                if (few && T <= choice.fewMost) launch(attn_few, attnFewLaunch(a), a);
                else if (few) launch(attn_tiles64_appends, attnTilesLaunch(a), a);
                else if (brief) launch(D == 64 ? attn_short64 : attn_short128, attnShortLaunch(a), a);
                else if (!old && !strict && attnTiles(a)) launch(D == 64 ? attn_tiles64 : attn_tiles128, attnTilesLaunch(a), a);
                else if (strict && choice.strict64 && attnStrict64(a)) launch(attn_strict64, attnStrict64Launch(a), a);
                else launch(strict ? attn_prefill_f32 : attn_prefill, attnPrefillLaunch(a, strict), a);
            }
            if (want(4)) linear(*all[4 * l + 1], att.p, x.p, FMT_F32, T, true, ACT_NONE, false, !m.llama, old, 1);
            if (only < 0) norm(T);
            if (want(5)) linear(*all[4 * l + 2], normed.p, mid.p, xf, T, false, m.llama ? ACT_SILU : ACT_GELU_TANH, m.llama, !m.llama, old, 2);
            if (want(6)) linear(*all[4 * l + 3], mid.p, x.p, FMT_F32, T, true, ACT_NONE, false, !m.llama, old, 3);
        };
        ms[old] = timeGraph([&] {
            for (int l = 0; l < m.layers; l++) layer(l, -1);
            if (rows > 8) norm(rows);
            linear(head, rows > 8 ? normed.p : x.p, logits.p, FMT_F32, rows, false, ACT_NONE, false, false, old);
        }, 3, 2);
        if (!old) for (int i = 0; i < 7; i++) part[i] = timeGraph([&] { for (int l = 0; l < m.layers; l++) layer(l, i); }, 3, 1) / m.layers * 1e3;
    }
    printf("prompt %-12s %-5s %5d tokens, %4d logits: %8.3f ms %7.0f tok/s (without tiles %8.3f ms) | us a layer: norm %.1f qkv %.1f append %.1f attend %.1f o %.1f up %.1f down %.1f\n", m.name, tf32 ? "tf32" : fmtName(fmt), T, rows,
           ms[0], T / ms[0] * 1e3, ms[1], part[0], part[1], part[2], part[3], part[4], part[5], part[6]);
    for (auto* p : all) delete p;
}

// GPT-2's prompts by every choice.
static void choices() {
    auto all = [](const char* what, std::vector<int> lengths = {32, 128, 256, 512, 1024}) {
        printf("-- %s\n", what);
        for (int t : lengths) prefillModel(GPT2, FMT_BF16, false, t, 1, false);
        choice = Choice();
    };
    choice.appends = choice.warps = choice.half = false;
    all("as before");
    choice.appends = choice.warps = false;
    all("f16 q, k, v");
    choice.appends = false;
    all("norms by warps");
    all("attention appends");
    choice.fewMost = 256;
    all("large blocks from 257 tokens on", {512});
    choice.fewMost = 1024;
    all("small blocks up to 1024 tokens", {1024});
    auto plan = [&](int part, int width, int shares, std::vector<int> lengths) {
        choice.plans[part][0] = width, choice.plans[part][1] = shares;
        char what[80];
        snprintf(what, 80, "%s by %s%d, %d shares", part == 0 ? "qkv" : part == 1 ? "o" : part == 2 ? "up" : "down", width < 0 ? "short" : "tiles", abs(width), shares);
        all(what, lengths);
    };
    for (int s : {3, 4}) plan(3, 128, s, {512});
    for (int s : {2, 3, 4}) plan(3, -128, s, {512});
    for (int w : {128, 192, 256}) plan(2, w, 1, {1024});
    plan(0, 192, 1, {1024});
}
