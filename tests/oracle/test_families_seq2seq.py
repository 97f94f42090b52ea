#!/usr/bin/env python3
"""Staged encoder-decoders against the models themselves: the encoder on a
padded batch, the decoder's prompt, single steps with the cache and one of
several tokens; at every step logits, and keys and values of both attentions.
`test_families_seq2seq.py WORD...` runs some of the cases."""
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_stage import TOLERANCE, Report, staged  # noqa: E402  (77 without)

import numpy as np  # noqa: E402
import onnxruntime as ort  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from transformers.modeling_outputs import BaseModelOutput  # noqa: E402

import families  # noqa: E402
import models  # noqa: E402

B = "batch_size"
E, D = "encoder_sequence_length", "decoder_sequence_length"
PD = f"past_{D}"
PARTS = ("encoder_model", "decoder_model", "decoder_with_past_model")
ROWS = 2
STEPS = (3, 1, 1, 1, 4)     # tokens of the prompt, then of every step
VOCAB = 120

T5 = dict(vocab_size=VOCAB, d_model=32, d_kv=12, d_ff=48, num_layers=2,
          num_heads=4)
BART = dict(vocab_size=VOCAB, d_model=32, encoder_layers=2, decoder_layers=3,
            encoder_ffn_dim=48, decoder_ffn_dim=40, encoder_attention_heads=4,
            decoder_attention_heads=2, max_position_embeddings=40,
            pad_token_id=1, bos_token_id=0, eos_token_id=2,
            decoder_start_token_id=2, forced_eos_token_id=2)
KINDS = {"T5": T5, "MT5": T5}


def build(kind, head, config=None, seed=0):
    cls = getattr(transformers, kind + "Config")
    model = models.build(kind + head, cls(**{**KINDS[kind], **(config or {})}),
                         seed)
    model.config._attn_implementation = "eager"
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name == "final_logits_bias":
                buffer.copy_(torch.randn(buffer.shape))
    return model


def sizes(model):
    """Width, layers of the decoder, its heads, numbers in one."""
    c = model.config
    if hasattr(c, "d_kv"):
        return c.d_model, c.num_decoder_layers, c.num_heads, c.d_kv
    heads = c.decoder_attention_heads
    return c.d_model, c.decoder_layers, heads, c.d_model // heads


def text_ports(model):
    """Inputs and outputs of the three parts, with their axes."""
    width, layers, heads, d = sizes(model)
    encoder = {"input_ids": (B, E), "attention_mask": (B, E)}
    made = {"last_hidden_state": (B, E, width)}
    first = {"encoder_attention_mask": (B, E), "input_ids": (B, D),
             "encoder_hidden_states": (B, E, width)}
    again = {"encoder_attention_mask": (B, E), "input_ids": (B, D)}
    logits = {"logits": (B, D, model.config.vocab_size)}
    given, more = dict(logits), dict(logits)
    for i in range(layers):
        for side, was, now in (("decoder", PD, f"{PD} + {D}"), ("encoder", E, E)):
            for what in ("key", "value"):
                name = f"{i}.{side}.{what}"
                again[f"past_key_values.{name}"] = (B, heads, was, d)
                given[f"present.{name}"] = (
                    B, heads, D if side == "decoder" else E, d)
                if side == "decoder":
                    more[f"present.{name}"] = (B, heads, now, d)
    return (encoder, first, again), (made, given, more)


def text_source(model, rng):
    """What the encoder is fed, and as what the decoder's mask is known."""
    ids = rng.integers(3, VOCAB, (ROWS, 11), dtype=np.int64)
    mask = np.ones_like(ids)
    mask[-1, 7:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def check_cache(errors, got, cache, prefix="present"):
    for side, kept in (("decoder", cache.self_attention_cache),
                       ("encoder", cache.cross_attention_cache)):
        for i, layer in enumerate(kept.layers):
            for what, want in (("key", layer.keys), ("value", layer.values)):
                name = f"{prefix}.{i}.{side}.{what}"
                if name in got:
                    errors.add(name, got[name], want)


def walk(model, sessions, errors, source):
    """All three parts, the graphs fed with their own results."""
    rng = np.random.default_rng(5)
    feed = source(model, rng)
    with torch.no_grad():
        made = model.get_encoder()(**{k: torch.from_numpy(v)
                                      for k, v in feed.items()})
    state, = sessions[0].run(None, feed)
    errors.add("last_hidden_state", state, made.last_hidden_state)
    more = {"attention_mask": torch.from_numpy(feed["attention_mask"])} \
        if "attention_mask" in feed else {}
    both = {"encoder_attention_mask": feed["attention_mask"]} if more else {}
    cache = transformers.EncoderDecoderCache(
        transformers.DynamicCache(), transformers.DynamicCache())
    past = {}
    for step, n in enumerate(STEPS):
        ids = rng.integers(3, VOCAB, (ROWS, n), dtype=np.int64)
        feed = {"input_ids": ids, **both, **past}
        if not step:
            feed["encoder_hidden_states"] = state
        with torch.no_grad():
            want = model(encoder_outputs=BaseModelOutput(
                last_hidden_state=made.last_hidden_state),
                         decoder_input_ids=torch.from_numpy(ids),
                         past_key_values=cache, use_cache=True, **more)
        session = sessions[2 if step else 1]
        outputs = [o.name for o in session.get_outputs()]
        got = dict(zip(outputs, session.run(outputs, feed)))
        errors.add("logits", got["logits"], want.logits)
        check_cache(errors, got, cache)
        past.update({k.replace("present", "past_key_values"): v
                     for k, v in got.items() if k != "logits"})


def compared(model, repo, opset, ports=text_ports, source=text_source):
    inputs, outputs = ports(model)
    where, out = staged(repo, opset)
    text, nodes = [], 0
    try:
        assert not os.path.exists(os.path.join(where, "model.onnx"))
        for suffix, bound in (("", TOLERANCE), ("_fp16", 5e-3)):
            paths = [os.path.join(where, f"{p}{suffix}.onnx") for p in PARTS]
            count = [families.check_graph(*one) for one in zip(
                paths, [opset] * 3, inputs, outputs)]
            nodes = nodes or sum(count)
            errors = families.Errors()
            walk(model, [ort.InferenceSession(p) for p in paths], errors,
                 source)
            text.append(f"{errors.worst(bound):.1e}")
        return f"{text[0]}  {nodes} nodes  {text[1]}"
    finally:
        shutil.rmtree(out)


def case(kind, config=None, opset=13, seed=0, dtype=None,
         head="ForConditionalGeneration", **repo):
    model = build(kind, head, config, seed)
    if dtype:
        model = families.rounded(model, dtype)
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, dtype=dtype, **repo)
        return compared(model, path, opset)


# ---- one graph --------------------------------------------------------------

def whole(kind, opset=13, **repo):
    """The model without a head: both sides in model.onnx."""
    model = build(kind, "Model")
    width = sizes(model)[0]
    inputs = {"input_ids": (B, E), "attention_mask": (B, E),
              "decoder_input_ids": (B, D)}
    outputs = {"last_hidden_state": (B, D, width),
               "encoder_last_hidden_state": (B, E, width)}

    def run(session, errors):
        rng = np.random.default_rng(7)
        feed = text_source(model, rng)
        feed["decoder_input_ids"] = rng.integers(3, VOCAB, (ROWS, 5))
        with torch.no_grad():
            want = model(**{k: torch.from_numpy(v) for k, v in feed.items()})
        for name, got in zip(outputs, session.run(list(outputs), feed)):
            errors.add(name, got, want[name])

    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, **repo)
        return families.compared(path, opset, inputs, outputs, run)


def encoder_alone(kind, opset=13, extra=None, **repo):
    model = build(kind, "EncoderModel")
    axes = (B, "sequence_length")
    inputs = {"input_ids": axes, "attention_mask": axes}
    outputs = {"last_hidden_state": axes + (sizes(model)[0],)}

    def run(session, errors):
        feed = text_source(model, np.random.default_rng(7))
        with torch.no_grad():
            want = model(**{k: torch.from_numpy(v) for k, v in feed.items()})
        errors.add("state", session.run(None, feed)[0],
                   want.last_hidden_state)

    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, extra=extra, **repo)
        return families.compared(path, opset, inputs, outputs, run)


# ---- the cases --------------------------------------------------------------

def every_kind(report):
    for kind in KINDS:
        for opset in families.OPSETS:
            report.run(f"{kind} opset {opset}", case, kind, opset=opset,
                       seed=opset)
            report.run(f"{kind} Model opset {opset}", whole, kind,
                       opset=opset)
        for form in ("safetensors-sharded", "bin", "bin-sharded"):
            report.run(f"{kind} {form}", case, kind, form=form)
        for dtype in (torch.bfloat16, torch.float16):
            report.run(f"{kind} {dtype}", case, kind, dtype=dtype)


def t5(report):
    for kind in ("T5", "MT5"):
        for name, config in {
                "gated-gelu": dict(feed_forward_proj="gated-gelu"),
                "gated-silu": dict(feed_forward_proj="gated-silu"),
                "relu": dict(feed_forward_proj="relu"),
                "gelu": dict(feed_forward_proj="gelu"),
                "decoder of 4 layers": dict(num_decoder_layers=4),
                "eps": dict(layer_norm_epsilon=1e-3),
                "not tied": dict(tie_word_embeddings=False),
                "narrow buckets": dict(relative_attention_num_buckets=8,
                                       relative_attention_max_distance=6),
                "odd buckets": dict(relative_attention_num_buckets=6,
                                    relative_attention_max_distance=9),
                "8 layers": dict(num_layers=8)}.items():
            report.run(f"{kind} {name}", case, kind, config=config)
        report.run(f"{kind} EncoderModel", encoder_alone, kind)
        report.run(f"{kind} EncoderModel of a whole checkpoint",
                   encoder_alone, kind,
                   extra={"decoder.block.0.x": torch.ones(3)})
    head = torch.randn(VOCAB, 32)
    for name, tied in (("v1.1", False), ("tied", None)):
        report.run(f"T5 {name} with a head of its own", own_head, head,
                   tie_word_embeddings=tied, scale_decoder_outputs=None,
                   feed_forward_proj="gated-gelu")
    report.run("T5 named as the published one", published)


def own_head(head, tie_word_embeddings=None, **repo):
    """v1.1 and Flan: config.json unties, so that nothing is scaled."""
    scaled = tie_word_embeddings is not False
    model = build("T5", "ForConditionalGeneration", dict(
        feed_forward_proj="gated-gelu"))
    model.config.scale_decoder_outputs = scaled
    model.lm_head.weight = torch.nn.Parameter(head.clone())
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, extra={"lm_head.weight": head},
                            tie_word_embeddings=tie_word_embeddings, **repo)
        return compared(model, path, 13)


def published():
    model = build("T5", "ForConditionalGeneration")
    shared = model.shared.weight.detach().clone()
    bias = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias"
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, form="bin", extra={
            "encoder.embed_tokens.weight": shared,
            "decoder.embed_tokens.weight": shared, "lm_head.weight": shared,
            f"{bias}.weight": torch.ones(32, 4)},
            scale_decoder_outputs=None, tie_word_embeddings=None,
            feed_forward_proj=None, is_encoder_decoder=True)
        return compared(model, path, 13)


def buckets(report):
    """Long inputs reach every bucket; its edges are torch's."""
    def run(n, far):
        model = build("T5", "EncoderModel", dict(
            relative_attention_num_buckets=n,
            relative_attention_max_distance=far))
        with tempfile.TemporaryDirectory(prefix="repo-") as path:
            families.write_repo(model, path)
            where, out = staged(path, 13)
            try:
                session = ort.InferenceSession(
                    os.path.join(where, "model.onnx"))
            finally:
                shutil.rmtree(out)
            ids = np.random.default_rng(3).integers(3, VOCAB, (1, 300))
            feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            with torch.no_grad():
                want = model(**{k: torch.from_numpy(v)
                                for k, v in feed.items()})
            errors = families.Errors()
            errors.add("state", session.run(None, feed)[0],
                       want.last_hidden_state)
            return f"{errors.worst():.1e}"

    for n, far in ((32, 128), (32, 64), (16, 128), (64, 250), (32, 255),
                   (12, 100), (8, 32)):
        report.run(f"T5 {n} buckets to {far}", run, n, far)


def refusals(report):
    for name, (kind, reason, changes) in {
            "decoder": ("T5", r"is_decoder is true", dict(is_decoder=True)),
            "form": ("T5", r'feed_forward_proj is "gated-gelu-x"', dict(
                feed_forward_proj="gated-gelu-x")),
            "activation": ("T5", r'"gilu" is not known', dict(
                feed_forward_proj="gilu")),
            "far": ("T5", r"needs two buckets and a distance", dict(
                relative_attention_max_distance=256)),
            "buckets": ("MT5", r"32 rows, config.json says 30", dict(
                relative_attention_num_buckets=30)),
            "vocabulary": ("T5", r"120 rows, config.json says 121", dict(
                vocab_size=121)),
            "left over": ("T5", r"1 weight of the checkpoint without a place",
                          dict(extra={"decoder.block.1.layer.0."
                                      "SelfAttention.relative_attention_bias"
                                      ".weight": torch.ones(32, 4)})),
            "cut": ("T5", r'no weight "decoder.block.1.layer.2', dict(
                drop=lambda n: n.startswith("decoder.block.1.layer.2"))),
            }.items():
        report.run(f"refused: {kind} {name}", lambda k=kind, r=reason,
                   c=changes: families.refused(build(
                       k, "ForConditionalGeneration"), r, **c))


def main():
    report = Report(sys.argv[1:])
    families.start()
    for part in (every_kind, t5, buckets, refusals):
        part(report)
    return families.finish(report)


if __name__ == "__main__":
    sys.exit(main())
