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
from staging import TOLERANCE, Report, staged  # noqa: E402  (77 without)

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
WHISPER = dict(vocab_size=VOCAB, d_model=32, encoder_layers=2,
               decoder_layers=3, encoder_ffn_dim=48, decoder_ffn_dim=40,
               encoder_attention_heads=4, decoder_attention_heads=2,
               num_mel_bins=12, max_source_positions=25,
               max_target_positions=30, pad_token_id=1, bos_token_id=0,
               eos_token_id=2, decoder_start_token_id=2,
               classifier_proj_size=20)
TEXT = {"T5": T5, "MT5": T5, "Bart": BART, "MBart": BART, "Marian": BART,
        "Pegasus": BART, "M2M100": BART}
KINDS = {**TEXT, "Whisper": WHISPER}


def place(model):
    with torch.no_grad():
        for side in (model.get_encoder(), model.get_decoder()):
            side.embed_positions.weight.copy_(
                side.embed_positions.create_weight())


def build(kind, head, config=None, seed=0, computed=None):
    """computed: positions are what their class makes of them. Marian's have
    to be, as it never saves them."""
    computed = kind == "Marian" if computed is None else computed
    cls = getattr(transformers, kind + "Config")
    model = models.build(kind + head, cls(**{**KINDS[kind], **(config or {})}),
                         seed)
    model.config._attn_implementation = "eager"
    with torch.no_grad():
        # T5 does not divide its scores by the root of d_kv: the weights of
        # its queries are initialised smaller instead. Scores that are not
        # small make of noise in weights more noise with every layer, in torch
        # as in the graph.
        for name, p in model.named_parameters():
            if kind in ("T5", "MT5") and name.endswith(".q.weight"):
                p.div_(model.config.d_kv ** 0.5)
        for name, buffer in model.named_buffers():
            if name == "final_logits_bias":
                buffer.copy_(torch.randn(buffer.shape).bfloat16())
    if computed:
        place(model)
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
    head = model.get_output_embeddings().weight.shape[0]
    logits = {"logits": (B, D, head)}
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


def sound_ports(model):
    """As of text, but of one length, so that there is no mask."""
    c = model.config
    n = c.max_source_positions
    sides = [{k: tuple(n if a == E else a for a in axes)
              for k, axes in part.items() if not k.endswith("attention_mask")}
             for side in text_ports(model) for part in side]
    sides[0] = {"input_features": (B, c.num_mel_bins, 2 * n)}
    return sides[:3], sides[3:]


def sound_source(model, rng):
    c = model.config
    shape = (ROWS, c.num_mel_bins, 2 * c.max_source_positions)
    return {"input_features": rng.standard_normal(shape, dtype=np.float32)}


def text_source(model, rng):
    """What the encoder is fed: as much as it may be, up to 900 tokens."""
    n = getattr(model.config, "max_position_embeddings", 11)
    ids = rng.integers(3, VOCAB, (ROWS, min(n - 29, 900) if n > 40 else 11),
                       dtype=np.int64)
    mask = np.ones_like(ids)
    mask[-1, 7:] = 0
    ids[-1, 7:] = 1
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
    # The others have positions that are no parameters of torch's model.
    exact = model.config.model_type in ("t5", "mt5")
    try:
        assert not os.path.exists(os.path.join(where, "model.onnx"))
        for suffix, bound in (("", TOLERANCE), ("_fp16", 5e-3),
                              ("_int8", None)):
            paths = [os.path.join(where, f"{p}{suffix}.onnx") for p in PARTS]
            count = [families.check_graph(*one) for one in zip(
                paths, [opset] * 3, inputs, outputs)]
            nodes = nodes or sum(count)
            errors = families.Errors()
            walk(model, [ort.InferenceSession(p) for p in paths], errors,
                 source)
            if not bound and exact:
                same = families.Errors()
                walk(families.eighths(model),
                     [ort.InferenceSession(p) for p in paths], same, source)
                same.worst()
            text.append(f"{errors.worst(bound):.1e}" if bound else
                        "%.5f" % errors.cosine())
        return f"{text[0]}  {nodes} nodes  {text[1]}  {text[2]}"
    finally:
        shutil.rmtree(out)


def generating(kind, config=None, seed=0, **how):
    return build(kind, "MTModel" if kind == "Marian" else
                 "ForConditionalGeneration", config, seed, **how)


def case(kind, config=None, opset=13, seed=0, dtype=None, computed=None,
         **repo):
    model = generating(kind, config, seed, computed=computed)
    if dtype:
        model = families.rounded(model, dtype)
    if kind == "Marian":
        place(model)
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, dtype=dtype, **repo)
        if kind == "Whisper":
            return compared(model, path, opset, sound_ports, sound_source)
        return compared(model, path, opset)


# ---- one graph --------------------------------------------------------------

def whole(kind, opset=13, **repo):
    """The model without a head: both sides in model.onnx."""
    model = build(kind, "Model")
    width = sizes(model)[0]
    sound = kind == "Whisper"
    length = model.config.max_source_positions if sound else E
    inputs = {"input_features": (B, 12, 2 * length)} if sound else {
        "input_ids": (B, E), "attention_mask": (B, E)}
    inputs["decoder_input_ids"] = (B, D)
    outputs = {"last_hidden_state": (B, D, width),
               "encoder_last_hidden_state": (B, length, width)}

    def run(session, errors):
        rng = np.random.default_rng(7)
        feed = (sound_source if sound else text_source)(model, rng)
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


def one_sided(head, outputs, opset=13, config=None, **repo):
    """The decoder reads the encoder's tokens, shifted."""
    model = build("Bart", head, config)
    axes = (B, "sequence_length")

    def run(session, errors):
        feed = text_source(model, np.random.default_rng(7))
        feed["input_ids"][0, 4] = feed["input_ids"][0, 10] = 2
        feed["input_ids"][1, 2] = feed["input_ids"][1, 6] = 2
        with torch.no_grad():
            want = model(**{k: torch.from_numpy(v) for k, v in feed.items()})
        for name, got in zip(outputs, session.run(list(outputs), feed)):
            errors.add(name, got, want[name])

    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, **repo)
        return families.compared(path, opset, {
            "input_ids": axes, "attention_mask": axes}, outputs, run)


def barts(report):
    for kind in ("Bart", "MBart", "Marian", "Pegasus", "M2M100"):
        for name, config in {
                "scale_embedding": dict(scale_embedding=True),
                "relu": dict(activation_function="relu"),
                "swish": dict(activation_function="swish"),
                "not tied": dict(tie_word_embeddings=False),
                "6 and 1 layers": dict(encoder_layers=6, decoder_layers=1),
                "as many heads": dict(encoder_attention_heads=2)}.items():
            report.run(f"{kind} {name}", case, kind, config=config)
        report.run(f"{kind}, config.json without defaults", case, kind,
                   scale_embedding=None, activation_function=None,
                   is_encoder_decoder=None, tie_word_embeddings=None)
    for kind in ("Marian", "Pegasus"):
        report.run(f"{kind} 1024 wide, no positions in the file", case, kind,
                   config=dict(d_model=1024, decoder_layers=1,
                               encoder_layers=1), computed=True,
                   drop=lambda n: "embed_positions" in n)
        report.run(f"{kind}, no positions in the file", case, kind,
                   computed=True, drop=lambda n: "embed_positions" in n)
    for kind in ("Bart", "Marian", "Pegasus", "M2M100"):
        report.run(f"{kind} of 900 tokens", case, kind,
                   computed=kind in ("Marian", "Pegasus"),
                   config=dict(max_position_embeddings=1024),
                   drop=lambda n, k=kind: k != "Bart" and "embed_pos" in n)
    report.run("M2M100 with what older files store", case, "M2M100", extra={
        f"model.{side}.embed_positions.weights": torch.ones(42, 32)
        for side in ("encoder", "decoder")})
    report.run("Marian, two vocabularies", case, "Marian", config=dict(
        share_encoder_decoder_embeddings=False, decoder_vocab_size=130))
    report.run("Bart named as the published one", case, "Bart",
               rename=lambda n: n.removeprefix("model."),
               normalize_before=False, add_final_layer_norm=False,
               normalize_embedding=True, static_position_embeddings=False,
               add_bias_logits=False, extra_pos_embeddings=2,
               num_hidden_layers=2)
    for opset in families.OPSETS:
        report.run(f"Bart ForSequenceClassification opset {opset}", one_sided,
                   "ForSequenceClassification", {"logits": (B, 3)},
                   opset=opset)
        report.run(f"Bart ForQuestionAnswering opset {opset}", one_sided,
                   "ForQuestionAnswering",
                   {"start_logits": (B, "sequence_length"),
                    "end_logits": (B, "sequence_length")}, opset=opset)
    report.run("Bart ForSequenceClassification of five", one_sided,
               "ForSequenceClassification", {"logits": (B, 5)},
               config=dict(num_labels=5))


def classified(opset=13, **config):
    """What kind of sound it is: the encoder alone."""
    model = build("Whisper", "ForAudioClassification", config)
    inputs = {"input_features": (B, 12, 50)}
    outputs = {"logits": (B, model.config.num_labels)}

    def run(session, errors):
        feed = sound_source(model, np.random.default_rng(7))
        with torch.no_grad():
            want = model(**{k: torch.from_numpy(v) for k, v in feed.items()})
        errors.add("logits", session.run(None, feed)[0], want.logits)

    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path)
        return families.compared(path, opset, inputs, outputs, run)


def whispers(report):
    for name, config in {
            "scale_embedding": dict(scale_embedding=True),
            "relu": dict(activation_function="relu"),
            "not tied": dict(tie_word_embeddings=False),
            "6 and 1 layers": dict(encoder_layers=6, decoder_layers=1),
            "1500 frames of 80": dict(max_source_positions=1500,
                                      num_mel_bins=80)}.items():
        report.run(f"Whisper {name}", case, "Whisper", config=config)
    report.run("Whisper, config.json without defaults", case, "Whisper",
               scale_embedding=None, activation_function=None,
               is_encoder_decoder=None, tie_word_embeddings=None)
    report.run("Whisper named as the published one", case, "Whisper",
               form="bin", num_hidden_layers=2)
    for opset in families.OPSETS:
        report.run(f"Whisper ForAudioClassification opset {opset}",
                   classified, opset)
    report.run("Whisper ForAudioClassification of five", classified,
               num_labels=5)


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
            "normalised before": ("Bart", r"normalize_before is true", dict(
                normalize_before=True)),
            "normalised behind": ("MBart", r"normalize_before is false", dict(
                normalize_before=False)),
            "learned positions": (
                "Pegasus", r"static_position_embeddings is false", dict(
                    static_position_embeddings=False)),
            "sinusoids": ("Bart", r"static_position_embeddings is true", dict(
                static_position_embeddings=True)),
            "positions": ("Bart", r"42 rows, config.json says 43", dict(
                max_position_embeddings=41)),
            "vocabulary of the decoder": ("Marian", r"config.json says 121",
                                          dict(vocab_size=121)),
            "no head": ("MBart", r"lm_head.weight is missing and", dict(
                tie_word_embeddings=False)),
            "layers twice": ("Bart", r"num_hidden_layers is 3", dict(
                num_hidden_layers=3)),
            "decoder alone": ("Bart", r'"BartForCausalLM" of model_type', dict(
                architectures=["BartForCausalLM"])),
            "other frames": ("Whisper", r"25 rows, config.json says 1500",
                             dict(max_source_positions=None)),
            "other mels": ("Whisper", r"conv1|Conv", dict(num_mel_bins=13)),
            "cut": ("T5", r'no weight "decoder.block.1.layer.2', dict(
                drop=lambda n: n.startswith("decoder.block.1.layer.2"))),
            }.items():
        report.run(f"refused: {kind} {name}", lambda k=kind, r=reason,
                   c=changes: families.refused(generating(k), r, **c))


def main():
    report = Report(sys.argv[1:])
    families.start()
    for part in (every_kind, t5, buckets, barts, whispers,
                 refusals):
        part(report)
    return families.finish(report)


if __name__ == "__main__":
    sys.exit(main())
