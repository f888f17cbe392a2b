// What the host and the kernels of whole layers agree on, as abi.cuh.
#pragma once
#include "abi.cuh"

// A residual stream of one row, not yet added up: x + bias + `count` parts of ld elements each. Where `sum` is not null the reader leaves it there.
struct ResidualRef { const float* x; const float* bias; const float* parts; float* sum; int count, ld; };
// One row through half of a layer, on 9.0: each cluster leaves its part of the output in parts[cluster]. Rules: LayerRules.java, and
// TiledLayerRules.java for the kernels of block formats, whose clusters are of as many blocks as share the stream's columns:
// layer_attention_q*_f16_1, _f32_1 (cache; where heads share keys _2): two heads of 64 a cluster, one or two column tiles a block;
// _f16_wide_1 ...: heads of 128, up to six tiles; layer_mlp_q*: units a multiple of 32; _wide: four tiles, units a multiple of 128.
// layer_attention_*: grid(heads, 1, 8), the 8 a cluster, block(256). qkv: all heads' q, then k, then v. Three marks: q, k, v; attention; end.
struct LayerAttentionArgs {
    ResidualRef in; NormRef norm; Weight qkv, o; const float* bias; float* parts;
    BatchRef b; NormRef qNorm, kNorm; RopeRef rope; long long kvOffset;
    int heads, kvHeads, headDim, window; float scale; int kvFmt, chunk /* positions that a block holds at once, plain formats */, pad; u64* mark;
};
// layer_mlp_*: grid(clusters, 1, 8), the 8 a cluster, block(256). units: hidden units of a cluster, a multiple of 8; the last may have
// fewer. Two marks: hidden units; end.
struct LayerMlpArgs { ResidualRef in; NormRef norm; Weight up, down; const float* bias; float* parts; int act, gated, units, pad; u64* mark; };
// layer_sum: the stream itself, to in.sum. launch grid(ceil(width / 128)), block(256)
struct LayerSumArgs { ResidualRef in; int width, pad; u64* mark; };
