// What the host and the kernels agree on: one by-value struct per kernel. The host writes the fields in this order with
// natural alignment: pointers and long long 8 bytes, int and float 4. Launch geometry stands beside each struct; SM is
// the device's number of multiprocessors.
//
// Every struct ends in `mark`: when not null, each block raises *mark to the device's clock (ns) as it ends.
#pragma once
typedef unsigned int u32;
typedef unsigned long long u64;

enum Fmt { FMT_F32 = 0, FMT_F16 = 1, FMT_BF16 = 2, FMT_Q8_0 = 3, FMT_Q4_0 = 4, FMT_Q4_1 = 5 };
enum ActKind { ACT_NONE = -1, ACT_GELU = 0, ACT_GELU_TANH = 1, ACT_RELU = 2, ACT_SILU = 3, ACT_TANH = 4 };
enum NormKindCode { NORM_NONE = 0, NORM_LAYER = 1, NORM_RMS = 2 };

// A matrix [n][k]. Plain formats: row-major, ld = roundup(k, 64) elements, roundup(n, 16) rows, the rest zero.
// Quantized: tiles of 16 rows x 128 columns in the order [row tile][column tile], ld = roundup(k, 128); see quant.cuh.
struct Weight { const void* data; const void* scales; int n, k, ld, fmt; };
struct NormRef { const float* w; const float* b; float eps; int kind, group, pad; };

// One token, and one sequence of the batch, in device memory; the sampler advances them.
struct Row { int token, position, type, seq; };
struct Seq {
    void* kv; int* history;
    int capacity, kvFmt, start /* first row */, count /* rows */, base /* position of the first row */, length /* positions after the slice */;
    int pad[2];
};
struct BatchRef { const Row* rows; const Seq* seqs; const int* selected; int nRows, nSeqs, nSelected, maxCount; };
struct RopeRef { const float2* cs; int headDim, rotaryDim, interleaved, ldcs; };

// y = epilogue(norm(x) W^T). gated: rows of W alternate gate, up; y[j] = act(gate_j) * up_j, width n / 2.
// gemv_*: m <= 8, x and y F32, kSlices chosen by the launch rule, block formats in grid(blocks, groups of rows of x); gemv_q*_two for
// two rows, _many for more; one row of block formats, and gemv_*_one (9.0 only): grid(clusters, 1, their blocks). gemm_*: norm.kind 0
// (run normalize first).
struct LinearArgs {
    Weight w; NormRef norm;
    const void* x; void* y; const float* bias; const float* residual;
    int m, ldx, ldy, ldr;
    int act, gated, xFmt, yFmt;
    void* work; int* counters;
    u64* best;   // gemv: [m][grid] the block's highest output as (ordered score, ~id); null: not wanted
    int kSlices;                // gemv: warps that share a row (1, 2, 4, 8); one row in clusters: a cluster's row tiles, or pairs of rows
                                // of a plain format, of which the first clusters have one more; gemm_f32*: the last tiles, shared out
    int fresh;                  // gemm_*_tiles*, _short*: the launch before wrote w
    u64* mark;
};
// A CUtensorMap of the driver: x as boxes of 128 bytes x 128 rows, w as boxes of 128 bytes x BN rows, 128-byte swizzle.
struct __align__(64) TensorMap { u64 opaque[16]; };
// gemm_{f16,bf16,tf32}_tiles256, 192, 160, 128 (9.0 only): launch grid(at most SM), block(384); in shares of k: grid(tiles, 1, shares),
// clusters of all shares
// gemm_{f16,bf16,tf32}_short128, 64, 32 (9.0 only): x as boxes of as many rows, w of 64; launch grid(ceil(m / that),
// ceil(n / 64), shares of k), clusters of all shares, block(160)
struct TiledArgs { TensorMap x, w; LinearArgs a; };

// Row tiles (of 16) firstTile .. firstTile + gridDim.y - 1 of a quantized matrix as f16 rows of w.ld elements.
// launch grid(ceil(w.ld / 1024), row tiles), block(256)
struct ExpandArgs { Weight w; void* out; int firstTile, pad; u64* mark; };

// out[r] = sum over parts of table[index + offset]. launch grid(rows), block(256)
struct EmbedArgs { Weight t[3]; int index[3]; int offset[3]; int parts, width, ld, pad; BatchRef b; float* out; u64* mark; };

// cs[row][pair] of every row. launch grid(rows), block(128)
struct AnglesArgs {
    BatchRef b; const double* inv; float2* out; double theta, factor; int original, pairs, ld; float magnitude; u64* mark;
};

// attn_decode: grid(splits, head groups, rows); attn_decode_cluster: grid(rows, head groups, splits), the splits a cluster.
// In decode every sequence has one row and row r is sequence r. Launch rules: src/test/cuda/launch.h and LaunchRules.java.
// work: rows * heads * splits * (headDim + 2) floats; counters: one per block of grid.y * grid.z, zero.
struct AttentionArgs {
    BatchRef b; const void* q; const void* k; const void* v; void* out;
    int ldq, ldk, ldv, ldo; int heads, kvHeads, headDim, window; float scale; int causal;
    long long kvOffset; int inFmt, outFmt, kvFmt, splits; NormRef qNorm, kNorm; RopeRef rope; float* work; int* counters; u64* mark;
};

// launch grid(rows), block(256)
struct NormArgs { NormRef norm; const float* x; void* y; int rows, width, ldx, ldy, yFmt, pad; u64* mark; };
// activation, gate, add, permute, select: launch grid(ceil(width / 1024), rows), block(256)
struct ElementArgs { const float* a; const float* b; float* y; const int* index; int rows, width, lda, ldb, ldy, act; u64* mark; };
// launch grid(rows), block(256)
struct RopeArgs { BatchRef b; RopeRef rope; const float* x; float* y; int width, ldx, ldy, pad; u64* mark; };
// launch grid(ceil(width / 256), nSeqs), block(256)
struct PoolArgs { BatchRef b; const float* x; float* y; int width, ldx, ldy, pooling; u64* mark; };

// Draws the token of position seqs[0].length from one row of logits (which the repeat penalty changes in place), and
// makes it the next step's input: rows[0], seqs[0].base and length, history, out[position & 4095] (mapped host memory), the
// embedding (next.parts > 0) and the angles (angles.out not null).
struct Sampling { float repeatPenalty, temperature; int topK; float topP, minP; int greedy; long long seed; };
// launch grid(1), block(1024). work: 16 * vocab + 65536 bytes
struct SampleArgs {
    float* logits; int vocab, partials /* of best; 0: none */; const Sampling* sampling; Row* rows; Seq* seqs;
    int* out; void* work; const u64* best; EmbedArgs next; AnglesArgs angles; u64* mark;
};

// launch grid(rows), block(256). Raw rows of srcFmt, tight, to rows rowOffset + i * rowStep of the device layout.
struct RepackArgs { const void* raw; void* data; void* scales; int rows, k, ld, fmt, rowOffset, rowStep, srcFmt, pad; u64* mark; };
