#!/usr/bin/env python3
"""Staged models of sound against the models themselves.
`test_families_audio.py WORD...` runs some of the cases."""
import math
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from staging import Report  # noqa: E402  (77 without its modules)

import torch  # noqa: E402
import transformers  # noqa: E402

import families  # noqa: E402
import models  # noqa: E402

B = "batch_size"
SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
             intermediate_size=48, conv_dim=[16, 12, 20],
             conv_kernel=[10, 3, 2], conv_stride=[5, 2, 2], vocab_size=30,
             num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4,
             classifier_proj_size=24)
CLASSES = ("Wav2Vec2Model", "Wav2Vec2ForCTC",
           "Wav2Vec2ForSequenceClassification")
STABLE = dict(do_stable_layer_norm=True, feat_extract_norm="layer",
              conv_bias=True)


def build(cls, config=None, seed=0):
    config = transformers.Wav2Vec2Config(**{**SIZES, **(config or {})})
    config._attn_implementation = "eager"
    return models.build(cls, config, seed)


class Frames:
    """Equal to each expression that says of a length what the convolutions
    make of it."""

    def __init__(self, config):
        self.windows = list(zip(config.conv_kernel, config.conv_stride))

    def of(self, length):
        for kernel, stride in self.windows:
            length = (length - kernel) // stride + 1
        return length

    def __eq__(self, text):
        return all(self.of(n) == eval(text, {"floor": math.floor,
                                             "sequence_length": n})
                   for n in range(400, 2000))

    def __repr__(self):
        return f"frames of {self.windows}"


def case(cls, config=None, opset=13, labels=2, seed=0, dtype=None, **repo):
    model = build(cls, config, seed)
    if dtype:
        model = families.rounded(model, dtype)
    outputs = {"logits": (B, labels)} if "Seq" in cls else {
        "logits": (B, Frames(model.config), 30)} if "CTC" in cls else {
            "last_hidden_state": (B, Frames(model.config), 32)}
    least = 400 if len(model.config.conv_kernel) > 3 else 40

    def run(session, errors):
        gen = torch.Generator().manual_seed(3)
        for rows, length in ((1, least), (3, 803), (2, 1600)):
            x = torch.randn((rows, length), generator=gen)
            with torch.no_grad():
                want = model(x)
            got = session.run(list(outputs), {"input_values": x.numpy()})
            for name, value in zip(outputs, got):
                errors.add(name, value, want[name])

    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, dtype=dtype, **repo)
        return families.compared(
            path, opset, {"input_values": (B, "sequence_length")}, outputs,
            run)


def old(name):
    """Weights of before torch 2.1."""
    return name.replace("parametrizations.weight.original0", "weight_g") \
        .replace("parametrizations.weight.original1", "weight_v")


def wav2vec2(report):
    for cls in CLASSES:
        for opset in families.OPSETS:
            report.run(f"{cls} opset {opset}", case, cls, opset=opset,
                       seed=opset)
            report.run(f"{cls} stable opset {opset}", case, cls, STABLE,
                       opset=opset, seed=opset)
        for name, config in {
                "do_stable_layer_norm": dict(do_stable_layer_norm=True),
                "feat_extract_norm": dict(feat_extract_norm="layer"),
                "conv_bias": dict(conv_bias=True),
                "feat_extract_activation": dict(
                    feat_extract_activation="relu"),
                "hidden_act": dict(hidden_act="gelu_new"),
                "layer_norm_eps": dict(layer_norm_eps=1e-3),
                "odd kernel of positions": dict(num_conv_pos_embeddings=7),
                "groups of positions": dict(num_conv_pos_embedding_groups=16),
                "published convolutions": dict(
                    conv_dim=[16] * 7, conv_kernel=[10, 3, 3, 3, 3, 2, 2],
                    conv_stride=[5, 2, 2, 2, 2, 2, 2]),
                "num_hidden_layers": dict(num_hidden_layers=12),
                "num_attention_heads": dict(num_attention_heads=2)}.items():
            report.run(f"{cls} {name}", case, cls, config)
        for form in ("safetensors-sharded", "bin"):
            report.run(f"{cls} {form}", case, cls, form=form)
        report.run(f"{cls} weight_g and weight_v", case, cls, rename=old)
        report.run(f"{cls} bfloat16", case, cls, dtype=torch.bfloat16)
    report.run("Wav2Vec2ForSequenceClassification 5 labels", case,
               "Wav2Vec2ForSequenceClassification", dict(num_labels=5),
               labels=5)
    report.run("Wav2Vec2Model without architectures", case, "Wav2Vec2Model",
               architectures=None)
    for name, (cls, reason, changes) in {
            "adapter": ("Wav2Vec2Model", r"add_adapter is true", dict(
                add_adapter=True)),
            "adapter of attention": (
                "Wav2Vec2ForCTC", r"adapter_attn_dim is 16", dict(
                    adapter_attn_dim=16)),
            "weighted layers": (
                "Wav2Vec2ForSequenceClassification",
                r"use_weighted_layer_sum is true", dict(
                    use_weighted_layer_sum=True)),
            "feat_extract_norm": ("Wav2Vec2Model", r'norm is "odd"', dict(
                feat_extract_norm="odd")),
            "conv_kernel": ("Wav2Vec2Model", r"not 3 wide", dict(
                conv_kernel=[3, 3, 2])),
            "conv_bias": ("Wav2Vec2Model", r"no weight", dict(
                conv_bias=True)),
            "positions": ("Wav2Vec2Model", r"is not 128 wide", dict(
                num_conv_pos_embeddings=128)),
            "pretraining": ("Wav2Vec2Model", r'"Wav2Vec2ForPreTraining" of',
                            dict(architectures=["Wav2Vec2ForPreTraining"])),
            "vocab_size": ("Wav2Vec2ForCTC", r"output logits is", dict(
                vocab_size=31))}.items():
        report.run(f"refused: {cls} {name}", lambda c=cls, r=reason, x=changes:
                   families.refused(build(c), r, **x))


def main():
    report = Report(sys.argv[1:])
    families.start()
    for part in (wav2vec2,):
        part(report)
    return families.finish(report)


if __name__ == "__main__":
    sys.exit(main())
