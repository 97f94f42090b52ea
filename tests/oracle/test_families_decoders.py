#!/usr/bin/env python3
"""Staged decoders against the models themselves: a prompt with padding before
one of its rows, single steps with the cache, a step of several tokens; at
every step logits, keys and values. `test_families_decoders.py WORD...` runs
some of the cases."""
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from staging import Report  # noqa: E402  (77 without its modules)

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

import families  # noqa: E402
import models  # noqa: E402

B, S, P = "batch_size", "sequence_length", "past_sequence_length"
PS = f"{P} + {S}"
STEPS = (7, 1, 1, 1, 3)     # tokens of the prompt, then of every step
VOCAB = 120

SIZES = dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2,
             num_attention_heads=4, intermediate_size=48)
GQA = dict(SIZES, num_key_value_heads=2)
KINDS = {
    "GPT2": dict(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4,
                 n_positions=40),
    "Llama": GQA, "Mistral": GQA, "Qwen2": GQA,
    "Qwen3": dict(GQA, head_dim=16),
    "Gemma": dict(GQA, head_dim=16),
    "GPTNeoX": SIZES,
    "Gemma2": dict(GQA, head_dim=16, sliding_window=5),
    "Gemma3": dict(GQA, head_dim=16, sliding_window=5, num_hidden_layers=6),
    "OPT": dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2,
                num_attention_heads=4, ffn_dim=48, word_embed_proj_dim=32,
                max_position_embeddings=40),
}
WITHOUT_POSITIONS = ("gemma", "gemma2", "gemma3_text", "opt")
SLIDING = ("Gemma2", "Gemma3")
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
          "rope_theta": 500000.0}

YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4,
        "original_max_position_embeddings": 64}


def build(kind, head, config=None, seed=0):
    third = kind == "Gemma3"
    cls = getattr(transformers, kind + ("TextConfig" if third else "Config"))
    head = "TextModel" if third and head == "Model" else head
    model = models.build(kind + head, cls(**{**KINDS[kind], **(config or {})}),
                         seed)
    model.config._attn_implementation = "eager"
    if kind.startswith("Gemma"):
        centre_norms(model)
    return model


def centre_norms(model):
    """Norms of Gemma multiply by 1 + weight, which is 0 by initialisation. By
    2 + noise scores are four times as large, and every layer makes more of
    noise in weights, in torch as in the graph."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.sub_(1)


def cache_shape(model):
    """Layers, heads of keys, numbers in one."""
    c = model.config
    heads = c.num_attention_heads
    return (c.num_hidden_layers,
            getattr(c, "num_key_value_heads", None) or heads,
            getattr(c, "head_dim", None) or c.hidden_size // heads)


def ports(model, head):
    layers, heads, d = cache_shape(model)
    inputs = {"input_ids": (B, S), "attention_mask": (B, PS)}
    if model.config.model_type not in WITHOUT_POSITIONS:
        inputs["position_ids"] = (B, S)
    width = VOCAB if "LM" in head else \
        getattr(model.config, "word_embed_proj_dim", None) or \
        model.config.hidden_size
    name = "logits" if "LM" in head else "last_hidden_state"
    outputs = {name: (B, S, width)}
    for i in range(layers):
        for what in ("key", "value"):
            inputs[f"past_key_values.{i}.{what}"] = (B, heads, P, d)
            outputs[f"present.{i}.{what}"] = (B, heads, PS, d)
    return inputs, outputs


def steps(model, inputs, outputs, caches=True, rows=2):
    """Feeds prompt and steps; the graph gets its own present back."""
    def run(session, errors):
        rng = np.random.default_rng(11)
        layers, heads, d = cache_shape(model)
        past = {n: np.zeros((rows, heads, 0, d), np.float32)
                for n in inputs if n.startswith("past_")}
        cache = transformers.DynamicCache(config=model.config)
        mask = np.zeros((rows, 0), np.int64)
        for n in STEPS:
            ids = rng.integers(0, VOCAB, (rows, n), dtype=np.int64)
            now = np.ones((rows, n), np.int64)
            if not mask.size:
                now[-1, :3] = 0
            mask = np.concatenate([mask, now], axis=1)
            where = np.maximum(mask.cumsum(axis=1) - 1, 0)[:, -n:]
            feed = {"input_ids": ids, "attention_mask": mask, **past}
            more = {}
            if "position_ids" in inputs:
                feed["position_ids"] = where
                more["position_ids"] = torch.from_numpy(where)
            with torch.no_grad():
                want = model(input_ids=torch.from_numpy(ids),
                             attention_mask=torch.from_numpy(mask),
                             past_key_values=cache, use_cache=True, **more)
            got = dict(zip(outputs, session.run(list(outputs), feed)))
            name = next(iter(outputs))
            errors.add(name, got[name], want[name])
            for i in range(layers if caches else 0):
                layer = cache.layers[i]
                errors.add(f"key {i}", got[f"present.{i}.key"], layer.keys)
                errors.add(f"value {i}", got[f"present.{i}.value"],
                           layer.values)
            past = {n: got[n.replace("past_key_values", "present")]
                    for n in past}
    return run


def case(kind, head="ForCausalLM", config=None, opset=13, seed=0, dtype=None,
         caches=True, **repo):
    caches = caches and kind not in SLIDING
    head = "LMHeadModel" if kind == "GPT2" and head != "Model" else head
    model = build(kind, head, config, seed)
    if dtype:
        model = families.rounded(model, dtype)
    inputs, outputs = ports(model, head)
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, dtype=dtype, **repo)
        return families.compared(
            path, opset, inputs, outputs, steps(model, inputs, outputs, caches),
            *(steps(f(model), inputs, outputs, caches)
              for f in (families.halved, families.eighths) if not dtype))


def whole(model, inputs, outputs, rows=3):
    """One pass without a cache, over rows padded at either end."""
    def run(session, errors):
        rng = np.random.default_rng(3)
        ids = rng.integers(5, VOCAB, (rows, 9), dtype=np.int64)
        mask = np.ones_like(ids)
        mask[1:2, 6:] = mask[2:, :4] = 0
        ids[mask == 0] = 0
        where = np.maximum(mask.cumsum(axis=1) - 1, 0)
        feed = {"input_ids": ids, "attention_mask": mask,
                "position_ids": where}
        feed = {k: v for k, v in feed.items() if k in inputs}
        with torch.no_grad():
            want = model(**{k: torch.from_numpy(v) for k, v in feed.items()})
        for name, got in zip(outputs, session.run(list(outputs), feed)):
            errors.add(name, got, want[name])
    return run


# Of three numbers a row the rounding of weights to bytes would be the noise of
# those three alone.
LABELS = 40
HEADS = {
    "ForSequenceClassification": {"logits": (B, LABELS)},
    "ForTokenClassification": {"logits": (B, S, LABELS)},
    "ForQuestionAnswering": {"start_logits": (B, S), "end_logits": (B, S)},
}


def headed(kind, head, opset=13, config=None, rows=3):
    model = build(kind, head, {"num_labels": LABELS, "pad_token_id": 0,
                               **(config or {})})
    inputs = {"input_ids": (B, S), "attention_mask": (B, S)}
    if model.config.model_type not in WITHOUT_POSITIONS:
        inputs["position_ids"] = (B, S)
    outputs = HEADS[head]
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path)
        return families.compared(
            path, opset, inputs, outputs,
            whole(model, inputs, outputs, rows),
            whole(families.halved(model), inputs, outputs, rows),
            whole(families.eighths(model), inputs, outputs, rows))


def heads(report):
    for n, kind in enumerate(("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma")):
        for head in HEADS:
            if (kind, head) == ("Gemma", "ForQuestionAnswering"):
                continue
            report.run(f"{kind}{head}", headed, kind, head,
                       families.OPSETS[n % 2])
    report.run("Llama ForSequenceClassification, no padding", headed, "Llama",
               "ForSequenceClassification", config=dict(pad_token_id=None),
               rows=1)
    report.run("Mistral ForTokenClassification, a short window", headed,
               "Mistral", "ForTokenClassification",
               config=dict(sliding_window=3))


def every_kind(report):
    for kind in KINDS:
        for head in ("ForCausalLM", "Model"):
            for opset in families.OPSETS:
                report.run(f"{kind} {head} opset {opset}", case, kind, head,
                           opset=opset, seed=opset)
        for tied in (True, False):
            report.run(f"{kind} tie_word_embeddings {tied}", case, kind,
                       config=dict(tie_word_embeddings=tied))
        for form in ("safetensors-sharded", "bin", "bin-sharded"):
            report.run(f"{kind} {form}", case, kind, form=form)
        for dtype in (torch.bfloat16, torch.float16):
            report.run(f"{kind} {dtype}", case, kind, dtype=dtype)
        report.run(f"{kind} Model without architectures", case, kind, "Model",
                   architectures=None)


def gpt2(report):
    for name, config in {
            "no scale": dict(scale_attn_weights=False),
            "scale by layer": dict(scale_attn_by_inverse_layer_idx=True),
            "reorder_and_upcast_attn": dict(reorder_and_upcast_attn=True),
            "n_inner": dict(n_inner=40), "eps": dict(layer_norm_epsilon=1e-3),
            "gelu": dict(activation_function="gelu"),
            "12 layers": dict(n_layer=12)}.items():
        report.run(f"GPT2 {name}", case, "GPT2", config=config)
    report.run("GPT2 named as the published one", case, "GPT2",
               rename=lambda n: n.removeprefix("transformer."),
               extra={"h.0.attn.bias": torch.ones(1, 1, 40, 40),
                      "h.1.attn.bias": torch.ones(1, 1, 40, 40),
                      "h.0.attn.masked_bias": torch.tensor(-1e4)})
    report.run("GPT2, config.json without defaults", case, "GPT2",
               layer_norm_epsilon=None, activation_function=None,
               scale_attn_weights=None)


def ropes(report):
    for kind in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma"):
        for name, rope in {
                "theta": {"rope_type": "default", "rope_theta": 1e6},
                "linear": {"rope_type": "linear", "factor": 4.0,
                           "rope_theta": 1e4},
                "llama3": LLAMA3, "yarn": YARN,
                "yarn, mscale": dict(YARN, mscale=0.7, mscale_all_dim=1.3),
                "yarn, other bounds": dict(
                    YARN, beta_fast=4.0, beta_slow=0.5, truncate=False),
                "yarn, attention_factor": dict(
                    YARN, attention_factor=0.8)}.items():
            report.run(f"{kind} rope {name}", case, kind,
                       config=dict(rope_parameters=rope, head_dim=32))
    # What files said before rope_parameters.
    old = {k: v for k, v in LLAMA3.items() if k != "rope_theta"}
    report.run("Llama rope_scaling llama3", case, "Llama",
               config=dict(rope_parameters=dict(LLAMA3)),
               rope_parameters=None, rope_theta=500000.0, rope_scaling=old)
    report.run("Llama rope_scaling linear", case, "Llama",
               config=dict(rope_parameters={
                   "rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}),
               rope_parameters=None,
               rope_scaling={"type": "linear", "factor": 2.0})
    report.run("Qwen2 rope_scaling yarn", case, "Qwen2",
               config=dict(rope_parameters=dict(YARN)),
               rope_parameters=None, rope_theta=1e4, rope_scaling={
                   "type": "yarn", "factor": 4.0,
                   "original_max_position_embeddings": 64})
    report.run("Llama without rope", case, "Llama", rope_parameters=None)


def llamas(report):
    for name, config in {
            "attention_bias": dict(attention_bias=True),
            "mlp_bias": dict(mlp_bias=True),
            "head_dim": dict(head_dim=16),
            "as many keys as heads": dict(num_key_value_heads=4),
            "one key": dict(num_key_value_heads=1),
            "eps": dict(rms_norm_eps=1e-3),
            "hidden_act": dict(hidden_act="gelu"),
            "12 layers": dict(num_hidden_layers=12)}.items():
        report.run(f"Llama {name}", case, "Llama", config=config)
    report.run("Llama without num_key_value_heads", case, "Llama",
               config=dict(num_key_value_heads=4), num_key_value_heads=None,
               head_dim=None, rms_norm_eps=None)
    report.run("Llama with inv_freq", case, "Llama", extra={
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4)})
    for kind in ("Qwen3", "Gemma"):
        report.run(f"{kind} attention_bias", case, kind,
                   config=dict(attention_bias=True))
    report.run("Gemma gelu", case, "Gemma", hidden_act="gelu")
    report.run("Gemma gelu and hidden_activation", case, "Gemma",
               hidden_act="gelu", hidden_activation="gelu_pytorch_tanh")
    report.run("Gemma head_dim 256", case, "Gemma", config=dict(head_dim=256))
    report.run("Qwen3 head_dim 128", case, "Qwen3", config=dict(head_dim=128))


def neox(report):
    whole = {"rope_type": "default", "rope_theta": 1e4,
             "partial_rotary_factor": 1.0}
    for name, config in {
            "no parallel residual": dict(use_parallel_residual=False),
            "attention_bias": dict(attention_bias=False),
            "whole heads turned": dict(rope_parameters=dict(whole)),
            "half heads turned": dict(rope_parameters=dict(
                whole, partial_rotary_factor=0.5, rope_theta=1e6)),
            "linear": dict(rope_parameters=dict(
                whole, rope_type="linear", factor=3.0)),
            "eps": dict(layer_norm_eps=1e-3),
            "gelu_fast": dict(hidden_act="gelu_fast"),
            "12 layers": dict(num_hidden_layers=12)}.items():
        report.run(f"GPTNeoX {name}", case, "GPTNeoX", config=config)
    report.run("GPTNeoX rotary_pct and rotary_emb_base", case, "GPTNeoX",
               config=dict(rope_parameters=dict(
                   whole, partial_rotary_factor=0.5, rope_theta=5e4)),
               rope_parameters=None, rotary_pct=0.5, rotary_emb_base=50000)
    report.run("GPTNeoX, config.json without defaults", case, "GPTNeoX",
               rope_parameters=None, layer_norm_eps=None, hidden_act=None,
               attention_bias=None, use_parallel_residual=None)
    report.run("GPTNeoX with what older files store", case, "GPTNeoX", extra={
        "gpt_neox.layers.0.attention.bias": torch.ones(1, 1, 40, 40),
        "gpt_neox.layers.0.attention.masked_bias": torch.tensor(-1e9),
        "gpt_neox.layers.1.attention.rotary_emb.inv_freq": torch.zeros(1)})


def opts(report):
    for name, config in {
            "behind every half": dict(do_layer_norm_before=False),
            "narrow words": dict(word_embed_proj_dim=20),
            "as the one of 350 million": dict(word_embed_proj_dim=20,
                                              do_layer_norm_before=False),
            "no last norm": dict(_remove_final_layer_norm=True),
            "no bias": dict(enable_bias=False),
            "gelu": dict(activation_function="gelu"),
            "12 layers": dict(num_hidden_layers=12)}.items():
        report.run(f"OPT {name}", case, "OPT", config=config)
    report.run("OPT Model of narrow words", case, "OPT", "Model",
               config=dict(word_embed_proj_dim=20))
    report.run("OPT, config.json without defaults", case, "OPT",
               do_layer_norm_before=None, enable_bias=None,
               word_embed_proj_dim=None, activation_function=None,
               layer_norm_elementwise_affine=None)


def gemmas(report):
    """The second and third."""
    for kind in SLIDING:
        for name, config in {
                "attention_bias": dict(attention_bias=True),
                "query_pre_attn_scalar": dict(query_pre_attn_scalar=100),
                "wide window": dict(sliding_window=64),
                "layer_types": dict(num_hidden_layers=3, layer_types=[
                    "full_attention", "full_attention", "sliding_attention"]),
                "gelu": dict(hidden_activation="gelu"),
                "small caps": dict(final_logit_softcapping=5.0),
                "eps": dict(rms_norm_eps=1e-3)}.items():
            report.run(f"{kind} {name}", case, kind, config=config)
        report.run(f"{kind} without layer_types", case, kind,
                   layer_types=None)
        report.run(f"{kind} no caps", case, kind, config=dict(
            final_logit_softcapping=None, attn_logit_softcapping=None),
                   final_logit_softcapping=..., attn_logit_softcapping=...)
    report.run("Gemma2 small caps of scores", case, "Gemma2",
               config=dict(attn_logit_softcapping=0.5))
    report.run("Gemma2 rope_theta", case, "Gemma2", config=dict(
        rope_parameters={"rope_type": "default", "rope_theta": 5e4}),
               rope_parameters=None, rope_theta=5e4)
    report.run("Gemma3 two ropes", case, "Gemma3", config=dict(
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 2e3},
            "full_attention": {"rope_type": "linear", "factor": 8.0,
                               "rope_theta": 5e5}}))
    report.run("Gemma3 as the published one", case, "Gemma3", config=dict(
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": {"rope_type": "linear", "factor": 8.0,
                               "rope_theta": 1e6}}),
               rope_parameters=None, rope_theta=1e6, layer_types=None,
               rope_local_base_freq=1e4, sliding_window_pattern=6,
               rope_scaling={"rope_type": "linear", "factor": 8.0})


def windows(report):
    """Torch's cache forgets what the window has passed, the graph's keeps it:
    what is computed is the same."""
    for wide in (2, 4, 8, 64):
        report.run(f"Mistral sliding_window {wide}", case, "Mistral",
                   config=dict(sliding_window=wide), caches=False)
    report.run("Mistral sliding_window null", case, "Mistral",
               config=dict(sliding_window=None))
    report.run("Mistral without sliding_window", case, "Mistral",
               sliding_window=None)
    for kind in ("Qwen2", "Qwen3"):
        slide = dict(use_sliding_window=True, sliding_window=3,
                     max_window_layers=1)
        report.run(f"{kind} max_window_layers", case, kind, config=slide,
                   caches=False)
        report.run(f"{kind} max_window_layers without layer_types", case,
                   kind, config=slide, caches=False, layer_types=None)
        report.run(f"{kind} layer_types", case, kind, config=dict(
            slide, layer_types=["sliding_attention", "full_attention"]),
                   caches=False)


def refusals(report):
    for name, (kind, reason, changes) in {
            "gemma3n": ("Gemma", r'no blueprint for model_type "gemma3n_text"',
                        dict(model_type="gemma3n_text")),
            "both ways": ("Gemma2", r"use_bidirectional_attention is true",
                          dict(use_bidirectional_attention=True)),
            "cap of Gemma 3": ("Gemma3", r"attn_logit_softcapping is 5", dict(
                attn_logit_softcapping=5.0)),
            "one rope": ("Gemma3", r"one rope for all layers", dict(
                rope_parameters={"rope_type": "default"})),
            "norms without weights": (
                "OPT", r"layer_norm_elementwise_affine is false", dict(
                    layer_norm_elementwise_affine=False)),
            "bias": ("OPT", r"without a place", dict(enable_bias=False)),
            "yarn without its length": (
                "Llama", r"has no original_max_position_embeddings", dict(
                    rope_parameters={"rope_type": "yarn", "factor": 4.0})),
            "dynamic": ("Qwen2", r'rope of type "dynamic" is not handled',
                        dict(rope_scaling={"type": "dynamic", "factor": 2.0},
                             rope_parameters=None)),
            "longrope": ("Llama", r'rope of type "longrope"', dict(
                rope_parameters={"rope_type": "longrope"})),
            "llama3 without its length": (
                "Llama", r"has no original_max_position_embeddings", dict(
                    rope_parameters={
                        "rope_type": "llama3", "factor": 8.0,
                        "low_freq_factor": 1.0, "high_freq_factor": 4.0})),
            "rope by layers": ("Qwen3", r"by the type of a layer", dict(
                rope_parameters={"full_attention": {}})),
            "part of a head": ("Llama", r"over a part of a head", dict(
                rope_parameters={"partial_rotary_factor": 0.5})),
            "bias that is not used": (
                "Llama", r"1 weight of the checkpoint without a place", dict(
                    extra={"model.layers.0.self_attn.q_proj.bias":
                           torch.zeros(32)})),
            "attention_bias without bias": (
                "Llama", r'no weight "model.layers.0.self_attn.q_proj.bias"',
                dict(attention_bias=True)),
            "sequence classification": (
                "Llama", r'no weight "score.weight"',
                dict(architectures=["LlamaForSequenceClassification"])),
            "multiple choice": (
                "Llama", r'"LlamaForMultipleChoice" of model_type',
                dict(architectures=["LlamaForMultipleChoice"])),
            "no head": ("Llama", r"lm_head.weight is missing and "
                        r"tie_word_embeddings is false", dict(
                            drop=lambda n: n == "lm_head.weight")),
            "vocabulary": ("Qwen2", r"120 rows, config.json says 121", dict(
                vocab_size=121)),
            "chunked": ("Qwen3", r'layer of type "chunked_attention"', dict(
                layer_types=["chunked_attention"] * 2)),
            "window of LLaMA": ("Llama", r"sliding_window is 4", dict(
                sliding_window=4)),
            "both ways": ("Gemma", r"use_bidirectional_attention is true",
                          dict(use_bidirectional_attention=True)),
            "activation of Gemma": ("Gemma", r'hidden_act is "relu"', dict(
                hidden_act="relu")),
            "cross attention": ("GPT2", r"add_cross_attention is true", dict(
                add_cross_attention=True)),
            "attention_bias": ("GPTNeoX", r"without a place", dict(
                attention_bias=False)),
            "rope_theta beside rotary_emb_base": (
                "GPTNeoX", r"has rope_theta", dict(
                    rope_theta=1e4, rotary_emb_base=1e5,
                    rope_parameters=None)),
            "part of a pair": ("GPTNeoX", r"no whole number|even number",
                               dict(rope_parameters=None, rotary_pct=0.3)),
            "quantised": ("Llama", r"has quantization_config", dict(
                quantization_config={"quant_method": "gptq"})),
            "heads": ("GPT2", r"32 / 5 is no whole number", dict(n_head=5)),
            "n_positions": ("GPT2", r"40 rows, config.json says 39", dict(
                n_positions=39))}.items():
        report.run(f"refused: {kind} {name}", lambda k=kind, r=reason,
                   c=changes: families.refused(build(
                       k, "LMHeadModel" if k == "GPT2" else "ForCausalLM"),
                       r, **c))


def main():
    report = Report(sys.argv[1:])
    families.start()
    for part in (every_kind, heads, gpt2, ropes, llamas, neox, opts,
                 gemmas, windows, refusals):
        part(report)
    return families.finish(report)


if __name__ == "__main__":
    sys.exit(main())
