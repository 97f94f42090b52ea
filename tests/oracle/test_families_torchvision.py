#!/usr/bin/env python3
"""Staged weights of torchvision against torchvision's own models, of every
builder a blueprint is for. `test_families_torchvision.py WORD...` runs those
whose name has one of the words; those in LARGE run only when a word names them.
"""
import os
import re
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from staging import Report, stage  # noqa: E402  (77 without its modules)

import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402

import families  # noqa: E402

B = "batch_size"
HUB = ("", "pytorch/torchvision")
CLASSES = 7
ANY = ("height", "width")

# family: (sizes of the graph's input, sizes to try, builders).
SMALL = ((64, 64), (37, 51))
FAMILIES = {
    "ResNet": (ANY, SMALL, (
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152")),
    "ResNeXt": (ANY, SMALL, (
        "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d")),
    "Wide ResNet": (ANY, SMALL, ("wide_resnet50_2", "wide_resnet101_2")),
    "AlexNet": ((224, 224), ((224, 224),), ("alexnet",)),
    "VGG": ((224, 224), ((224, 224),), (
        "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn",
        "vgg19", "vgg19_bn")),
    "SqueezeNet": (ANY, ((64, 64), (37, 51), (66, 83)), (
        "squeezenet1_0", "squeezenet1_1")),
    "MobileNetV2": (ANY, SMALL, ("mobilenet_v2",)),
    "MobileNetV3": (ANY, SMALL, ("mobilenet_v3_small", "mobilenet_v3_large")),
    "EfficientNet": (ANY, SMALL, tuple(
        f"efficientnet_b{i}" for i in range(8))),
    "EfficientNetV2": (ANY, SMALL, (
        "efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l")),
    "RegNet": (ANY, SMALL, tuple(
        f"regnet_{k}_{n}" for n in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf",
                                    "16gf", "32gf", "128gf")
        for k in "xy" if (k, n) != ("x", "128gf"))),
    "DenseNet": (ANY, ((64, 64), (37, 51)), (
        "densenet121", "densenet161", "densenet169", "densenet201")),
    "MNASNet": (ANY, SMALL, (
        "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3")),
    "ShuffleNetV2": (ANY, SMALL, (
        "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5",
        "shufflenet_v2_x2_0")),
    "GoogLeNet": (ANY, ((64, 64), (83, 51)), ("googlenet",)),
    "Inception": (ANY, ((96, 96), (83, 101)), ("inception_v3",)),
    "ConvNeXt": (ANY, SMALL, (
        "convnext_tiny", "convnext_small", "convnext_base",
        "convnext_large")),
    "ViT": ((64, 64), ((64, 64),), (
        "vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32")),
    "Swin": ((224, 224), ((224, 224),), ("swin_t", "swin_s", "swin_b")),
    "SwinV2": ((256, 256), ((256, 256),), (
        "swin_v2_t", "swin_v2_s", "swin_v2_b")),
    "MaxViT": ((224, 224), ((224, 224),), ("maxvit_t",)),
    "ViT of 14": ((56, 56), ((56, 56),), ("vit_h_14",)),
}
# Over 200 MB each.
LARGE = {"resnet152", "resnext101_32x8d", "resnext101_64x4d",
         "wide_resnet50_2", "wide_resnet101_2", "efficientnet_b7",
         "efficientnet_v2_m", "efficientnet_v2_l", "regnet_x_16gf",
         "regnet_y_16gf", "regnet_x_32gf", "regnet_y_32gf", "regnet_y_128gf",
         "convnext_small", "convnext_base", "convnext_large", "vit_b_16",
         "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14", "swin_b",
         "swin_v2_b"}
INCEPTION = dict(transform_input=True, init_weights=False)
OPTIONS = {"googlenet": INCEPTION, "inception_v3": INCEPTION,
           **{f"vit_{n}": dict(image_size=64) for n in (
               "b_16", "b_32", "l_16", "l_32")},
           "vit_h_14": dict(image_size=56)}
# What the builders of these cannot make smaller, some hundred MB.
NARROW = {"vgg": (0, 3, 6), "alexnet": (1, 4, 6)}
NEW, LEGACY = True, False


def build(builder, seed):
    torch.manual_seed(seed)
    options = {"num_classes": CLASSES, **OPTIONS.get(builder, {})}
    model = getattr(torchvision.models, builder)(weights=None, **options)
    for stem, layers in NARROW.items():
        if builder.startswith(stem):
            narrowed(model.classifier, layers)
    return families.randomised(model, seed)


def narrowed(sequence, layers):
    width = sequence[layers[0]].in_features
    for i in layers:
        last = sequence[i].out_features
        sequence[i] = torch.nn.Linear(width, last if i == layers[-1] else 48)
        width = 48


def write(state, path, builder, form=NEW, name="weights"):
    where = os.path.join(path, builder)
    os.makedirs(where, exist_ok=True)
    torch.save(state, os.path.join(where, name + ".pth"),
               _use_new_zipfile_serialization=form)


def compared(builder, dims, sizes, opset, form=NEW, rename=None, drop=None):
    model = build(builder, opset)
    state = {(rename or str)(k): v for k, v in model.state_dict().items()
             if not (drop and drop(k))}
    errors = families.Errors()
    with tempfile.TemporaryDirectory(prefix="repo-") as path, \
            tempfile.TemporaryDirectory(prefix="out-") as out:
        write(state, path, builder, form)
        os.makedirs(os.path.join(out, builder))
        at = f"{builder}/model.onnx"
        code, why = stage(path, out, opset, at, HUB[1])
        assert not code, f"stage-dir: {code}: {why}"
        at = os.path.join(out, at)
        nodes = families.check_graph(at, opset, {"pixel_values": (
            B, 3, *dims)}, {"logits": (B, CLASSES)})
        session = ort.InferenceSession(at)
        gen = torch.Generator().manual_seed(5)
        for i, size in enumerate(sizes):
            x = torch.randn((1 + i, 3, *size), generator=gen)
            with torch.no_grad():
                want = model(x)
            got, = session.run(["logits"], {"pixel_values": x.numpy()})
            errors.add("logits", got, want)
            assert want.std() > 1e-3, "all outputs are about the same"
    return f"{errors.worst():.1e}  {nodes} nodes"


def build_segmentation(builder, aux, seed):
    torch.manual_seed(seed)
    options = {} if builder.startswith("lraspp") else {"aux_loss": aux}
    model = getattr(torchvision.models.segmentation, builder)(
        weights=None, weights_backbone=None, num_classes=CLASSES, **options)
    return families.randomised(model, seed)


def segmented(builder, aux, opset):
    model = build_segmentation(builder, aux, opset)
    names = ["out", "aux"] if aux else ["out"]
    errors = families.Errors()
    with tempfile.TemporaryDirectory(prefix="repo-") as path, \
            tempfile.TemporaryDirectory(prefix="out-") as out:
        write(model.state_dict(), path, builder)
        os.makedirs(os.path.join(out, builder))
        at = f"{builder}/model.onnx"
        code, why = stage(path, out, opset, at, HUB[1])
        assert not code, f"stage-dir: {code}: {why}"
        at = os.path.join(out, at)
        nodes = families.check_graph(at, opset, {"pixel_values": (
            B, 3, *ANY)}, {n: (B, CLASSES, *ANY) for n in names})
        session = ort.InferenceSession(at)
        gen = torch.Generator().manual_seed(5)
        for n, size in enumerate(SMALL):
            x = torch.randn((1 + n, 3, *size), generator=gen)
            with torch.no_grad():
                want = model(x)
            assert list(want) == names, list(want)
            for name, got in zip(names, session.run(
                    names, {"pixel_values": x.numpy()})):
                errors.add(name, got, want[name])
    return f"{errors.worst():.1e}  {nodes} nodes"


def segmentation(report):
    for n, builder in enumerate((
            "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large",
            "fcn_resnet50", "deeplabv3_resnet50", "fcn_resnet101",
            "deeplabv3_resnet101")):
        if n > 2 and not told(report.words, builder):
            continue
        aux = not builder.startswith("lraspp")
        for opset in families.OPSETS:
            report.run(f"segmentation {builder} opset {opset}", segmented,
                       builder, aux, opset)
        if aux and n == 0:
            report.run(f"segmentation {builder} without aux", segmented,
                       builder, False, 13)


def refused(builder, reason, state, name="weights"):
    with tempfile.TemporaryDirectory(prefix="repo-") as path, \
            tempfile.TemporaryDirectory(prefix="out-") as out:
        write(state, path, builder, name=name)
        os.makedirs(os.path.join(out, builder))
        code, why = stage(path, out, 13, f"{builder}/{name}.onnx", HUB[1])
        assert code == 3, f"exit {code}: {why}"
        assert re.search(reason, why), why
        return why[:90]


def told(words, builder):
    return builder in words


def run(report, words):
    for family, (dims, sizes, builders) in FAMILIES.items():
        for n, builder in enumerate(builders):
            if builder in LARGE and not told(words, builder):
                continue
            opsets = families.OPSETS if n == 0 else (
                families.OPSETS[n % 2],)
            for opset in opsets:
                report.run(f"{family} {builder} opset {opset}", compared,
                           builder, dims, sizes, opset)
        if builders[0] not in LARGE or told(words, builders[0]):
            report.run(f"{family} {builders[0]} legacy", compared,
                       builders[0], dims, sizes, 13, form=LEGACY)


def old_names(report):
    """As published weights have them, which torchvision renames."""
    for builder, pattern, new in (
            ("densenet121", r"(denselayer\d+\.(?:norm|conv))([12]\.)",
             r"\1.\2"),
            ("vit_b_32", r"\.mlp\.(\d)\.", lambda m: ".mlp.linear_" + {
                "0": "1", "3": "2"}[m[1]] + ".")):
        family = next(f for f in FAMILIES.values() if builder in f[2])
        report.run(f"{builder} old names", compared, builder, *family[:2], 13,
                   rename=lambda k, a=pattern, b=new: re.sub(a, b, k))
    report.run("mobilenet_v2 module.", compared, "mobilenet_v2", ANY, SMALL,
               13, rename=lambda k: "module." + k)
    report.run("resnet18 without num_batches_tracked", compared, "resnet18",
               ANY, SMALL, 13, drop=lambda k: k.endswith("_tracked"))


def refusals(report):
    weight = {"weight": torch.ones(3)}
    resnet = build("resnet18", 0).state_dict()
    for name, (builder, reason, state, *file) in {
            "quantized": ("quantized_resnet18", "quantized weights", weight),
            "optical flow": ("raft_small", "optical flow is not", weight),
            "detection": ("fcos_resnet50_fpn", "detection is not", weight),
            "video": ("swin3d_t", "models of video are not", weight),
            "unknown": ("resnet51", 'torchvision\'s "resnet51"', weight),
            "backbone": ("vgg16", "are weights of a backbone", weight,
                         "vgg16_features-amdegroot-88682ab5"),
            "shortcut": ("resnet34", "shortcut is missing", {
                k: v for k, v in resnet.items() if "downsample" not in k}),
            "of another builder": (
                "mobilenet_v2", r'no weight "features.1.conv.0.0.weight"',
                build("mobilenet_v3_small", 0).state_dict()),
            "no weights": ("resnet18", 'no weight "conv1.weight"', weight),
            "unused weight": ("resnet18", "1 weight .* without a place",
                              {**resnet, "aux.weight": torch.ones(3)}),
            "half": ("resnet18", "is f64", {
                **resnet, "conv1.weight": resnet["conv1.weight"].double()}),
    }.items():
        report.run(f"refused: {name}", refused, builder, reason, state, *file)


def variants(builder):
    """What is made of the staged file, whichever stager made that."""
    model = build(builder, 13)
    x = torch.randn((2, 3, 64, 64), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        want = model(x)
    text = []
    with tempfile.TemporaryDirectory(prefix="repo-") as path, \
            tempfile.TemporaryDirectory(prefix="out-") as out:
        write(model.state_dict(), path, builder, NEW)
        os.makedirs(os.path.join(out, builder))
        for name in os.listdir(os.path.join(path, builder)):
            shutil.copy(os.path.join(path, builder, name),
                        os.path.join(out, builder))
        for kind, bound in (("fp16", 5e-3), ("int8", None),
                            ("skeleton", 2e-5), ("trainable", 2e-5)):
            at = f"{builder}/model_{kind}.onnx"
            code, why = stage(path, out, 13, at, HUB[1])
            assert not code, f"stage-dir: {code}: {why}"
            at = os.path.join(out, at)
            onnx.checker.check_model(at, full_check=True)
            errors = families.Errors()
            errors.add("logits", ort.InferenceSession(at).run(
                ["logits"], {"pixel_values": x.numpy()})[0], want)
            text.append(f"{kind} {errors.worst(bound):.1e}" if bound else
                        f"{kind} {errors.cosine():.5f}")
    return "  ".join(text)


def main():
    words = sys.argv[1:]
    report = Report(words)
    families.start()
    run(report, words)
    segmentation(report)
    old_names(report)
    for builder in ("resnet18", "mobilenet_v3_small", "densenet121"):
        report.run(f"variants: {builder}", variants, builder)
    refusals(report)
    return families.finish(report)


if __name__ == "__main__":
    sys.exit(main())
