// Every kernel against double on the CPU. usage: check [embed|sample|gemv|gemm|attention|attention-strict|layers|layers-quant]... (all of them without a word);
// VERBOSE=1 prints every case; PART=1/8: an eighth of the layers, for slow tools. Exits 1 when one is off.
#include "harness.h"
cudaStream_t stream;
int sms, failures;
bool pdl = true;
static int checks;
static bool hopper; // compute capability 9.0
#include "check_attention.h"
#include "check_layers.h"
#include "check_linear.h"
#include "check_sample.h"

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
    queryClusters();
    auto part = [&](const char* name, std::function<void()> body) {
        if (argc > 1 && std::find(argv + 1, argv + argc, std::string(name)) == argv + argc) return;
        const int before = checks;
        body();
        printf("%s: %d checks\n", name, checks - before);
        fflush(stdout); // what was reached when a time limit ends this
    };
    part("embed", embeds);
    part("sample", samplers);
    part("gemv", [] { linears(true, false); });
    part("gemm", [] { linears(false, true); });
    part("attention", [] { attentions(false); });
    if (argc > 1) part("attention-strict", [] { attentions(true); }); // a part of attention
    part("layers", [] { layers({FMT_F32, FMT_F16, FMT_BF16}); });
    part("layers-quant", [] { layers({FMT_Q8_0, FMT_Q4_0, FMT_Q4_1}); });
    printf("%d checks on %s, %d failures\n", checks, prop.name, failures);
    return failures != 0 || checks == 0;
}
