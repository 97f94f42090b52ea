#!/usr/bin/env python3
"""Staged weights of torchvision against torchvision's own models, of every
builder a blueprint is for. `test_families_torchvision.py WORD...` runs those
whose name has one of the words; those in LARGE run only when a word names them.
"""
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_stage import Report, stage  # noqa: E402  (77 without its modules)

import onnxruntime as ort  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402

import families  # noqa: E402

B = "batch_size"
HUB = ("", "pytorch/torchvision")
CLASSES = 7
ANY = ("height", "width")

# family: (sizes of the graph's input, sizes to try, builders).
FAMILIES = {
    "ResNet": (ANY, ((64, 64), (37, 51)), (
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152")),
    "ResNeXt": (ANY, ((64, 64), (37, 51)), (
        "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d")),
    "Wide ResNet": (ANY, ((64, 64), (37, 51)), (
        "wide_resnet50_2", "wide_resnet101_2")),
}
# Over 200 MB each.
LARGE = {"resnet152", "resnext101_32x8d", "resnext101_64x4d",
         "wide_resnet50_2", "wide_resnet101_2"}
OPTIONS = {}
NEW, LEGACY = True, False


def randomised(model, seed):
    """Every parameter and statistic is drawn again, none of it 0 or 1, in a
    size that lets numbers neither grow nor vanish on their way."""
    gen = torch.Generator().manual_seed(seed)

    def noise(p):
        return torch.randn(p.shape, generator=gen)

    with torch.no_grad():
        for module in model.modules():
            for name, p in module.named_parameters(recurse=False):
                if isinstance(module, (torch.nn.BatchNorm2d,
                                       torch.nn.LayerNorm)):
                    p.copy_((name == "weight") * 0.7 + 0.1 * noise(p))
                elif p.dim() < 2:
                    p.copy_(0.1 * noise(p))
                else:
                    fan = p[0].numel()
                    p.copy_(noise(p) * (1.4 / fan) ** 0.5)
            for name, b in module.named_buffers(recurse=False):
                if name == "running_mean":
                    b.copy_(0.1 * noise(b))
                elif name == "running_var":
                    b.copy_(0.4 + 1.2 * torch.rand(b.shape, generator=gen))
    return model.eval()


def build(builder, seed):
    torch.manual_seed(seed)
    options = {"num_classes": CLASSES, **OPTIONS.get(builder, {})}
    return randomised(getattr(torchvision.models, builder)(
        weights=None, **options), seed)


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
        report.run(f"{family} {builders[0]} legacy", compared, builders[0],
                   dims, sizes, 13, form=LEGACY)


def refusals(report):
    weight = {"weight": torch.ones(3)}
    resnet = build("resnet18", 0).state_dict()
    for name, (builder, reason, state, *file) in {
            "quantized": ("quantized_resnet18", "quantized weights", weight),
            "unknown": ("raft_small", 'torchvision\'s "raft_small"', weight),
            "no weights": ("resnet18", 'no weight "conv1.weight"', weight),
            "unused weight": ("resnet18", "1 weight .* without a place",
                              {**resnet, "aux.weight": torch.ones(3)}),
            "half": ("resnet18", "is f64", {
                **resnet, "conv1.weight": resnet["conv1.weight"].double()}),
    }.items():
        report.run(f"refused: {name}", refused, builder, reason, state, *file)


def main():
    words = sys.argv[1:]
    report = Report(words)
    families.start()
    run(report, words)
    refusals(report)
    return families.finish(report)


if __name__ == "__main__":
    sys.exit(main())
