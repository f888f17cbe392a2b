#!/usr/bin/env python3
"""Writes some of the golden models as GGUF files, with the names, keys and reordered rows of llama.cpp's converter.

    python3 make_gguf.py GOLDENS OUT        (needs numpy)

It shares nothing with Millrace's own reader and writer. OUT/NAME.gguf computes what GOLDENS/NAME/expected.safetensors says.
"""
import json
import math
import os
import struct
import sys

import numpy as np

U32, I32, F32, BOOL, STR, ARR = 4, 5, 6, 7, 8, 9
GGML = {"F32": (0, np.float32), "F16": (1, np.float16), "BF16": (30, np.uint16)}
ALIGN = 32

GPT2 = {"wte.weight": "token_embd.weight", "wpe.weight": "position_embd.weight", "ln_f": "output_norm",
        "lm_head": "output", "ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
        "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
LLAMA = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
         "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
BERT = {"embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
        "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
        "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
        "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
        "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}


def load(folder):
    with open(os.path.join(folder, "model.safetensors"), "rb") as f:
        data = f.read()
    length = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == "__metadata__":
            continue
        from_, to = (8 + length + o for o in entry["data_offsets"])
        kind = entry["dtype"]
        tensors[name] = (kind, np.frombuffer(data[from_:to], GGML[kind][1]).reshape(entry["shape"]))
    return tensors


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, x):
    return {U32: lambda: struct.pack("<I", x), I32: lambda: struct.pack("<i", x), F32: lambda: struct.pack("<f", x),
            BOOL: lambda: struct.pack("<B", x), STR: lambda: string(x)}[kind]()


def renamed(name, table, prefix, layers):
    name = name[len(prefix):] if name.startswith(prefix) and not name.startswith("lm_head") else name
    stem, end = name.rsplit(".", 1)
    if name in table:
        return table[name]
    if stem in table:
        return table[stem] + "." + end
    if stem.startswith(layers):
        number, part = stem[len(layers):].split(".", 1)
        if part in table:
            return "blk.%s.%s.%s" % (number, table[part], end)
    return None


def interleaved(x, heads):
    """Rows of each head: the halves that rotate together become neighbours, as the converter does for llama."""
    return x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def rope(config, put, arch, tensors, head_dim):
    rule = dict(config.get("rope_scaling") or {}, rope_theta=config.get("rope_theta")) if "rope_theta" in config \
        else dict(config["rope_parameters"])
    put("rope.freq_base", F32, rule["rope_theta"])
    kind = rule.get("rope_type", rule.get("type", "default"))
    if kind in ("linear", "yarn"):
        put("rope.scaling.type", STR, kind)
        put("rope.scaling.factor", F32, rule["factor"])
        if kind == "yarn":
            put("rope.scaling.original_context_length", U32, rule["original_max_position_embeddings"])
    elif kind == "llama3":
        low = rule["original_max_position_embeddings"] / rule["low_freq_factor"]
        high = rule["original_max_position_embeddings"] / rule["high_freq_factor"]
        factors = []
        for i in range(0, head_dim, 2):
            wave = 2 * math.pi * rule["rope_theta"] ** (i / head_dim)
            if wave < high:
                factors.append(1.0)
            elif wave > low:
                factors.append(rule["factor"])
            else:
                smooth = (rule["original_max_position_embeddings"] / wave - rule["low_freq_factor"]) \
                    / (rule["high_freq_factor"] - rule["low_freq_factor"])
                factors.append(1 / ((1 - smooth) / rule["factor"] + smooth))
        tensors["rope_freqs.weight"] = ("F32", np.array(factors, np.float32))


def convert(goldens, out, name):
    folder = os.path.join(goldens, name)
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    kind = config["model_type"]
    arch = {"mistral": "llama", "roberta": "bert"}.get(kind, kind)
    keys, tensors = [], {}

    def put(key, type_, x):
        keys.append(string(key if "." in key and key.split(".")[0] in ("general", "tokenizer") else arch + "." + key)
                    + struct.pack("<I", type_) + value(type_, x))

    put("general.architecture", STR, arch)
    put("general.name", STR, name)
    table, prefix, layers = {"gpt2": (GPT2, "transformer.", "h."), "bert": (BERT, kind + ".", "encoder.layer.")}.get(
        arch, (LLAMA, "", "model.layers."))
    source = load(folder)
    if arch == "gpt2":
        put("context_length", U32, config["n_positions"])
        put("embedding_length", U32, config["n_embd"])
        put("feed_forward_length", U32, config["n_inner"] or 4 * config["n_embd"])
        put("block_count", U32, config["n_layer"])
        put("attention.head_count", U32, config["n_head"])
        put("attention.layer_norm_epsilon", F32, config["layer_norm_epsilon"])
    else:
        offset = config["pad_token_id"] + 1 if kind == "roberta" else 0
        put("context_length", U32, config["max_position_embeddings"] - offset)
        put("embedding_length", U32, config["hidden_size"])
        put("feed_forward_length", U32, config["intermediate_size"])
        put("block_count", U32, config["num_hidden_layers"])
        put("attention.head_count", U32, config["num_attention_heads"])
    if arch == "bert":
        put("attention.layer_norm_epsilon", F32, config["layer_norm_eps"])
        put("attention.causal", BOOL, 0)
        put("pooling_type", U32, 1)
    elif arch != "gpt2":
        heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
        head_dim = config.get("head_dim") or config["hidden_size"] // heads
        put("attention.head_count_kv", U32, kv)
        put("attention.layer_norm_rms_epsilon", F32, config["rms_norm_eps"])
        put("attention.key_length", U32, head_dim)
        put("attention.value_length", U32, head_dim)
        if arch == "llama":
            put("rope.dimension_count", U32, head_dim)
        if kind == "mistral" and config["sliding_window"]:
            put("attention.sliding_window", U32, config["sliding_window"])
        rope(config, put, arch, tensors, head_dim)
    put("vocab_size", U32, config["vocab_size"])
    put("tokenizer.ggml.model", STR, "no_vocab")
    if config.get("bos_token_id") is not None:
        put("tokenizer.ggml.bos_token_id", U32, config["bos_token_id"])
    if config.get("eos_token_id") is not None:
        put("tokenizer.ggml.eos_token_id", U32, config["eos_token_id"])
    for tensor, (type_, x) in source.items():
        new = renamed(tensor, table, prefix, layers)
        if new is None:
            continue
        if arch == "gpt2" and x.ndim == 2 and ".weight" in new and new.startswith("blk."):
            x = x.T
        if arch == "llama" and ".attn_q." in new:
            x = interleaved(x, heads)
        if arch == "llama" and ".attn_k." in new:
            x = interleaved(x, kv)
        if kind == "roberta" and new == "position_embd.weight":
            x = x[config["pad_token_id"] + 1:]
        if x.ndim == 1 and type_ != "F32":
            x = (x.astype(np.uint32) << 16).view(np.float32) if type_ == "BF16" else x.astype(np.float32)
            type_ = "F32"
        tensors[new] = (type_, np.ascontiguousarray(x))
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys)
    body = b""
    for tensor, (type_, x) in tensors.items():
        header += string(tensor) + struct.pack("<I", x.ndim)
        header += b"".join(struct.pack("<Q", d) for d in reversed(x.shape))
        header += struct.pack("<IQ", GGML[type_][0], len(body))
        body += x.tobytes()
        body += b"\0" * (-len(body) % ALIGN)
    header += b"\0" * (-len(header) % ALIGN)
    with open(os.path.join(out, name + ".gguf"), "wb") as f:
        f.write(header + body)


def main():
    goldens, out = sys.argv[1:3]
    os.makedirs(out, exist_ok=True)
    for name in ["gpt2-untied", "llama-bias-headdim", "llama-rope-linear", "llama-rope-llama3", "llama-rope-yarn",
                 "mistral-window", "qwen2-tied", "qwen3-untied", "bert-classifier", "roberta-base"]:
        convert(goldens, out, name)


if __name__ == "__main__":
    main()
