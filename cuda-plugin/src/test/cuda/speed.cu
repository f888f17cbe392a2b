// Times the kernels in the shapes of real models, as CUDA graphs with programmatic dependent launch, beside the card's own
// roofs of the same run. usage: speed [roof|decode|sweep|gemm|prompt|prefill]... or speed one 7b|1b|gpt2 q4_0|q8_0|bf16 POSITION
// [parts]. FMT=4: the sweeps of that format only; COPIES=1: of one matrix, which L2 holds if it can.
#include "harness.h"
cudaStream_t stream;
int sms, failures;
bool pdl = true;
static double readRoof = 4553;

__global__ void fillBits(u32* p, size_t n, u32 keep, u32 set) {
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
        u32 x = (u32)i * 747796405u + 2891336453u;
        x = ((x >> ((x >> 28) + 4)) ^ x) * 277803737u;
        p[i] = (((x >> 22) ^ x) & keep) | set;
    }
}
__global__ void readAll(const uint4* p, size_t n, u32* out) {
    u32 acc = 0;
    size_t T = (size_t)gridDim.x * blockDim.x, i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
    for (; i + 7 * T < n; i += 8 * T) {
        uint4 r[8];
#pragma unroll
        for (int u = 0; u < 8; u++) r[u] = __ldcs(p + i + u * T);
#pragma unroll
        for (int u = 0; u < 8; u++) acc ^= r[u].x ^ r[u].y ^ r[u].z ^ r[u].w;
    }
    if (acc == 0x12345) *out = acc;
}

static float median(std::vector<float> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}
// Milliseconds of one replay of what `body` launches.
static float timeGraph(std::function<void()> body, int reps = 20, int warm = 3) {
    cudaGraph_t g;
    cudaGraphExec_t e;
    body(); // sets attributes, loads modules
    CU(cudaStreamSynchronize(stream));
    CU(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    body();
    CU(cudaStreamEndCapture(stream, &g));
    CU(cudaGraphInstantiate(&e, g, 0));
    cudaEvent_t a, b;
    CU(cudaEventCreate(&a));
    CU(cudaEventCreate(&b));
    for (int i = 0; i < warm; i++) CU(cudaGraphLaunch(e, stream));
    std::vector<float> t;
    for (int i = 0; i < 5; i++) { // reps launches back to back: a token's steps follow each other as in decode
        CU(cudaEventRecord(a, stream));
        for (int r = 0; r < reps; r++) CU(cudaGraphLaunch(e, stream));
        CU(cudaEventRecord(b, stream));
        CU(cudaEventSynchronize(b));
        float ms;
        CU(cudaEventElapsedTime(&ms, a, b));
        t.push_back(ms / reps);
    }
    CU(cudaGraphExecDestroy(e));
    CU(cudaGraphDestroy(g));
    return median(t);
}

struct Model { const char* name; int layers, d, f, heads, kvHeads, hd, vocab; bool llama; };
static const Model GPT2 = {"gpt2", 12, 768, 3072, 12, 12, 64, 50257, false}, GPT2L = {"gpt2-large", 36, 1280, 5120, 20, 20, 64, 50257, false};
static const Model L1B = {"llama-3.2-1b", 16, 2048, 8192, 32, 8, 64, 128256, true}, L7B = {"llama-2-7b", 32, 4096, 11008, 32, 32, 128, 32000, true};

struct Mat {
    Weight w;
    void* block;
    double bytes;
    Mat(int n, int k, int fmt) {
        size_t db = DeviceWeight::dataBytes(n, k, fmt), sb = DeviceWeight::scaleBytes(n, k, fmt);
        bytes = db + sb;
        size_t total = (db + 255) / 256 * 256 + sb;
        CU(cudaMalloc(&block, total + 256));
        char* s = (char*)block + (db + 255) / 256 * 256;
        u32 keep = fmt == FMT_F32 ? 0x80ffffffu : fmt == FMT_F16 ? 0x83ff83ffu : fmt == FMT_BF16 ? 0x80ff80ffu : ~0u;
        u32 set = fmt == FMT_F32 ? 0x3c000000u : fmt == FMT_F16 ? 0x20002000u : fmt == FMT_BF16 ? 0x3c003c00u : 0;
        fillBits<<<1024, 256>>>((u32*)block, db / 4, keep, set);
        if (sb) fillBits<<<256, 256>>>((u32*)s, sb / 4, 0x00ff00ffu, 0x14001400u);
        w = {block, s, n, k, DeviceWeight::ldOf(k, fmt), fmt};
    }
    ~Mat() { cudaFree(block); }
};
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
        lastGrid = l.grid.x;
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
        launch(attn_decode, attnDecodeLaunch(a, sms, reach), a);
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

// Sweeps the slices of a matrix in the decode chain's surroundings: a norm'd linear and its consumer.
static void sweep(const char* what, int fmt, int n, int k, bool norm, bool gated) {
    const int copies = getenv("COPIES") ? atoi(getenv("COPIES")) : 12;
    auto again = [&](std::function<void(int)> f) { for (int i = 0; i < 12; i++) f(i % copies); };
    std::vector<Mat*> w;
    for (int i = 0; i < copies; i++) w.push_back(new Mat(n, k, fmt));
    Dev<float> vec(std::vector<float>(65536 * 4, 0.5f)), x(65536), y(262144);
    struct R { float us; int ks, grid; };
    std::vector<R> all;
    const bool quant = fmt >= FMT_Q8_0;
    LinearArgs a = {};
    a.w = w[0]->w, a.x = x.p, a.y = y.p, a.m = 1, a.ldx = roundUp(k, 64), a.ldy = a.ldr = n, a.act = gated ? ACT_SILU : ACT_NONE, a.gated = gated, a.bias = vec.p;
    if (norm) a.norm = {vec.p, vec.p, 1e-5f, NORM_LAYER, k, 0};
    Launch rule = gemvLaunch(a, sms);
    R ruled = {0, a.kSlices, (int)rule.grid.x};
    for (int ks = 1; ks <= 8; ks *= 2) {
        if (ks > 1 && ks * (quant ? 128 : 256) > 2 * k) continue;
        Launch l = gemvLaunch(a, sms, ks);
        float ms = timeGraph([&] { again([&](int i) { a.w = w[i]->w; launch(gemvOf(fmt, a.m), l, a); }); }, 10, 1) / 12;
        all.push_back({ms * 1e3f, ks, (int)l.grid.x});
    }
    std::sort(all.begin(), all.end(), [](R p, R q) { return p.us < q.us; });
    printf("sweep %-16s %-5s n %6d k %5d %6.2f us of bytes:", what, fmtName(fmt), n, k, w[0]->bytes / readRoof / 1e3);
    for (int i = 0; i < 5 && i < (int)all.size(); i++) printf("  %.2f (ks%d g%d)", all[i].us, all[i].ks, all[i].grid);
    for (auto& r : all) if (r.ks == ruled.ks) printf("  rule %.2f (ks%d g%d)", r.us, r.ks, r.grid);
    printf("\n");
    for (auto* p : w) delete p;
}

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
        for (int bn : {256, 160, 128}) {
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
        for (int bn : {256, 160, 128}) {
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
        if (!strict && attnTiles(a)) {
            float u = timeGraph([&] { launch(D == 64 ? attn_tiles64 : attn_tiles128, attnTilesLaunch(a), a); }, 5);
            printf("attention %-12s %-5s kv %s T %5d tiles: %8.1f us %7.1f TFLOP/s\n", m.name, fmtName(fmt), kvFmt ? "f16" : "f32", T, u * 1e3, 2.0 * T * T * D * m.heads / u / 1e9);
        }
        printf("attention %-12s %-5s T %5d%s: append %6.1f us, attend %8.1f us %7.1f TFLOP/s (causal half)\n", m.name, fmtName(fmt), T, strict ? " strict" : "", t0 * 1e3, t * 1e3,
               2.0 * T * T * D * m.heads / t / 1e9);
    }
}

static int shortAttention = 128; // tokens up to which attention appends in the same launch
// All of a prompt of T tokens but the embedding, as one graph: the launches that a program makes, with `rows` logits at the end.
static void prefillModel(Model m, int fmt, bool tf32, int T, int rows) {
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
    fillBits<<<256, 256>>>((u32*)x.p, x.n, 0x80ffffffu, 0x3c000000u);
    auto norm = [&](int count) {
        NormArgs a = {{vec.p, m.llama ? nullptr : vec.p, 1e-5f, m.llama ? NORM_RMS : NORM_LAYER, m.d, 0}, x.p, normed.p, count, m.d, m.d, m.d, xf, 0, nullptr};
        launch(normalize, {dim3(count), 256, 0}, a);
    };
    auto linear = [&](const Mat& w, const void* in, void* y, int yFmt, int count, bool residual, int act, bool gated, bool bias, bool old) {
        LinearArgs a = {};
        a.w = w.w, a.x = in, a.y = y, a.m = count, a.ldx = w.w.k, a.ldy = a.ldr = roundUp(gated ? w.w.n / 2 : w.w.n, 64), a.act = act, a.gated = gated, a.xFmt = xf, a.yFmt = yFmt;
        a.bias = bias ? vec.p : nullptr, a.residual = residual ? (float*)y : nullptr, a.work = work.p, a.counters = counters.p;
        if (count <= 8) {
            a.xFmt = FMT_F32;
            launch(gemvOf(fmt, a.m), gemvLaunch(a, sms), a);
        } else if (old || strict) {
            launch(gemmOf(a, sms, tf32), gemmLaunch(a, sms, tf32), a);
        } else {
            const Plan p = gemmPlan(a, sms);
            if (p.kind == SHORT) launchShort(a, p.width, p.splits, scratch.p);
            else launchTiles(a, p.width, p.splits, scratch.p);
        }
    };
    AttentionArgs a = {};
    a.b = b, a.q = qkv.p, a.k = (char*)qkv.p + m.heads * D * es, a.v = (char*)qkv.p + (m.heads + m.kvHeads) * D * es, a.out = att.p;
    a.ldq = a.ldk = a.ldv = W, a.ldo = m.d, a.heads = m.heads, a.kvHeads = m.kvHeads, a.headDim = D, a.scale = 0.125f, a.causal = 1, a.inFmt = xf, a.outFmt = xf, a.kvFmt = kvFmt;
    if (m.llama) a.rope = {cs.p, D, D, 0, D / 2};
    float ms[2], part[7] = {};
    for (int old = 1; old >= 0; old--) {
        auto layer = [&](int l, int only) {
            auto want = [&](int i) { return only < 0 || only == i; };
            if (want(0)) norm(T);
            if (want(1)) linear(*all[4 * l], normed.p, qkv.p, xf, T, false, ACT_NONE, false, !m.llama, old);
            const bool brief = !old && !strict && T <= shortAttention && attnShort(a);
            if (want(2) && !brief) launch(kv_append, appendLaunch(a), a);
            if (want(3)) {
                if (brief) launch(D == 64 ? attn_short64 : attn_short128, attnShortLaunch(a), a);
                else if (!old && !strict && attnTiles(a)) launch(D == 64 ? attn_tiles64 : attn_tiles128, attnTilesLaunch(a), a);
                else launch(strict ? attn_prefill_f32 : attn_prefill, attnPrefillLaunch(a, strict), a);
            }
            if (want(4)) linear(*all[4 * l + 1], att.p, x.p, FMT_F32, T, true, ACT_NONE, false, !m.llama, old);
            if (only < 0) norm(T);
            if (want(5)) linear(*all[4 * l + 2], normed.p, mid.p, xf, T, false, m.llama ? ACT_SILU : ACT_GELU_TANH, m.llama, !m.llama, old);
            if (want(6)) linear(*all[4 * l + 3], mid.p, x.p, FMT_F32, T, true, ACT_NONE, false, !m.llama, old);
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

int main(int argc, char** argv) {
    cudaDeviceProp prop;
    CU(cudaGetDeviceProperties(&prop, 0));
    sms = prop.multiProcessorCount;
    CU(cudaStreamCreate(&stream));
    auto want = [&](const char* s) {
        if (argc == 1) return true;
        for (int i = 1; i < argc; i++) if (!strcmp(argv[i], s)) return true;
        return false;
    };
    {
        size_t n = 4ull << 30;
        Dev<unsigned char> big(n);
        fillBits<<<2048, 256>>>((u32*)big.p, n / 4, ~0u, 0);
        Dev<u32> out(1);
        float ms = timeGraph([&] { readAll<<<132 * 4, 512, 0, stream>>>((const uint4*)big.p, n / 16, out.p); }, 3);
        readRoof = n / ms / 1e6;
        printf("%s: read roof %.0f GB/s\n", prop.name, readRoof);
    }
    if (want("decode")) {
        decodeModel(GPT2, FMT_BF16, 128, true);
        decodeModel(L1B, FMT_BF16, 128, true);
        decodeModel(L1B, FMT_Q4_0, 128, true);
        decodeModel(L7B, FMT_BF16, 4, true);
        decodeModel(L7B, FMT_Q4_0, 4, true);
        decodeModel(L7B, FMT_Q4_0, 1920, true);
        decodeModel(GPT2, FMT_F32, 128, false);
        decodeModel(GPT2, FMT_Q8_0, 128, false);
        decodeModel(L1B, FMT_Q8_0, 128, false);
    }
    if (argc > 1 && !strcmp(argv[1], "one")) { // one model fmt pos
        Model m = !strcmp(argv[2], "gpt2") ? GPT2 : !strcmp(argv[2], "1b") ? L1B : L7B;
        int fmt = !strcmp(argv[3], "bf16") ? FMT_BF16 : !strcmp(argv[3], "q8_0") ? FMT_Q8_0 : FMT_Q4_0;
        decodeModel(m, fmt, atoi(argv[4]), argc > 5);
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "probe")) { // one layer's step, for ncu: probe [1b|7b|gpt2] [bf16|q4_0] [position]
        Model m = !strcmp(argv[2], "gpt2") ? GPT2 : !strcmp(argv[2], "1b") ? L1B : L7B;
        m.layers = 1;
        const int pos = atoi(argv[4]);
        Decoder d(m, !strcmp(argv[3], "bf16") ? FMT_BF16 : FMT_Q4_0, pos + 1024);
        CU(cudaDeviceSynchronize());
        for (int i = 0; i < 2; i++) {
            d.reset(pos);
            d.step();
            CU(cudaDeviceSynchronize());
        }
    }
    if (want("sweep")) {
        auto skip = [](int fmt) { return getenv("FMT") && atoi(getenv("FMT")) != fmt; };
        for (int fmt : {FMT_BF16, FMT_Q8_0}) {
            if (skip(fmt)) continue;
            sweep("gpt2 qkv", fmt, 2304, 768, true, false);
            sweep("gpt2 o", fmt, 768, 768, false, false);
            sweep("gpt2 up", fmt, 3072, 768, true, false);
            sweep("gpt2 down", fmt, 768, 3072, false, false);
            sweep("gpt2 head", fmt, 50257, 768, true, false);
        }
        for (int fmt : {FMT_BF16, FMT_Q4_0}) {
            if (skip(fmt)) continue;
            sweep("1b qkv", fmt, 3072, 2048, true, false);
            sweep("1b o", fmt, 2048, 2048, false, false);
            sweep("1b gate+up", fmt, 16384, 2048, true, true);
            sweep("1b down", fmt, 2048, 8192, false, false);
            sweep("1b head", fmt, 128256, 2048, true, false);
            sweep("7b qkv", fmt, 12288, 4096, true, false);
            sweep("7b o", fmt, 4096, 4096, false, false);
            sweep("7b gate+up", fmt, 22016, 4096, true, true);
            sweep("7b down", fmt, 4096, 11008, false, false);
        }
    }
    if (want("gemm")) {
        for (int fmt : {FMT_BF16, FMT_Q4_0, FMT_Q8_0}) {
            gemmShape("7B qkv", fmt, false, 1920, 12288, 4096);
            gemmShape("7B o", fmt, false, 1920, 4096, 4096, false, true);
            gemmShape("7B gate+up", fmt, false, 1920, 22016, 4096, true);
            gemmShape("7B down", fmt, false, 1920, 4096, 11008, false, true);
        }
        for (int t = 0; t < 3; t++) {
            int fmt = t == 0 ? FMT_BF16 : FMT_F32;
            gemmShape("large qkv", fmt, t == 1, 1024, 3840, 1280);
            gemmShape("large o", fmt, t == 1, 1024, 1280, 1280, false, true);
            gemmShape("large up", fmt, t == 1, 1024, 5120, 1280);
            gemmShape("large down", fmt, t == 1, 1024, 1280, 5120, false, true);
            gemmShape("large head", fmt, t == 1, 1024, 50257, 1280);
        }
        gemmShape("gpt2 qkv 128", FMT_BF16, false, 128, 2304, 768);
        gemmShape("gpt2 o 128", FMT_BF16, false, 128, 768, 768);
        gemmShape("gpt2 up 128", FMT_BF16, false, 128, 3072, 768);
        gemmShape("gpt2 down 128", FMT_BF16, false, 128, 768, 3072);
        gemmShape("square", FMT_BF16, false, 8192, 8192, 8192);
    }
    if (argc > 1 && !strncmp(argv[1], "calibrate", 9)) calibrateAll(!strcmp(argv[1], "calibrate-quick"));
    if (want("short")) {
        for (int most : {0, 1024}) {
            shortAttention = most;
            for (int t : {16, 32, 64, 128, 256, 512}) prefillModel(GPT2, FMT_BF16, false, t, 1);
            for (int t : {64, 128, 256, 512}) prefillModel(L1B, FMT_BF16, false, t, 1);
            for (int t : {64, 256}) prefillModel(L7B, FMT_Q4_0, false, t, 1);
        }
        shortAttention = 128;
        prefillModel(GPT2, FMT_F32, true, 128, 1);
    }
    if (want("prompt")) {
        prefillModel(L7B, FMT_BF16, false, 1920, 1);
        prefillModel(L7B, FMT_Q4_0, false, 1920, 1);
        prefillModel(GPT2L, FMT_BF16, false, 1024, 1024);
        prefillModel(GPT2L, FMT_F32, true, 1024, 1024);
        prefillModel(GPT2L, FMT_F32, false, 1024, 1024);
        prefillModel(GPT2, FMT_BF16, false, 128, 1);
    }
    if (want("prefill")) {
        for (int kv : {1, 0}) prefillAttention(L7B, FMT_BF16, 1920, kv);
        prefillAttention(L7B, FMT_F16, 1920, 1);
        for (int fmt : {FMT_BF16, FMT_F32}) prefillAttention(GPT2L, fmt, 1024, fmt == FMT_BF16);
        prefillAttention(GPT2, FMT_BF16, 128, 1);
    }
}
