#!/usr/bin/env python3
"""Repositories of tiny models: what config.json says, and the shapes of the
weights. Good ones of several families, ones that contradict themselves, ones
that are refused."""
import json
import os
import sys

H, V, P, F = 4, 7, 6, 8     # hidden size, words, positions, feed-forward


def norm(name, n=H):
    return {name + ".weight": [n], name + ".bias": [n]}


def linear(name, n=H, m=H):
    return {name + ".weight": [n, m], name + ".bias": [n]}


def join(*parts):
    return {k: v for p in parts for k, v in p.items()}


def model(arch, kind, weights, files=None, **config):
    return {"files": {"config.json": {"architectures": [arch],
                                      "model_type": kind, **config},
                      **(files or {})},
            "weights": {"model.safetensors": weights}}


def bert(arch="BertModel", prefix="", more=None, files=None, **config):
    at = prefix + "encoder.layer.0."
    weights = join(
        {prefix + f"embeddings.{n}_embeddings.weight": [rows, H]
         for n, rows in (("word", V), ("position", P), ("token_type", 2))},
        norm(prefix + "embeddings.LayerNorm"),
        *(linear(at + f"attention.self.{n}") for n in ("query", "key",
                                                       "value")),
        linear(at + "attention.output.dense"),
        norm(at + "attention.output.LayerNorm"),
        linear(at + "intermediate.dense", F, H),
        linear(at + "output.dense", H, F), norm(at + "output.LayerNorm"),
        linear(prefix + "pooler.dense"), more or {})
    return model(arch, "bert", weights, files, **{
        "hidden_size": H, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": F, "vocab_size": V, "max_position_embeddings": P,
        "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
        **config})


def gpt2():
    at = "h.0."
    return model("GPT2LMHeadModel", "gpt2", join(
        {"wte.weight": [V, H], "wpe.weight": [P, H]}, norm("ln_f"),
        norm(at + "ln_1"), norm(at + "ln_2"),
        {at + "attn.c_attn.weight": [H, 3 * H], at + "attn.c_attn.bias": [
            3 * H], at + "attn.c_proj.weight": [H, H],
         at + "attn.c_proj.bias": [H], at + "mlp.c_fc.weight": [H, F],
         at + "mlp.c_fc.bias": [F], at + "mlp.c_proj.weight": [F, H],
         at + "mlp.c_proj.bias": [H]}), n_embd=H, n_head=2, n_layer=1,
        n_positions=P, vocab_size=V, n_inner=F, layer_norm_epsilon=1e-5,
        activation_function="gelu_new")


def llama(**config):
    at = "model.layers.0."
    return model("LlamaForCausalLM", "llama", join(
        {"model.embed_tokens.weight": [V, H], "model.norm.weight": [H],
         "lm_head.weight": [V, H], at + "input_layernorm.weight": [H],
         at + "post_attention_layernorm.weight": [H]},
        {at + f"self_attn.{n}_proj.weight": [2 if n in "kv" else H, H]
         for n in "qkvo"},
        {at + f"mlp.{n}_proj.weight": [H, F] if n == "down" else [F, H]
         for n in ("gate", "up", "down")}), **{
             "hidden_size": H, "num_hidden_layers": 1,
             "num_attention_heads": 2, "num_key_value_heads": 1,
             "intermediate_size": F, "vocab_size": V, "hidden_act": "silu",
             "max_position_embeddings": P, "rms_norm_eps": 1e-5,
             "rope_theta": 10000.0, "tie_word_embeddings": False, **config})


def t5():
    def block(at, cross):
        names = [at + "layer.0.SelfAttention."]
        if cross:
            names.append(at + "layer.1.EncDecAttention.")
        last = at + f"layer.{len(names)}."
        return join({n + k + ".weight": [H, H] for n in names for k in "qkvo"},
                    {at + f"layer.{i}.layer_norm.weight": [H]
                     for i in range(len(names) + 1)},
                    {names[0] + "relative_attention_bias.weight": [8, 2],
                     last + "DenseReluDense.wi.weight": [F, H],
                     last + "DenseReluDense.wo.weight": [H, F]})
    return model("T5ForConditionalGeneration", "t5", join(
        {"shared.weight": [V, H], "encoder.final_layer_norm.weight": [H],
         "decoder.final_layer_norm.weight": [H]},
        block("encoder.block.0.", False), block("decoder.block.0.", True)),
        d_model=H, d_kv=2, d_ff=F, num_layers=1, num_decoder_layers=1,
        num_heads=2, vocab_size=V, relative_attention_num_buckets=8,
        relative_attention_max_distance=16, feed_forward_proj="relu",
        layer_norm_epsilon=1e-6, is_encoder_decoder=True, use_cache=True,
        tie_word_embeddings=True)


def vit():
    at = "vit.encoder.layer.0."
    return model("ViTForImageClassification", "vit", join(
        {"vit.embeddings.cls_token": [1, 1, H],
         "vit.embeddings.position_embeddings": [1, 5, H],
         "vit.embeddings.patch_embeddings.projection.weight": [H, 3, 2, 2],
         "vit.embeddings.patch_embeddings.projection.bias": [H]},
        *(linear(at + "attention.attention." + n) for n in ("query", "key",
                                                            "value")),
        linear(at + "attention.output.dense"),
        linear(at + "intermediate.dense", F, H),
        linear(at + "output.dense", H, F), norm(at + "layernorm_before"),
        norm(at + "layernorm_after"), norm("vit.layernorm"),
        linear("classifier", 3, H)), hidden_size=H, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=F, image_size=4, patch_size=2,
        num_channels=3, hidden_act="gelu", layer_norm_eps=1e-12, qkv_bias=True,
        id2label={"0": "a", "1": "b", "2": "c"})


def shards(one, index=None):
    """The same weights in two files, with their index."""
    weights = list(one["weights"]["model.safetensors"].items())
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    halves = weights[:3], weights[3:]
    one["weights"] = {n: dict(h) for n, h in zip(names, halves)}
    one["files"]["model.safetensors.index.json"] = index or {
        "metadata": {"total_size": 4}, "weight_map": {
            k: n for n, h in zip(names, halves) for k, _ in h}}
    return one


def sentence(pooling, modules=("Transformer", "Pooling", "Normalize")):
    return bert(files={
        "modules.json": [{"idx": i, "name": str(i), "path":
                          f"{i}_{m}" if i else "", "type":
                          "sentence_transformers.models." + m}
                         for i, m in enumerate(modules)],
        "1_Pooling/config.json": pooling})


def seeds():
    yield "good-bert", bert()
    yield "good-bert-classes", bert(
        "BertForSequenceClassification", "bert.", linear("classifier", 2, H))
    yield "good-gpt2", gpt2()
    yield "good-llama", llama()
    yield "good-llama-scaled", llama(rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 4})
    yield "good-t5", t5()
    yield "good-vit", vit()
    yield "good-shards", shards(bert())
    yield "good-sentence", sentence({"word_embedding_dimension": H,
                                     "pooling_mode_mean_tokens": True,
                                     "pooling_mode_max_tokens": True})
    yield "good-sentence-names", sentence({"pooling_mode": ["cls", "mean"]})
    yield "good-nothing-said", bert(**{"": {"": [""]}, "hidden_act": None,
                                       "architectures": [None, 1]})
    yield "bad-shards", shards(bert(), {"weight_map": {"x": 1}})
    yield "bad-shard-path", shards(bert(), {"weight_map": {
        "x": "../../etc/passwd"}})
    yield "bad-pooling", sentence({"pooling_mode": [[], {}, 1]})
    for name, wrong in (
            ("heads", {"num_attention_heads": 0}),
            ("layers", {"num_hidden_layers": 1 << 40}),
            ("size", {"hidden_size": -4}), ("fraction", {"hidden_size": 0.5}),
            ("text", {"hidden_size": "4"}), ("eps", {"layer_norm_eps": {}}),
            ("act", {"hidden_act": "0"}), ("type", {"model_type": ""})):
        yield "bad-" + name, bert(**wrong)
    yield "bad-rope", llama(rope_scaling={"rope_type": "llama3", "factor": 0})
    yield "bad-groups", llama(num_key_value_heads=0)
    yield "bad-no-weights", bert() | {"weights": {"model.safetensors": {}}}
    yield "unsupported-type", model("MineModel", "mine", {"w": [1]})
    yield "unsupported-timm", {
        "files": {"config.json": {"architecture": "resnet18",
                                  "num_classes": 3}},
        "weights": {"model.safetensors": {"conv1.weight": [4, 3, 7, 7]}}}


for title, what in seeds():
    with open(os.path.join(sys.argv[1], title), "w") as f:
        json.dump(what, f)
