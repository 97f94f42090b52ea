#!/usr/bin/env python3
"""Staged CLIP, both towers and either alone, against the models themselves.
`test_families_clip.py WORD...` runs some of the cases."""
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from staging import Report  # noqa: E402  (77 without its modules)

import torch  # noqa: E402
import transformers  # noqa: E402

import families  # noqa: E402
import models  # noqa: E402

S = "sequence_length"
TEXT = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=48, vocab_size=120, max_position_embeddings=20,
            projection_dim=24, eos_token_id=119)
VISION = dict(hidden_size=40, num_hidden_layers=2, num_attention_heads=4,
              intermediate_size=56, image_size=24, patch_size=8,
              projection_dim=24)
CLASSES = ("CLIPModel", "CLIPTextModel", "CLIPTextModelWithProjection",
           "CLIPVisionModel", "CLIPVisionModelWithProjection")


def build(cls, text=None, vision=None, seed=0):
    text, vision = {**TEXT, **(text or {})}, {**VISION, **(vision or {})}
    if "Text" in cls:
        config = transformers.CLIPTextConfig(**text)
    elif "Vision" in cls:
        config = transformers.CLIPVisionConfig(**vision)
    else:
        config = transformers.CLIPConfig(
            text_config=text, vision_config=vision, projection_dim=24)
    config._attn_implementation = "eager"
    return models.build(cls, config, seed)


def ports(cls, channels=3):
    t, v = ("text_batch_size", "image_batch_size") if cls == "CLIPModel" else (
        "batch_size",) * 2
    ids, image = (t, S), (v, channels, 24, 24)
    last = (t, S, 32) if "Text" in cls else (v, 10, 40)
    if cls == "CLIPModel":
        return {"input_ids": ids, "pixel_values": image,
                "attention_mask": ids}, {
                    "logits_per_image": (v, t), "logits_per_text": (t, v),
                    "text_embeds": (t, 24), "image_embeds": (v, 24)}
    name = "text_embeds" if "Text" in cls else "image_embeds"
    outputs = {name: (t, 24), "last_hidden_state": last} \
        if "Projection" in cls else {
            "last_hidden_state": last, "pooler_output": (t, last[-1])}
    return {"input_ids": ids} if "Text" in cls else {
        "pixel_values": image}, outputs


def texts(gen, rows, length, end):
    """Every row ends somewhere; what is behind is padding."""
    ids = torch.randint(3, 110, (rows, length), generator=gen)
    mask = torch.ones_like(ids)
    for row in range(rows):
        at = max(1, length - 1 - 2 * row)
        ids[row, at] = end
        ids[row, at + 1:] = 1
        mask[row, at + 1:] = 0
    return ids, mask


def case(cls, text=None, vision=None, opset=13, dtype=None, seed=0, **repo):
    model = build(cls, text, vision, seed)
    if dtype:
        model = families.rounded(model, dtype)
    channels = (vision or {}).get("num_channels", 3)
    inputs, outputs = ports(cls, channels)

    def run(session, errors):
        gen = torch.Generator().manual_seed(3)
        for rows, length, images in ((1, 6, 1), (3, 9, 2), (2, 20, 4)):
            ids, mask = texts(gen, rows, length, 119)
            feed = {"input_ids": ids, "attention_mask": mask,
                    "pixel_values": torch.randn((images, channels, 24, 24),
                                                generator=gen)}
            feed = {k: v for k, v in feed.items() if k in inputs}
            with torch.no_grad():
                want = model(**feed)
            got = session.run(list(outputs),
                              {k: v.numpy() for k, v in feed.items()})
            for name, value in zip(outputs, got):
                errors.add(name, value, want[name])

    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, dtype=dtype, **repo)
        return families.compared(path, opset, inputs, outputs, run)


def every_class(report):
    for cls in CLASSES:
        for opset in families.OPSETS:
            report.run(f"{cls} opset {opset}", case, cls, opset=opset,
                       seed=opset)
        for form in ("safetensors-sharded", "bin"):
            report.run(f"{cls} {form}", case, cls, form=form)
        report.run(f"{cls} bfloat16", case, cls, dtype=torch.bfloat16)
        for act in ("gelu", "gelu_new"):
            report.run(f"{cls} hidden_act {act}", case, cls,
                       dict(hidden_act=act), dict(hidden_act=act))
        report.run(f"{cls} layer_norm_eps", case, cls,
                   dict(layer_norm_eps=1e-3), dict(layer_norm_eps=1e-3))
        report.run(f"{cls} num_attention_heads", case, cls,
                   dict(num_attention_heads=2), dict(num_attention_heads=8))
        report.run(f"{cls} num_hidden_layers", case, cls,
                   dict(num_hidden_layers=12), dict(num_hidden_layers=3))
        if "Vision" not in cls:
            # 119 is the highest number of every text.
            report.run(f"{cls} eos_token_id 2", case, cls,
                       dict(eos_token_id=2))
        if "Text" not in cls:
            report.run(f"{cls} num_channels", case, cls, None,
                       dict(num_channels=1))
    report.run("CLIPModel without architectures", case, "CLIPModel",
               architectures=None)
    report.run("CLIPModel with position_ids", case, "CLIPModel", extra={
        "text_model.embeddings.position_ids": torch.arange(20)[None],
        "vision_model.embeddings.position_ids": torch.arange(10)[None]})


def refusals(report):
    for name, (cls, reason, changes) in {
            "text_config_dict": ("CLIPModel", r"text_config_dict is", dict(
                text_config_dict={"hidden_size": 32})),
            "no vision_config": ("CLIPModel", r"no vision_config", dict(
                vision_config=None)),
            "projection_dim": ("CLIPModel", r"output text_embeds is", dict(
                projection_dim=16)),
            "image classification": (
                "CLIPModel", r'"CLIPForImageClassification" of model_type',
                dict(architectures=["CLIPForImageClassification"])),
            "image_size": ("CLIPVisionModel", r"do not fit", dict(
                image_size=32)),
            "patch_size": ("CLIPVisionModel", r"not of the patches", dict(
                patch_size=4)),
            "positions": ("CLIPTextModel", r"20 rows, config.json says 77",
                          dict(max_position_embeddings=77)),
            "hidden_act": ("CLIPTextModel", r'activation "odd"', dict(
                hidden_act="odd")),
            "unused weight": ("CLIPModel", r"1 weight .* without a place",
                              dict(extra={"vision_model.scale":
                                          torch.zeros(3)}))}.items():
        report.run(f"refused: {cls} {name}", lambda c=cls, r=reason, x=changes:
                   families.refused(build(c), r, **x))


def main():
    report = Report(sys.argv[1:])
    families.start()
    for part in (every_class, refusals):
        part(report)
    return families.finish(report)


if __name__ == "__main__":
    sys.exit(main())
