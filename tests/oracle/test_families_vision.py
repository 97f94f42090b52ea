#!/usr/bin/env python3
"""Staged models of images against the models themselves, as test_stage.py
does for texts. `test_families_vision.py WORD...` runs some of the cases."""
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


def images(model, shape, outputs, reference=None):
    """A run over batches of 1 and 3 random images."""
    def run(session, errors):
        gen = torch.Generator().manual_seed(5)
        for n in (1, 3):
            x = torch.randn((n, *shape), generator=gen)
            with torch.no_grad():
                want = (reference or (lambda m, i: m(i)))(model, x)
            got = session.run(list(outputs), {"pixel_values": x.numpy()})
            for name, value in zip(outputs, got):
                errors.add(name, value, want[name])
    return run


# ---- ViT and DeiT -----------------------------------------------------------

VIT = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
           intermediate_size=48, image_size=24, patch_size=8)


def vit_model(cls, config, seed):
    stem = "ViT" if cls.startswith("ViT") else "DeiT"
    return models.build(cls, getattr(transformers, stem + "Config")(
        **{**VIT, **config}), seed)


def vit(cls, config=None, opset=13, dtype=None, labels=40, seed=0, **repo):
    """40 labels: of two, the cosine of bytes is that of two numbers, which in
    one model of noise cancel."""
    model = vit_model(cls, {"num_labels": labels, **(config or {})}, seed)
    if dtype:
        model = families.rounded(model, dtype)
    c = model.config
    height, width = (c.image_size,) * 2 if isinstance(
        c.image_size, int) else c.image_size
    shape = (c.num_channels, height, width)
    base = getattr(model, model.base_model_prefix, model)
    tokens = base.embeddings.position_embeddings.shape[1]
    outputs = {"logits": (B, labels)} if "For" in cls else {
        "last_hidden_state": (B, tokens, 32)}
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, dtype=dtype, **repo)
        return families.compared(
            path, opset, {"pixel_values": (B, *shape)}, outputs,
            images(model, shape, outputs), run_eighths=images(
                families.eighths(model), shape, outputs))


def vits(report):
    classes = ("ViTModel", "ViTForImageClassification", "DeiTModel",
               "DeiTForImageClassification",
               "DeiTForImageClassificationWithTeacher")
    for cls in classes:
        for opset in families.OPSETS:
            report.run(f"{cls} opset {opset}", vit, cls, opset=opset,
                       seed=opset)
        for name, config in {
                "qkv_bias": dict(qkv_bias=False),
                "num_channels": dict(num_channels=1),
                "image_size that is no square": dict(image_size=[16, 32]),
                "image_size over whole patches": dict(image_size=27),
                "patch_size that is no square": dict(patch_size=[4, 8]),
                "layer_norm_eps": dict(layer_norm_eps=1e-3),
                "hidden_act": dict(hidden_act="gelu_new"),
                "num_hidden_layers": dict(num_hidden_layers=12),
                "num_attention_heads": dict(num_attention_heads=2)}.items():
            report.run(f"{cls} {name}", vit, cls, config)
        if "For" in cls:
            report.run(f"{cls} 5 labels", vit, cls, dict(num_labels=5),
                       labels=5)
        for form in ("safetensors-sharded", "bin"):
            report.run(f"{cls} {form}", vit, cls, form=form)
        report.run(f"{cls} bfloat16", vit, cls, dtype=torch.bfloat16)
    report.run("ViTModel without pooler", vit, "ViTModel",
               drop=lambda n: n.startswith("pooler."))
    report.run("ViTModel without architectures", vit, "ViTModel",
               architectures=None)
    report.run("ViTModel with mask_token", vit, "ViTModel", extra={
        "embeddings.mask_token": torch.zeros(1, 1, 32)})
    report.run("ViTModel, config.json without defaults", vit, "ViTModel",
               layer_norm_eps=None, hidden_act=None, num_channels=None)
    for name, (cls, reason, changes) in {
            "other image_size": ("ViTModel", r"do not fit", dict(
                image_size=32)),
            "other patch_size": ("ViTModel", r"not of the patches", dict(
                patch_size=4)),
            "masked image modelling": (
                "ViTModel", r'"ViTForMaskedImageModeling" of model_type',
                dict(architectures=["ViTForMaskedImageModeling"])),
            "labels": ("ViTForImageClassification", r"logits is", dict(
                id2label={"0": "a"})),
            "head_dim": ("ViTModel", r"has head_dim", dict(head_dim=16)),
            "hidden_act": ("ViTModel", r'activation "odd"', dict(
                hidden_act="odd")),
            "unused weight": ("DeiTModel", r"1 weight .* without a place",
                              dict(extra={"layernorm.scale":
                                          torch.zeros(3)})),
            "no distillation token": (
                "DeiTModel", r'no weight "embeddings.distillation_token"',
                dict(drop=lambda n: "distillation" in n))}.items():
        report.run(f"refused: {cls} {name}", lambda c=cls, r=reason, x=changes:
                   families.refused(vit_model(c, {}, 0), r, **x))


# ---- convolutional nets -----------------------------------------------------

RESNET = dict(embedding_size=8, hidden_sizes=[16, 24, 32], depths=[1, 2, 2])
CONVNEXT = dict(hidden_sizes=[8, 16, 24], depths=[1, 2, 2], num_stages=3)
SHAPES = ((64, 64), (37, 51), (33, 96))


def net_model(cls, config, seed):
    """Running statistics are no parameters: they are drawn as well."""
    stem = cls.split("Model")[0].split("For")[0]
    base = {"ResNet": RESNET, "ConvNext": CONVNEXT}[stem]
    model = models.build(cls, getattr(transformers, stem + "Config")(
        **{**base, **config}), seed)
    gen = torch.Generator().manual_seed(seed)
    for name, b in model.named_buffers():
        if name.endswith("running_mean"):
            b.copy_(0.3 * torch.randn(b.shape, generator=gen))
        elif name.endswith("running_var"):
            b.copy_(0.5 + torch.rand(b.shape, generator=gen))
    return model


def net(cls, config=None, opset=13, labels=2, seed=0, dtype=None, **repo):
    model = net_model(cls, config or {}, seed)
    if dtype:
        model = families.rounded(model, dtype)
        for name, b in model.named_buffers():
            if "running" in name:
                b.copy_(b.to(dtype).float())
    c = model.config
    if "For" in cls:
        outputs = {"logits": (B, labels)}
    else:
        down = 2 ** (len(c.depths) - 1) * 4 * (
            2 if getattr(c, "downsample_in_first_stage", False) else 1)
        how = "ceil" if cls.startswith("ResNet") else "floor"
        sizes = [down, down] if how == "ceil" or isinstance(
            c.patch_size, int) else [4 * n for n in c.patch_size]
        outputs = {"last_hidden_state": (
            B, c.hidden_sizes[-1], f"{how}(height/{sizes[0]})",
            f"{how}(width/{sizes[1]})")}

    def run(session, errors):
        for shape in SHAPES:
            images(model, (c.num_channels, *shape), outputs)(session, errors)

    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, dtype=dtype, **repo)
        return families.compared(
            path, opset, {"pixel_values": (B, c.num_channels, "height",
                                           "width")}, outputs, run)


NETS = {
    "ResNet": {
        "basic": dict(layer_type="basic"),
        "basic of one width": dict(layer_type="basic", embedding_size=16),
        "bottleneck of one width": dict(embedding_size=16),
        "downsample_in_first_stage": dict(downsample_in_first_stage=True),
        "downsample_in_bottleneck": dict(downsample_in_bottleneck=True),
        "hidden_act": dict(hidden_act="gelu"),
        "num_channels": dict(num_channels=1),
        "two stages": dict(hidden_sizes=[8, 16], depths=[2, 1])},
    "ConvNext": {
        "without layer scale": dict(layer_scale_init_value=0.0),
        "hidden_act": dict(hidden_act="relu"),
        "layer_norm_eps": dict(layer_norm_eps=1e-2),
        "patch_size": dict(patch_size=[2, 4]),
        "num_channels": dict(num_channels=1),
        "two stages": dict(hidden_sizes=[8, 16], depths=[2, 1],
                           num_stages=2)},
}


def nets(report):
    for stem, branches in NETS.items():
        for cls in (stem + "Model", stem + "ForImageClassification"):
            for opset in families.OPSETS:
                report.run(f"{cls} opset {opset}", net, cls, opset=opset,
                           seed=opset)
            for name, config in branches.items():
                report.run(f"{cls} {name}", net, cls, config)
            for form in ("safetensors-sharded", "bin"):
                report.run(f"{cls} {form}", net, cls, form=form)
        report.run(f"{stem}ForImageClassification 5 labels", net,
                   stem + "ForImageClassification", dict(num_labels=5),
                   labels=5)
    report.run("ConvNextForImageClassification bfloat16", net,
               "ConvNextForImageClassification", dtype=torch.bfloat16)
    for name, (cls, reason, changes) in {
            "layer_type": ("ResNetModel", r'layer_type is "odd"', dict(
                layer_type="odd")),
            "basic for bottleneck": ("ResNetModel", r"not 3 wide", dict(
                layer_type="basic")),
            "stride": ("ResNetModel", r"a shortcut does not fit", dict(
                config=dict(embedding_size=16, layer_type="basic"),
                downsample_in_first_stage=True)),
            "depths": ("ResNetModel", r"without a place", dict(
                depths=[1, 1, 2])),
            "backbone": ("ResNetModel", r'"ResNetBackbone" of model_type',
                         dict(architectures=["ResNetBackbone"])),
            "patch_size": ("ConvNextModel", r"not of the patches", dict(
                patch_size=2)),
            "layer scale": ("ConvNextModel", r"without a place", dict(
                layer_scale_init_value=0.0)),
            "hidden_sizes": ("ConvNextModel", r"groups do not fit", dict(
                hidden_sizes=[8, 16, 32]))}.items():
        config = changes.pop("config", {})
        report.run(f"refused: {cls} {name}", lambda c=cls, r=reason, x=changes,
                   o=config: families.refused(net_model(c, o, 0), r, **x))


# ---- Swin -------------------------------------------------------------------

SWIN = dict(image_size=32, patch_size=4, embed_dim=8, depths=[2, 3],
            num_heads=[2, 4], window_size=4)


def swin_model(cls, config, seed):
    return models.build(cls, transformers.SwinConfig(**{**SWIN, **config}),
                        seed)


def swin(cls, config=None, opset=13, labels=2, seed=0, dtype=None, **repo):
    model = swin_model(cls, config or {}, seed)
    if dtype:
        model = families.rounded(model, dtype)
    c = model.config
    height, width = (c.image_size,) * 2 if isinstance(
        c.image_size, int) else c.image_size
    shape = (c.num_channels, height, width)
    height, width = -(-height // c.patch_size), -(-width // c.patch_size)
    for _ in c.depths[1:]:
        height, width = (height + 1) // 2, (width + 1) // 2
    outputs = {"logits": (B, labels)} if "For" in cls else {
        "last_hidden_state": (B, height * width, c.hidden_size)}
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, dtype=dtype, **repo)
        return families.compared(
            path, opset, {"pixel_values": (B, *shape)}, outputs,
            images(model, shape, outputs))


def swins(report):
    for cls in ("SwinModel", "SwinForImageClassification"):
        for opset in families.OPSETS:
            report.run(f"{cls} opset {opset}", swin, cls, opset=opset,
                       seed=opset)
        for name, config in {
                "image_size that is no square": dict(image_size=[32, 48]),
                "image_size over whole patches": dict(image_size=[35, 42]),
                "image_size over whole windows": dict(image_size=[36, 44]),
                "shifted in all stages": dict(image_size=64),
                "odd grid": dict(image_size=[52, 60], window_size=3),
                "window_size": dict(image_size=48, window_size=6),
                "use_absolute_embeddings": dict(
                    use_absolute_embeddings=True),
                "qkv_bias": dict(qkv_bias=False),
                "mlp_ratio": dict(mlp_ratio=2.0),
                "hidden_act": dict(hidden_act="gelu_new"),
                "layer_norm_eps": dict(layer_norm_eps=1e-3),
                "num_channels": dict(num_channels=1),
                "three stages": dict(image_size=64, depths=[2, 2, 2],
                                     num_heads=[1, 2, 4])}.items():
            report.run(f"{cls} {name}", swin, cls, config)
        for form in ("safetensors-sharded", "bin"):
            report.run(f"{cls} {form}", swin, cls, form=form)
        report.run(f"{cls} bfloat16", swin, cls, dtype=torch.bfloat16)
    report.run("SwinForImageClassification 5 labels", swin,
               "SwinForImageClassification", dict(num_labels=5), labels=5)
    report.run("SwinModel without architectures", swin, "SwinModel",
               architectures=None)
    report.run("SwinModel with relative_position_index", swin, "SwinModel",
               extra={"encoder.layers.0.blocks.0.attention.self."
                      "relative_position_index": torch.zeros(16, 16)})
    for name, (reason, changes) in {
            "window over the image": (r"window of 4 over a grid of 2", dict(
                image_size=16)),
            "window_size": (r"table .* is not of windows of 3", dict(
                window_size=3)),
            "depths": (r"without a place", dict(depths=[2, 2])),
            "num_heads": (r"do not fit", dict(num_heads=[4, 4])),
            "swinv2": (r'no blueprint for model_type "swinv2"', dict(
                model_type="swinv2")),
            "masked image modelling": (
                r'"SwinForMaskedImageModeling" of model_type', dict(
                    architectures=["SwinForMaskedImageModeling"]))}.items():
        report.run(f"refused: SwinModel {name}", lambda r=reason, x=changes:
                   families.refused(swin_model("SwinModel", {}, 0), r, **x))


# ---- DINOv2 ------------------------------------------------------------------

DINO = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            image_size=42, patch_size=14)


def dino(cls, config=None, opset=13, seed=0, **repo):
    stem = cls.split("For")[0].removesuffix("Model")
    c = getattr(transformers, stem + "Config")(**{**DINO, **(config or {})})
    model = models.build(cls, c, seed)
    base = getattr(model, model.base_model_prefix, model)
    tokens = base.embeddings.position_embeddings.shape[1] + getattr(
        c, "num_register_tokens", 0)
    shape = (c.num_channels, c.image_size, c.image_size)
    outputs = {"logits": (B, c.num_labels)} if "For" in cls else {
        "last_hidden_state": (B, tokens, 32)}
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, **repo)
        return families.compared(
            path, opset, {"pixel_values": (B, *shape)}, outputs,
            images(model, shape, outputs))


def dinos(report):
    for stem in ("Dinov2", "Dinov2WithRegisters"):
        for head in ("Model", "ForImageClassification"):
            for opset in families.OPSETS:
                report.run(f"{stem}{head} opset {opset}", dino, stem + head,
                           opset=opset, seed=opset)
        for name, config in {
                "use_swiglu_ffn": dict(use_swiglu_ffn=True),
                "qkv_bias": dict(qkv_bias=False),
                "image_size over whole patches": dict(image_size=45),
                "layer_norm_eps": dict(layer_norm_eps=1e-3),
                "hidden_act": dict(hidden_act="relu"),
                "mlp_ratio": dict(mlp_ratio=2, num_channels=1)}.items():
            report.run(f"{stem}Model {name}", dino, f"{stem}Model", config)
    report.run("Dinov2WithRegistersModel num_register_tokens", dino,
               "Dinov2WithRegistersModel", dict(num_register_tokens=1))
    report.run("Dinov2Model without mask_token", dino, "Dinov2Model",
               dict(use_mask_token=False))
    report.run("refused: Dinov2Model no square", families.refused,
               models.build("Dinov2Model", transformers.Dinov2Config(**DINO),
                            0), "no square", image_size=[42, 28])


def main():
    report = Report(sys.argv[1:])
    families.start()
    for part in (vits, nets, swins, dinos):
        part(report)
    return families.finish(report)


if __name__ == "__main__":
    sys.exit(main())
