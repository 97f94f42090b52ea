#!/usr/bin/env python3
"""Staged models of timm against timm's own, with the config.json that timm
writes. `test_families_timm.py WORD...` runs the cases whose name has one of the
words; "all" every architecture a blueprint is for, as shallow as its function
makes it.
"""
import os
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from staging import SRCDIR, Report, stage  # noqa: E402  (77 without)

try:
    import timm  # noqa: E402
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)
import onnxruntime as ort  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from timm.models._hub import save_config_for_hf  # noqa: E402

import families  # noqa: E402

B = "batch_size"
CLASSES = 7
ANY = ("height", "width")
SMALL = ((64, 64), (75, 51))
EVEN = ((64, 64), (98, 64))     # where a stage wants both halves to be whole
LARGEST = 3e8       # numbers; "all" leaves out what is larger

def whole_patches(name):
    """Those of a dynamic size want whole patches."""
    return dict(VIT, img_size=56) if "intern" in name else VIT


# blueprint: (what makes any architecture of it small, sizes to try or none:
# the one it is built for, rows of [architecture, arguments]).
NEXT = dict(depths=[1, 1, 2, 1])
SWIN = dict(depths=[2, 2, 2, 1], img_size=128)
VIT = dict(depth=2, img_size=64)
RESNET = dict(layers=[1, 1, 1, 1])
FAMILIES = {
    "timm-convnext": (NEXT, SMALL, (
        ["convnext_tiny", dict(NEXT)],
        ["convnext_atto"],
        ["convnext_atto_ols", NEXT],
        ["convnext_atto_rms", NEXT],
        ["convnext_large_mlp", dict(NEXT, dims=[16, 24, 32, 48],
                                    head_hidden_size=40)],
        ["convnext_tiny_hnf", NEXT],
        ["convnext_tiny_hnf", dict(NEXT, num_classes=0)],
        ["convnext_zepto_rms"],
        ["convnext_zepto_rms_ols", NEXT],
        ["convnextv2_atto", NEXT],
        ["convnextv2_tiny", NEXT],
        ["test_convnext"],
        ["test_convnext2", dict(in_chans=4)],
        ["test_convnext3", dict(num_classes=0)],
        ["test_convnext3", dict(global_pool="max", norm_eps=1e-3,
                                act_layer="relu")],
        ["convnext_atto", dict(NEXT, conv_bias=False, patch_size=2)],
    )),
    "timm-efficientnet": ({}, SMALL, (
        ["efficientnet_b0"],
        ["tf_efficientnet_b0"],
        ["efficientnet_b0_gn"],
        ["efficientnet_blur_b0"],
        ["efficientnet_es"],
        ["tf_efficientnet_lite0"],
        ["efficientnet_b1_pruned"],
        ["efficientnetv2_rw_t"],
        ["tf_efficientnetv2_b0"],
        ["tf_mixnet_s"],
        ["mixnet_m"],
        ["mnasnet_small"],
        ["semnasnet_050"],
        ["mobilenetv1_100"],
        ["mobilenetv2_050"],
        ["mobilenetv3_small_050"],
        ["mobilenetv3_rw"],
        ["tf_mobilenetv3_small_075"],
        ["tf_mobilenetv3_small_minimal_100"],
        ["mobilenetv3_small_050", dict(num_classes=0, in_chans=1)],
        ["mobilenetv3_small_050", dict(global_pool="avgmax")],
        ["mobilenetv4_conv_small_035"],
        ["mobilenetv4_conv_medium"],
        ["mobilenet_edgetpu_100"],
        ["fbnetc_100"],
        ["fbnetv3_b"],
        ["hardcorenas_a"],
        ["lcnet_035"],
        ["lcnet_035", dict(num_classes=0)],
        ["tinynet_e"],
        ["tinynet_e", dict(num_classes=0, global_pool="max")],
        ["test_efficientnet"],
        ["test_efficientnet_gn"],
    )),
    "timm-resnet": (RESNET, SMALL, (
        ["resnet18"],
        ["resnet50", dict(layers=[1, 2, 1, 1])],
        ["resnet50d", RESNET],
        ["resnet26t"],
        ["resnet50_gn", RESNET],
        ["resnetaa50d", RESNET, EVEN],
        ["resnetblur50", RESNET],
        ["resnetrs50", RESNET],
        ["resnext50_32x4d", RESNET],
        ["wide_resnet50_2", RESNET],
        ["senet154", RESNET],
        ["seresnet18"],
        ["seresnextaa101d_32x8d", RESNET, EVEN],
        ["ecaresnet50t", RESNET],
        ["test_resnet"],
        ["test_resnet", dict(num_classes=0)],
        ["test_resnet", dict(in_chans=1, act_layer="silu")],
        ["test_resnet", dict(global_pool="max")],
        ["test_resnet", dict(global_pool="avgmax", num_classes=0)],
        ["test_resnet", dict(global_pool="catavgmax")],
    )),
    "timm-swin": (SWIN, None, (
        ["swin_tiny_patch4_window7_224", SWIN],
        ["swin_tiny_patch4_window7_224", dict(SWIN, img_size=[64, 96],
                                              window_size=2)],
        ["swin_tiny_patch4_window7_224", dict(SWIN, img_size=72,
                                              window_size=4, num_classes=0)],
        ["swin_tiny_patch4_window7_224", dict(SWIN, embed_dim=32,
                                              head_dim=8, in_chans=1,
                                              num_heads=[2, 4, 4, 8])],
        ["swin_tiny_patch4_window7_224", dict(SWIN, global_pool="max",
                                              qkv_bias=False)],
        ["swin_s3_tiny_224", SWIN],
        ["swinv2_tiny_window8_256", SWIN],
        ["swinv2_tiny_window8_256", dict(SWIN, qkv_bias=False,
                                         act_layer="silu", img_size=72,
                                         window_size=[5, 5, 3, 2])],
        ["swinv2_base_window12to16_192to256", SWIN],
    )),
    "timm-vit": (whole_patches, None, (
        ["vit_tiny_patch16_224", VIT],
        ["vit_tiny_patch16_224", dict(VIT, img_size=[32, 64])],
        ["vit_tiny_patch16_224", dict(VIT, num_classes=0)],
        ["vit_tiny_patch16_224", dict(VIT, qkv_bias=False, num_heads=4,
                                      in_chans=1, act_layer="relu")],
        ["vit_tiny_patch16_224", dict(VIT, global_pool="avg")],
        ["vit_tiny_patch16_224", dict(VIT, global_pool="avgmax",
                                      pool_include_prefix=True)],
        ["vit_tiny_patch16_224", dict(VIT, global_pool="max", fc_norm=False)],
        ["vit_tiny_patch16_224", dict(VIT, norm_layer="rmsnorm",
                                      qk_norm=True, scale_attn_norm=True,
                                      scale_mlp_norm=True)],
        ["vit_base_patch16_clip_quickgelu_224", VIT],
        ["vit_base_patch16_siglip_256", VIT],
        ["vit_base_patch32_siglip_gap_256", VIT],
        ["vit_small_patch14_reg4_dinov2", dict(VIT, img_size=28)],
        ["vit_giant_patch14_dinov2", dict(VIT, img_size=28, depth=1)],
        ["vit_small_patch16_18x2_224", VIT],
        ["vit_base_patch16_rpn_224", VIT],
        ["vit_base_patch16_xp_224", VIT],
        ["vit_pwee_patch16_reg1_gap_256", VIT],
        ["vit_base_patch16_gap_224", VIT],
        ["vit_base_patch16_radio_v3", dict(VIT, img_size=32)],
        ["aimv2_large_patch14_224", dict(VIT, img_size=28, depth=1)],
        ["beit3_base_patch16_224", VIT],
        ["deit_tiny_patch16_224", VIT],
        ["deit_tiny_distilled_patch16_224", VIT],
        ["deit_tiny_distilled_patch16_224", dict(VIT, num_classes=0)],
        ["deit3_small_patch16_224", VIT],
        ["flexivit_small", dict(VIT, img_size=48)],
        ["test_vit", dict(img_size=64)],
        ["test_vit2"],
        ["test_vit3"],
        ["test_vit4"],
    )),
}


def build(name, args, seed):
    torch.manual_seed(seed)
    return families.randomised(timm.create_model(
        name, **{"num_classes": CLASSES, **args}), seed)


def write(model, path, rename=None, drop=None):
    save_config_for_hf(model, Path(path) / "config.json")
    state = {(rename or str)(k): v.contiguous()
             for k, v in model.state_dict().items()
             if not (drop and drop(k))}
    save_file(state, os.path.join(path, "model.safetensors"))


def shape_of(model, sizes):
    """Channels, the graph's sizes, and those to try."""
    cfg = model.pretrained_cfg
    channels = getattr(model, "in_chans", cfg["input_size"][0])
    if sizes:
        return channels, ANY, sizes
    args = getattr(model, "_model_args", {})
    size = args.get("img_size", cfg["input_size"][1:])
    size = (size, size) if isinstance(size, int) else tuple(size)
    return channels, size, (size,)


def compared(name, args, sizes, opset, **kept):
    model = build(name, args, opset)
    channels, dims, sizes = shape_of(model, sizes)
    errors = families.Errors()
    with tempfile.TemporaryDirectory(prefix="repo-") as path, \
            tempfile.TemporaryDirectory(prefix="out-") as out:
        write(model, path, **kept)
        os.makedirs(os.path.join(out, "pytorch"))
        code, why = stage(path, out, opset, "pytorch/model.onnx")
        assert not code, f"stage-dir: {code}: {why}"
        at = os.path.join(out, "pytorch", "model.onnx")
        gen = torch.Generator().manual_seed(5)
        x = torch.randn((1, channels, *sizes[0]), generator=gen)
        with torch.no_grad():
            width = model(x).shape[1]
        what = "logits" if model.num_classes else "pooler_output"
        nodes = families.check_graph(
            at, opset, {"pixel_values": (B, channels, *dims)},
            {what: (B, width)})
        session = ort.InferenceSession(at)
        for i, size in enumerate(sizes):
            x = torch.randn((2 - i, channels, *size), generator=gen)
            with torch.no_grad():
                want = model(x)
            got, = session.run([what], {"pixel_values": x.numpy()})
            errors.add(what, got, want)
            assert want.std() > 1e-3, "all outputs are about the same"
    return f"{errors.worst():.1e}  {nodes} nodes"


def refused(name, args, reason, **kept):
    with tempfile.TemporaryDirectory(prefix="repo-") as path, \
            tempfile.TemporaryDirectory(prefix="out-") as out:
        write(build(name, args, 0), path, **kept)
        os.makedirs(os.path.join(out, "pytorch"))
        code, why = stage(path, out, 13, "pytorch/model.onnx")
        assert code == 3, f"exit {code}: {why}"
        assert re.search(reason, why), why
        return why[:90]


def title(name, args):
    return " ".join([name, *(f"{k}={v}".replace(" ", "")
                             for k, v in args.items())])


def rows(report):
    for _, sizes, cases in FAMILIES.values():
        for n, case in enumerate(cases):
            name, args, at = (*case, {}, sizes)[:3] if len(case) != 2 else (
                *case, sizes)
            for opset in families.OPSETS if n == 0 else (
                    families.OPSETS[n % 2],):
                report.run(f"{title(name, args)} opset {opset}", compared,
                           name, args, at, opset)


def names_of(blueprint):
    """The architectures that a blueprint says it is for."""
    with open(os.path.join(SRCDIR, "stage", "blueprints",
                           blueprint + ".bp"), encoding="utf-8") as f:
        text = f.read()
    return [n for names in re.findall(
        r'^family "[^"]*" for timm ((?:"[^"]*",?\s*)+)', text, re.M)
        for n in re.findall(r'"([^"]*)"', names)]


def whole(name, small, sizes, opset):
    """One architecture of "all"."""
    with torch.device("meta"):
        model = timm.create_model(name, **small)
    size = sum(p.numel() for p in model.parameters())
    if size > LARGEST:
        return f"left out, {size:.1e} numbers"
    return compared(name, small, sizes, opset)


def every(report, words):
    for blueprint, (small, sizes, _) in FAMILIES.items():
        if len(words) > 1 and blueprint not in words:
            continue
        for n, name in enumerate(names_of(blueprint)):
            report.words = [name]
            args = small(name) if callable(small) else small
            at = EVEN if re.search("resne(x)?taa", name) else sizes
            report.run(name, whole, name, args, at, families.OPSETS[n % 2])


def downsample_at_end(key):
    """As files had it when a stage still ended with what halves the image."""
    key = re.sub(r"layers\.(\d)\.downsample", lambda m:
                 f"layers.{int(m[1]) - 1}.downsample", key)
    return key.replace("head.fc.", "head.")


def old_names(report):
    name = "swin_tiny_patch4_window7_224"
    report.run(f"{name} old names", compared, name, SWIN, None, 13,
               rename=downsample_at_end)


def refusals(report):
    small = dict(layers=[1, 1, 1, 1])
    for name, (reason, args, kept) in {
            "resnet18": (r'argument output_stride|output_stride is 16',
                         dict(output_stride=16, **small), {}),
    }.items():
        report.run(f"refused: {title(name, args)}", refused, name, args,
                   reason, **kept)


def main():
    words = sys.argv[1:]
    report = Report(words)
    families.start()
    if "all" in words:
        every(report, words)
    else:
        rows(report)
        old_names(report)
        refusals(report)
    return families.finish(report)


if __name__ == "__main__":
    sys.exit(main())
