#!/usr/bin/env python3
"""Makes the golden values that Millrace's tests compare with: tiny models of random weights, saved and evaluated in
float64 by Hugging Face transformers, which knows nothing of Millrace.

    python3 make_goldens.py OUT [--model DIR --text FILE...]

needs torch, transformers (5.17 made the committed files), safetensors, tokenizers. OUT gets one folder a variant:
config.json, model.safetensors (or shards), expected.safetensors with `input_ids` I32 [rows, tokens] and
  decoders   `logits` [rows, tokens, vocab], `greedy_ids` I32 [1, tokens + 24]: row 0 of the prompt and what follows
  encoders   `token_type_ids`, `last_hidden_state`, `pooler_output`, `mean`, `max`, `logits` [rows, labels];
             `masked_last_hidden_state` is the same batch with its rows cut to `masked_lengths` by an attention mask
and OUT/rope, OUT/activations (values of single functions) and, with --model, OUT/classics: float64 logits, greedy ids
and perplexities of that model, over the texts that are not part of the project. report.json says what was made.
"""
import argparse
import json
import math
import os
import shutil
import traceback

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModel, AutoConfig
import transformers

TORCH = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
NEW = 24
report = {"transformers": transformers.__version__, "torch": torch.__version__, "variants": {}}


def randomize(model, gen):
    """Weights at which every part of the model matters: unit variances through linears, gains round 1, biases.

    Embeddings that are also the head are small, or a token would mostly predict itself.
    """
    tied = getattr(model.config, "tie_word_embeddings", False) and model.get_output_embeddings() is not None
    with torch.no_grad():
        for name, p in model.named_parameters():
            r = torch.randn(p.shape, generator=gen, dtype=torch.float32)
            if p.dim() >= 2:
                if "wpe" in name or "position_embeddings" in name or "token_type" in name:
                    r *= 0.4
                elif "wte" in name or "embed_tokens" in name or "word_embeddings" in name:
                    r *= 0.25 if tied else 0.7
                elif "lm_head" in name:
                    r *= 2.5 / math.sqrt(p.shape[1])
                else:
                    conv = "c_attn" in name or "c_proj" in name or "c_fc" in name
                    r *= 1.0 / math.sqrt(p.shape[0] if conv else p.shape[1])
            elif name.endswith("weight"):
                r = 1 + 0.2 * r
            else:
                r *= 0.15
            p.copy_(r)


def edit_config(folder, edit):
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        config = json.load(f)
    edit(config)
    with open(path, "w") as f:
        json.dump(config, f, indent=2)


def ids(gen, rows, tokens, vocab):
    return torch.randint(3, vocab, (rows, tokens), generator=gen)


def greedy(model, prompt, cached):
    """The prompt and NEW tokens of the largest logit; the smallest gap between the largest two, which says how safe."""
    out, gap, cache = prompt.clone(), math.inf, None
    step = prompt
    for _ in range(NEW):
        if cached:
            result = model(input_ids=step, past_key_values=cache, use_cache=True)
            cache = result.past_key_values
        else:
            result = model(input_ids=out, use_cache=False)
        top = result.logits[0, -1].double().topk(2)
        gap = min(gap, float(top.values[0] - top.values[1]))
        step = top.indices[:1].reshape(1, 1)
        out = torch.cat([out, step], dim=1)
    return out, gap


def save(folder, tensors):
    flat = {}
    for k, v in tensors.items():
        v = v.detach().cpu()
        flat[k] = (v.to(torch.int32) if v.dtype in (torch.int64, torch.int32) else v.to(torch.float32)).contiguous()
    save_file(flat, os.path.join(folder, "expected.safetensors"))


def decoder_values(model, gen, tokens, vocab, length_matters):
    x = ids(gen, 2, tokens, vocab)
    logits = model(input_ids=x, use_cache=False).logits
    with_cache, gap = greedy(model, x[:1], True)
    note = {"gap": gap, "std": float(logits.std()), "different": len(set(with_cache[0, tokens:].tolist()))}
    if not length_matters:
        without, _ = greedy(model, x[:1], False)
        note["cache_agrees"] = bool((without == with_cache).all())
    return {"input_ids": x, "logits": logits, "greedy_ids": with_cache}, note


def decoder(out, name, kind, config, dtype="F16", tokens=17, base=False, edit=None, shards=None, attention="eager",
            seed=1):
    """A causal language model: built, saved as users save it, read back by transformers in float64, evaluated."""
    gen = torch.Generator().manual_seed(seed)
    folder = os.path.join(out, name)
    cfg = AutoConfig.for_model(kind, **config)
    model = AutoModelForCausalLM.from_config(cfg).eval()
    randomize(model, gen)
    model = model.to(TORCH[dtype])
    kept = model.base_model if base else model
    kept.save_pretrained(folder, **({"max_shard_size": shards} if shards else {}))
    if edit:
        edit_config(folder, edit)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation=attention).eval()
    rope = getattr(model.config, "rope_parameters", None) or {}
    values, note = decoder_values(model, gen, tokens, cfg.vocab_size, rope.get("rope_type") == "dynamic")
    save(folder, values)
    return note


def encoder(out, name, auto, kind, config, dtype="F16", tokens=17, labels=None, pooler=True, types=True, seed=1):
    gen = torch.Generator().manual_seed(seed)
    folder = os.path.join(out, name)
    if labels:
        config = dict(config, num_labels=labels)
    cfg = AutoConfig.for_model(kind, **config)
    args = {} if pooler else {"add_pooling_layer": False}
    model = auto.from_config(cfg, **args).eval() if pooler else auto._model_mapping[type(cfg)](cfg, **args).eval()
    randomize(model, gen)
    model.to(TORCH[dtype]).save_pretrained(folder)
    cls = type(model)
    model = cls.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager", **args).eval()
    x = ids(gen, 2, tokens, cfg.vocab_size)
    t = torch.zeros_like(x)
    given = {"input_ids": x}
    if types:
        t[:, tokens // 2:] = 1
        given["token_type_ids"] = t
    lengths = [tokens, tokens - 6]
    mask = torch.tensor([[1] * n + [0] * (tokens - n) for n in lengths])
    body = model.base_model
    values = {"input_ids": x, "token_type_ids": t, "masked_lengths": torch.tensor(lengths)}
    if labels:
        values["logits"] = model(**given).logits
    r = body(**given)
    values["last_hidden_state"] = r.last_hidden_state
    if getattr(r, "pooler_output", None) is not None:
        values["pooler_output"] = r.pooler_output
    values["mean"] = r.last_hidden_state.mean(1)
    values["max"] = r.last_hidden_state.max(1).values
    # the masked row's positions are those of its own tokens: padding stands behind them
    if kind == "roberta":
        x = torch.where(mask == 1, x, torch.tensor(cfg.pad_token_id))
        given["input_ids"] = x
    values["masked_last_hidden_state"] = body(**given, attention_mask=mask).last_hidden_state
    save(folder, values)
    return {"std": float(r.last_hidden_state.std()), "keys": sorted(values)}


def gptq(out, name, kind, config, bits, group, act_order, v2, separate, tokens=17, seed=1):
    """A checkpoint as GPTQ tools save it: integers, scales and zeros are drawn at random, so what they mean is exact."""
    gen = torch.Generator().manual_seed(seed)
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    cfg = AutoConfig.for_model(kind, **config)
    model = AutoModelForCausalLM.from_config(cfg, attn_implementation="eager").eval()
    randomize(model, gen)
    # the rotary frequencies, which are buffers, keep their float32
    for p in model.parameters():
        p.data = p.data.half().double()
    model.double()
    state, per, top = {}, 32 // bits, 2**bits
    orders = {}
    for path, linear in model.named_modules():
        if not isinstance(linear, torch.nn.Linear) or path == "lm_head":
            continue
        n_in, n_out = linear.in_features, linear.out_features
        size = n_in if group < 0 else group
        groups = n_in // size
        # linears that read the same activation share an order, as the tools make it
        key = path.replace("k_proj", "q_proj").replace("v_proj", "q_proj").replace("up_proj", "gate_proj")
        if key not in orders:
            order = torch.randperm(n_in, generator=gen) if act_order else torch.arange(n_in)
            g = torch.empty(n_in, dtype=torch.int64)
            g[order] = torch.arange(n_in) // size
            orders[key] = g
        g_idx = orders[key]
        q = torch.randint(0, top, (n_in, n_out), generator=gen)
        zero = torch.randint(top // 2 - 3, top // 2 + 3, (groups, n_out), generator=gen)
        scale = ((0.6 + 0.8 * torch.rand(groups, n_out, generator=gen)) / (top * 0.29 * math.sqrt(n_in))).half()
        w = scale.double()[g_idx] * (q - zero[g_idx]).double()
        linear.weight.data.copy_(w.t())
        stored = zero if v2 else zero - 1
        qweight = torch.zeros(n_in // per, n_out, dtype=torch.int64)
        qzeros = torch.zeros(groups, n_out // per, dtype=torch.int64)
        for i in range(per):
            qweight |= q[i::per] << (bits * i)
            qzeros |= stored[:, i::per] << (bits * i)
        state[path + ".qweight"] = wrap(qweight)
        state[path + ".qzeros"] = wrap(qzeros)
        state[path + ".scales"] = scale
        state[path + ".g_idx"] = g_idx.to(torch.int32)
        if linear.bias is not None:
            state[path + ".bias"] = linear.bias.data.half()
    for key, value in model.state_dict().items():
        if not any(key.startswith(p + ".") for p in (k[: -len(".qweight")] for k in state if k.endswith("qweight"))):
            if not (key == "lm_head.weight" and cfg.tie_word_embeddings):
                state[key] = value.half()
    save_file({k: v.contiguous() for k, v in state.items()}, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    quant = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": act_order, "sym": False,
             "checkpoint_format": "gptq_v2" if v2 else "gptq"}
    cfg.architectures = [type(model).__name__]
    cfg.save_pretrained(folder)
    if separate:
        with open(os.path.join(folder, "quantize_config.json"), "w") as f:
            json.dump(quant, f)
    else:
        edit_config(folder, lambda c: c.update(quantization_config=quant))
    values, note = decoder_values(model, gen, tokens, cfg.vocab_size, False)
    save(folder, values)
    return note


def wrap(x):
    return torch.where(x >= 2**31, x - 2**32, x).to(torch.int32)


def old_rope(config):
    """The keys that config.json had before rope_parameters."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else {"rope_type": kind, **rope}


def older_rope(config):
    """The still older ones, `type` instead of `rope_type`."""
    old_rope(config)
    config["rope_scaling"]["type"] = config["rope_scaling"].pop("rope_type")


GPT2 = dict(vocab_size=128, n_positions=96, n_embd=40, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
LLAMA = dict(vocab_size=128, hidden_size=48, intermediate_size=104, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2)
BERT = dict(vocab_size=128, hidden_size=40, num_hidden_layers=2, num_attention_heads=2, intermediate_size=75,
            max_position_embeddings=64)
DISTIL = dict(vocab_size=128, dim=40, n_layers=2, n_heads=2, hidden_dim=75, max_position_embeddings=64)


def rope(kind, theta=10000.0, **more):
    return {"rope_type": kind, "rope_theta": theta, **more}


def variants(out):
    from transformers import AutoModelForSequenceClassification as Classify
    from transformers import AutoModelForMaskedLM as Masked
    llama3 = rope("llama3", 500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=32)
    yarn = rope("yarn", 10000.0, factor=4.0, original_max_position_embeddings=16)
    yield "gpt2-relu-inner75", decoder, dict(kind="gpt2", config=dict(
        GPT2, n_inner=75, activation_function="relu", layer_norm_epsilon=1e-3), dtype="F32")
    yield "gpt2-gelu-unscaled", decoder, dict(kind="gpt2", config=dict(
        GPT2, activation_function="gelu", scale_attn_weights=False))
    yield "gpt2-silu-layerscale", decoder, dict(kind="gpt2", config=dict(
        GPT2, activation_function="silu", scale_attn_by_inverse_layer_idx=True), dtype="BF16")
    yield "gpt2-upcast", decoder, dict(kind="gpt2", config=dict(
        GPT2, reorder_and_upcast_attn=True, scale_attn_by_inverse_layer_idx=True),
        attention="sdpa")  # the eager kind of this switch computes in float32 alone
    yield "gpt2-untied", decoder, dict(kind="gpt2", config=dict(GPT2, tie_word_embeddings=False, n_head=4))
    yield "gpt2-base", decoder, dict(kind="gpt2", config=dict(GPT2, n_head=5), base=True)
    yield "llama-bias-headdim", decoder, dict(kind="llama", config=dict(
        LLAMA, head_dim=20, attention_bias=True, mlp_bias=True), dtype="F32")
    yield "llama-shards", decoder, dict(kind="llama", config=dict(LLAMA, rms_norm_eps=1e-3), shards="40KB")
    yield "llama-rope-linear", decoder, dict(kind="llama", config=dict(
        LLAMA, rope_parameters=rope("linear", 5000.0, factor=4.0)), tokens=40, edit=older_rope, dtype="BF16")
    yield "llama-rope-dynamic", decoder, dict(kind="llama", config=dict(
        LLAMA, max_position_embeddings=32, rope_parameters=rope("dynamic", factor=2.0)), tokens=48)
    yield "llama-rope-yarn", decoder, dict(kind="llama", config=dict(LLAMA, rope_parameters=yarn), tokens=48)
    yield "llama-rope-yarn-mscale", decoder, dict(kind="llama", config=dict(LLAMA, rope_parameters=dict(
        yarn, mscale=0.707, mscale_all_dim=0.4, beta_fast=16.0, beta_slow=2.0, truncate=False)), tokens=48,
        edit=old_rope)
    yield "llama-rope-llama3", decoder, dict(kind="llama", config=dict(
        LLAMA, rope_parameters=llama3, tie_word_embeddings=True), tokens=72, edit=old_rope)
    yield "mistral-window", decoder, dict(kind="mistral", config=dict(
        LLAMA, sliding_window=16, head_dim=16), tokens=48)
    yield "mistral-nowindow", decoder, dict(kind="mistral", config=dict(LLAMA, sliding_window=None), edit=old_rope)
    yield "qwen2-tied", decoder, dict(kind="qwen2", config=dict(
        LLAMA, tie_word_embeddings=True, rope_parameters=rope("default", 1000000.0)), edit=old_rope)
    yield "qwen2-window", decoder, dict(kind="qwen2", config=dict(
        LLAMA, use_sliding_window=True, sliding_window=8, max_window_layers=1), tokens=40, dtype="BF16")
    yield "qwen3-untied", decoder, dict(kind="qwen3", config=dict(LLAMA, head_dim=20))
    yield "qwen3-bias-window", decoder, dict(kind="qwen3", config=dict(
        LLAMA, head_dim=16, attention_bias=True, tie_word_embeddings=True, use_sliding_window=True, sliding_window=12,
        layer_types=["sliding_attention", "full_attention"]), tokens=40)
    yield "gptq-4bit-column-actorder", gptq, dict(kind="llama", config=dict(LLAMA, hidden_size=64,
        intermediate_size=96), bits=4, group=-1, act_order=True, v2=False, separate=False)
    yield "gptq-4bit-g32-actorder", gptq, dict(kind="mistral", config=dict(LLAMA, hidden_size=64,
        intermediate_size=96, sliding_window=None), bits=4, group=32, act_order=True, v2=True, separate=False)
    yield "gptq-8bit-g32-qwen2", gptq, dict(kind="qwen2", config=dict(LLAMA, hidden_size=64, intermediate_size=96),
        bits=8, group=32, act_order=False, v2=True, separate=True)
    yield "bert-gelu-new", encoder, dict(auto=AutoModel, kind="bert", config=dict(
        BERT, hidden_act="gelu_new", layer_norm_eps=1e-3))
    yield "bert-nopooler-relu", encoder, dict(auto=AutoModel, kind="bert", config=dict(
        BERT, hidden_act="relu"), pooler=False, dtype="BF16")
    yield "bert-masked-lm", encoder, dict(auto=Masked, kind="bert", config=dict(BERT), dtype="F32")
    yield "bert-classifier", encoder, dict(auto=Classify, kind="bert", config=dict(BERT), labels=5)
    yield "roberta-base", encoder, dict(auto=AutoModel, kind="roberta", config=dict(
        BERT, type_vocab_size=1, pad_token_id=1), types=False)
    yield "roberta-classifier", encoder, dict(auto=Classify, kind="roberta", config=dict(
        BERT, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5), labels=3, types=False)
    yield "distilbert-base", encoder, dict(auto=AutoModel, kind="distilbert", config=dict(
        DISTIL, activation="relu"), types=False)
    yield "distilbert-classifier", encoder, dict(auto=Classify, kind="distilbert", config=dict(DISTIL), labels=2,
                                                 types=False)


def functions(out):
    """Rotation frequencies of real models' settings, and activation functions on a grid."""
    from transformers import LlamaConfig
    from transformers.activations import ACT2FN
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
    cases = {
        "llama2": (128, 4096, rope("default"), None),
        "llama3.1": (128, 131072, rope("llama3", 500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                       original_max_position_embeddings=8192), None),
        "llama3.2": (64, 131072, rope("llama3", 500000.0, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                      original_max_position_embeddings=8192), None),
        "linear": (128, 16384, rope("linear", factor=4.0), None),
        "dynamic-short": (64, 2048, rope("dynamic", factor=2.0), 100),
        "dynamic-long": (64, 2048, rope("dynamic", factor=2.0), 5000),
        "yarn-qwen": (128, 131072, rope("yarn", 1000000.0, factor=4.0, original_max_position_embeddings=32768), None),
        "yarn-mscale": (64, 163840, rope("yarn", factor=40.0, original_max_position_embeddings=4096, mscale=1.0,
                                         mscale_all_dim=0.707, beta_fast=32.0, beta_slow=1.0), None),
        "yarn-attention-factor": (96, 8192, rope("yarn", 50000.0, factor=2.0, original_max_position_embeddings=4096,
                                                 attention_factor=1.3, truncate=False, beta_fast=20.0), None),
    }
    folder = os.path.join(out, "rope")
    os.makedirs(folder, exist_ok=True)
    tensors, said = {}, {}
    for name, (dim, positions, parameters, length) in cases.items():
        cfg = LlamaConfig(hidden_size=dim * 4, num_attention_heads=4, head_dim=dim, max_position_embeddings=positions,
                          rope_parameters=dict(parameters))
        kind = parameters["rope_type"]
        if kind == "default":
            inv, factor = LlamaRotaryEmbedding.compute_default_rope_parameters(cfg)
        else:
            inv, factor = ROPE_INIT_FUNCTIONS[kind](cfg, None, **({"seq_len": length} if length else {}))
        tensors[name] = inv.float().contiguous()
        said[name] = {"head_dim": dim, "max_position_embeddings": positions, "length": length or 1,
                      "rope_parameters": parameters, "attention_factor": float(factor)}
    save_file(tensors, os.path.join(folder, "expected.safetensors"))
    with open(os.path.join(folder, "cases.json"), "w") as f:
        json.dump(said, f, indent=1)
    folder = os.path.join(out, "activations")
    os.makedirs(folder, exist_ok=True)
    x = torch.linspace(-9, 9, 361, dtype=torch.float64).float().double()
    acts = {n: ACT2FN[n](x).float().contiguous() for n in ("gelu", "gelu_new", "relu", "silu", "tanh")}
    save_file({"x": x.float().contiguous(), **acts}, os.path.join(folder, "expected.safetensors"))


def fake_quantize(w, bits):
    """What is left of w [out, in] after ggml's Q8_0 or Q4_0: blocks of 32, an f16 scale each."""
    b = w.float().reshape(-1, 32)
    if bits == 8:
        d = b.abs().amax(1, keepdim=True) / 127
        x = torch.where(d != 0, b * (1 / d), torch.zeros_like(b))
        q = torch.sign(x) * torch.floor(x.abs() + 0.5)
    else:
        at = b.abs().argmax(1, keepdim=True)
        d = b.gather(1, at) / -8
        x = torch.where(d != 0, b * (1 / d), torch.zeros_like(b))
        q = torch.clamp(torch.floor(x + 8.5), max=15) - 8
    return (q * d.half().float()).reshape(w.shape)


def quantized_copy(folder, bits, device):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if any(k in name for k in ("c_attn.weight", "c_proj.weight", "c_fc.weight")):
                p.copy_(fake_quantize(p.t().contiguous(), bits).t())
        head = fake_quantize(model.transformer.wte.weight.detach().clone(), bits)
        model.lm_head.weight = torch.nn.Parameter(head)
    return model.to(device)


def perplexity(model, tokens, window, device):
    nll, scored = 0.0, 0
    for from_ in range(0, len(tokens), window):
        part = tokens[from_:from_ + window]
        if len(part) < 2:
            continue
        x = torch.tensor([part], device=device)
        logits = model(input_ids=x, use_cache=False).logits[0, :-1].double()
        nll += float(torch.nn.functional.cross_entropy(logits, x[0, 1:], reduction="sum"))
        scored += len(part) - 1
    return {"perplexity": math.exp(nll / scored), "nll": nll / scored, "tokens": scored}


PROMPT = ("It was late in the autumn when the stranger came to the mill. The wheel had stood still for a week, and "
          "the old miller, who had little to say to anyone, sat by the door and watched the water go by. \"You will "
          "want a bed for the night,\" said he, without looking up. \"There is one in the loft, if you do not mind "
          "the mice.\" The stranger thanked him, and asked whether the road over the hill was still open; for he had "
          "letters to carry to the town, and they would not wait.")


def classics(out, folder, texts):
    from tokenizers import Tokenizer
    device = "cuda" if torch.cuda.is_available() else "cpu"
    target = os.path.join(out, "classics")
    os.makedirs(target, exist_ok=True)
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    prompt = tokenizer.encode(PROMPT, add_special_tokens=False).ids[:100]
    exact = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    x = torch.tensor([prompt])
    logits = exact(input_ids=x, use_cache=False).logits[0]
    rows = torch.tensor(sorted(set(list(range(0, len(prompt), 7)) + [len(prompt) - 1])))
    global NEW
    NEW = 60
    follow, gap = greedy(exact, x, True)
    NEW = 24
    save(target, {"input_ids": x, "rows": rows, "logits": logits[rows], "greedy_ids": follow})
    result = {"prompt": PROMPT, "prompt_tokens": len(prompt), "greedy_gap": gap,
              "greedy_text": tokenizer.decode(follow[0, len(prompt):].tolist()), "device": device, "perplexity": {}}
    single = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    models = {"f64": exact.to(device), "f32": single.to(device), "q8_0": quantized_copy(folder, 8, device),
              "q4_0": quantized_copy(folder, 4, device)}
    for text in texts:
        with open(text, encoding="utf-8") as f:
            tokens = tokenizer.encode(f.read(), add_special_tokens=False).ids
        said = {"tokens_in_all": len(tokens), "first": tokens[:8]}
        for name, model in models.items():
            said[name] = {"first_4000": perplexity(model, tokens[:4000], 512, device),
                          "whole": perplexity(model, tokens, 512, device)}
        result["perplexity"][os.path.basename(text)] = said
    with open(os.path.join(target, "expected.json"), "w") as f:
        json.dump(result, f, indent=1)


def settled(make, out, name, settings, seed):
    """Draws again where the greedy tokens hang on less than rounding may move, or are always the same one."""
    for again in range(12):
        shutil.rmtree(os.path.join(out, name), ignore_errors=True)
        note = make(out, name, **settings, seed=seed + 1000 * again)
        note["seed"] = seed + 1000 * again
        if make is encoder or (note["gap"] > 0.01 and note["different"] > 4):
            return note
    raise RuntimeError("no seed gives settled greedy tokens: " + str(note))


def attempt(name, what):
    try:
        note = what()
        report["variants"][name] = note if note is not None else "ok"
    except Exception as e:
        report["variants"][name] = "FAILED " + repr(e)
        traceback.print_exc()
    print(name, report["variants"][name], flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--model")
    parser.add_argument("--text", nargs="*", default=[])
    parser.add_argument("--only", default="", help="variants whose names begin so")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    os.makedirs(args.out, exist_ok=True)
    if args.model:
        attempt("classics", lambda: classics(args.out, args.model, args.text))
    if not args.only:
        attempt("functions", lambda: functions(args.out))
    for number, (name, make, settings) in enumerate(variants(args.out)):
        if name.startswith(args.only):
            attempt(name, lambda: settled(make, args.out, name, settings, 100 + number))
    with open(os.path.join(args.out, "report.json"), "w") as f:
        json.dump(report, f, indent=1)


if __name__ == "__main__":
    main()
