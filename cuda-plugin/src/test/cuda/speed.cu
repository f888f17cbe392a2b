// Times the kernels in the shapes of real models, as CUDA graphs with programmatic dependent launch, beside the card's own
// roofs of the same run. usage: speed [roof|decode|layers|layers-quant|sweep|gemm|calibrate|prompt|short|strict|calibrate-strict|prefill]... or speed one 7b|1b|gpt2 q4_0|q8_0|bf16 POSITION
// [parts]. FMT=4: the sweeps of that format only; COPIES=1: of one matrix, which L2 holds if it can.
#include "harness.h"
cudaStream_t stream;
int sms, failures;
bool pdl = true;
static double readRoof = 4553;
#include "speed_decode.h"
#include "speed_prompt.h"

static Model modelOf(const char* name) { return !strcmp(name, "gpt2") ? GPT2 : !strcmp(name, "1b") ? L1B : L7B; }

int main(int argc, char** argv) {
    cudaDeviceProp prop;
    CU(cudaGetDeviceProperties(&prop, 0));
    sms = prop.multiProcessorCount;
    CU(cudaStreamCreate(&stream));
    queryClusters();
    auto want = [&](const char* s) {
        if (argc == 1) return strncmp(s, "calibrate", 9) != 0;
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
    if (want("layers")) {
        for (int fmt : {FMT_BF16, FMT_F32}) for (int pos : {128, 900}) decodeLayers(GPT2, fmt, pos);
        for (Model m : {GPT2M, L135M}) decodeLayers(m, FMT_BF16, 128);
    }
    if (want("layers") || want("layers-quant")) {
        for (int pos : {128, 1920}) decodeLayers(L1B, FMT_Q4_0, pos);
        for (int fmt : {FMT_Q8_0, FMT_Q4_0}) decodeLayers(GPT2, fmt, 128);
        decodeLayers(L1B, FMT_Q8_0, 128);
        for (int fmt : {FMT_Q4_0, FMT_Q8_0}) for (int pos : {4, 1920}) decodeLayers(L7B, fmt, pos);
        for (int pos : {4, 1920}) decodeLayers(L8B, FMT_Q4_0, pos);
        decodeLayers(WIDE, FMT_Q4_0, 128);
    }
    if (argc > 1 && !strcmp(argv[1], "one")) { // one model fmt pos
        Model m = modelOf(argv[2]);
        int fmt = !strcmp(argv[3], "bf16") ? FMT_BF16 : !strcmp(argv[3], "q8_0") ? FMT_Q8_0 : FMT_Q4_0;
        decodeModel(m, fmt, atoi(argv[4]), argc > 5);
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "probe")) { // one layer's step, for ncu: probe [1b|7b|gpt2] [bf16|q4_0] [position]
        Model m = modelOf(argv[2]);
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
    if (argc > 1 && !strncmp(argv[1], "calibrate", 9) && strcmp(argv[1], "calibrate-strict")) calibrateAll(!strcmp(argv[1], "calibrate-quick"));
    if (want("short")) {
        for (int t : {16, 32, 64, 128, 256, 512, 1024}) prefillModel(GPT2, FMT_BF16, false, t, 1);
        for (int t : {64, 128, 256, 512}) prefillModel(L1B, FMT_BF16, false, t, 1);
        for (int t : {64, 256}) prefillModel(L7B, FMT_Q4_0, false, t, 1);
        prefillModel(GPT2, FMT_F32, true, 128, 1);
    }
    if (argc > 1 && !strcmp(argv[1], "choices")) choices();
    if (want("prompt")) {
        prefillModel(L7B, FMT_BF16, false, 1920, 1);
        prefillModel(L7B, FMT_Q4_0, false, 1920, 1);
        prefillModel(GPT2L, FMT_BF16, false, 1024, 1024);
        prefillModel(GPT2L, FMT_F32, true, 1024, 1024);
        prefillModel(GPT2L, FMT_F32, false, 1024, 1024);
        prefillModel(GPT2, FMT_BF16, false, 128, 1);
    }
    if (want("calibrate-strict")) {
        struct { const char* name; Model m; } models[] = {{"gpt2", GPT2}, {"large", GPT2L}};
        for (auto& e : models) {
            const Model& m = e.m;
            const std::vector<int> ms = m.d == 768 ? std::vector<int>{16, 48, 128, 256, 512, 1024} : std::vector<int>{64, 200, 1024};
            calibrateStrict((std::string(e.name) + ".qkv").c_str(), ms, 3 * m.d, m.d);
            calibrateStrict((std::string(e.name) + ".o").c_str(), ms, m.d, m.d);
            calibrateStrict((std::string(e.name) + ".up").c_str(), ms, m.f, m.d);
            calibrateStrict((std::string(e.name) + ".down").c_str(), ms, m.d, m.f);
        }
    }
    if (want("strict")) {
        for (int t : {16, 64, 128, 256, 512, 1024}) prefillAttention(GPT2, FMT_F32, t, 0);
        prefillAttention(GPT2L, FMT_F32, 1024, 0);
        for (bool of64 : {false, true}) {
            choice.strict64 = of64;
            prefillModel(GPT2L, FMT_F32, false, 1024, 1024, false);
            for (int t : {16, 32, 64, 128, 256, 512, 1024}) prefillModel(GPT2, FMT_F32, false, t, 1, false);
        }
    }
    if (want("prefill")) {
        for (int kv : {1, 0}) prefillAttention(L7B, FMT_BF16, 1920, kv);
        prefillAttention(L7B, FMT_F16, 1920, 1);
        for (int fmt : {FMT_BF16, FMT_F32}) prefillAttention(GPT2L, fmt, 1024, fmt == FMT_BF16);
        prefillAttention(GPT2, FMT_BF16, 128, 1);
    }
}
