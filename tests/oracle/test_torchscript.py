#!/usr/bin/env python3
"""Programs of torch against torch: modules scripted, traced and exported, of
which stage-dir makes ONNX; onnxruntime's outputs are torch's to 2e-5 of the
largest. A batch is never of the size the program was traced with.
`test_torchscript.py WORD...` runs the cases whose name has one of the words;
those in LARGE run only when a word names them.
"""
import os
import shutil
import sys
import tempfile
import warnings
from typing import Optional

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from staging import Report, TOLERANCE, shipped, stage  # noqa: E402  (77)

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

warnings.filterwarnings("ignore")
torch.set_grad_enabled(False)


class Of(nn.Module):
    """A function as module; for tracing and exporting."""
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return self.fn(x)


class Recurrent(nn.Module):
    def __init__(self, batch_first=True):
        super().__init__()
        self.l = nn.LSTM(8, 6, 2, batch_first=batch_first, bidirectional=True)
        self.g = nn.GRU(12, 5, batch_first=batch_first)
        self.o = nn.Linear(5, 3)

    def forward(self, x):
        y, (h, c) = self.l(x)
        z, n = self.g(y)
        return self.o(z), h, c, n


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.l, self.g = nn.LSTMCell(8, 6), nn.GRUCell(6, 5)

    def forward(self, x):
        h, c = self.l(x)
        return self.g(h), c


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.b, self.g = nn.BatchNorm2d(8), nn.GroupNorm(4, 8)
        self.i = nn.InstanceNorm2d(8, affine=True)
        self.l = nn.LayerNorm([8, 12, 12])

    def forward(self, x):
        return self.l(self.b(x)) + self.g(x) * self.i(x)


class Convs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(8, 12, 3, 2, 1, groups=2)
        self.t = nn.ConvTranspose2d(12, 6, 3, 2, 1, 1, bias=False)
        self.s = nn.Conv2d(6, 4, (2, 4), padding="same", dilation=2)
        self.d = nn.Conv1d(48, 8, 3, padding=2, dilation=2)

    def forward(self, x):
        y = self.s(self.t(self.a(x)))
        return self.d(y.flatten(1, 2))


class Control(nn.Module):
    """What only scripting keeps: choices, loops, lists, None."""
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.scale: Optional[float] = 0.5
        self.names = {"a": 1, "b": 2}

    def forward(self, x):
        if x.dim() == 2:
            x = x.unsqueeze(1)
        outs = []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i % 2 == 0:
                x = F.relu(x)
            else:
                outs.append(x)
        n = 0
        while n < self.names["b"]:
            x = x + n
            n += 1
        if self.scale is not None:
            x = x * self.scale
        assert x.size(-1) == 8
        outs.append(x)
        return torch.cat(outs, 1), x.shape[0] * 2


def early(x: torch.Tensor) -> torch.Tensor:
    if bool(x[0, 0] > 0.1):
        return x + 1
    if bool(x.max() > 1.5):
        return x * 3
    return x - 2


class Choice(nn.Module):
    """Choices by elements: both ways are taken with some input."""
    both = True

    def __init__(self):
        super().__init__()
        self.l = nn.Linear(8, 8)

    def forward(self, x):
        y = self.l(x)
        if x.sum() > 0:
            z, scale, n = F.relu(y), 2.0, 3
            many = [z, x]
            parts = (z * 2, x)
        else:
            z = y.clone()
            z.add_(1)
            scale, n = 0.5, x.size(0)
            many = [x, torch.tanh(z)]
            if bool(z.mean() > 0.5) and not bool(x[1, 1] > 0):
                z = z * 7
            many.append(z)
            many.pop()
            parts = (z, y)
        w = many[0] if bool(y.min() > -1.5) else x
        flag = bool(x.sum() < 0)
        if flag:
            w = w - n
        if bool(torch.isnan(x).any()):
            raise ValueError("nan")
        many.append(w)
        return early(x), z * scale + n, torch.cat(many, 1), parts, flag


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.m = nn.MultiheadAttention(16, 4, batch_first=True)
        self.e = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True,
                                            activation="gelu")
        self.e.enable_nested_tensor = False

    def forward(self, x):
        y, w = self.m(x, x, x)
        z = F.scaled_dot_product_attention(y, x, x, is_causal=True)
        return z + y, w


class Embedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(30, 8)
        self.o = nn.Linear(8, 30)

    def forward(self, ids):
        x = self.e(ids)
        mask = ids.eq(3).unsqueeze(-1)
        return self.o(x.masked_fill(mask, 0.25)).log_softmax(-1)


def elementwise(x):
    y = torch.exp(-x.abs()) + torch.log1p(x * x) - torch.rsqrt(x * x + 1)
    z = torch.where(x > 0, torch.sin(x), torch.cos(x)) ** 3
    w = torch.clamp(x, -1, 1) / (x.abs() + 2) + torch.remainder(x, 0.7)
    return y + z * 2 - w // 0.3, (x > 0) & ~(x > 1), torch.round(x * 3)


def types(x):
    i = (x * 10).to(torch.int64)
    return i + 1, i * 0.5, i / 3, torch.floor_divide(i, 3), i % 4, \
        (x > 0).float() + i, torch.div(i, 3, rounding_mode="trunc")


def activations(x):
    return F.gelu(x), F.gelu(x, approximate="tanh"), F.silu(x), F.mish(x), \
        F.hardswish(x), F.hardsigmoid(x), F.elu(x, 0.7), F.selu(x), \
        F.leaky_relu(x, 0.2), F.relu6(x), F.softplus(x, 2), F.celu(x), \
        F.logsigmoid(x), F.hardtanh(x, -0.5, 0.4), F.softsign(x), \
        F.glu(x, 1), F.threshold(x, 0.1, -2), F.tanhshrink(x)


def shapes(x):
    a, b = x.chunk(2, 1)
    y = torch.stack([a, b], 1).transpose(1, 2).reshape(x.size(0), -1, 12)
    z = x.permute(0, 2, 3, 1).flatten(1, 2).unflatten(1, (12, 12))
    w = x[:, 1:7:2, -5:, :].unsqueeze(0).expand(2, -1, -1, -1, -1)
    u, v = torch.split(x, [3, 5], 1)
    return y, z.narrow(1, 2, 5), w.squeeze(0), u.repeat(1, 2, 1, 1), \
        v.unbind(1)[3], torch.roll(x, (2, -3), (2, 3)), x.flip(1), \
        F.pixel_shuffle(x, 2), F.channel_shuffle(x, 4)


def reductions(x):
    values, where = x.max(1)
    top, _ = x.topk(3, 1)
    return x.mean((2, 3)), x.sum(1, keepdim=True), x.std((1, 2)), \
        x.var(3, unbiased=False), values, where, x.argmin(2), top, \
        x.amax((1, 2)), x.norm(dim=1), x.logsumexp(1), x.cumsum(2), \
        F.normalize(x, dim=1), (x > 0).any(1), x.prod(2), x.sort(3)[0]


def pools(x):
    return F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 2, padding=1), \
        F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), \
        F.adaptive_avg_pool2d(x, (4, 3)), F.adaptive_avg_pool2d(x, 1), \
        F.adaptive_max_pool2d(x, 6), F.max_pool2d(x, 3, 2, ceil_mode=True), \
        F.max_pool1d(x.flatten(2), 4), F.max_pool2d(x, 3, 1, 2 // 2, 2)


def resizes(x):
    return F.interpolate(x, scale_factor=2.0), \
        F.interpolate(x, size=(7, 9)), \
        F.interpolate(x, scale_factor=2.0, mode="bilinear"), \
        F.interpolate(x, size=(19, 5), mode="bilinear"), \
        F.interpolate(x, size=(20, 30), mode="bilinear", align_corners=True)


def borders(x):
    return F.pad(x, (1, 2, 3, 0)), F.pad(x, (1, 2), value=0.5), \
        F.pad(x, (2, 1, 1, 2), mode="reflect"), \
        F.pad(x, (1, 1, 2, 2), mode="replicate"), F.pad(x, (-1, 2)), \
        torch._C._nn.reflection_pad2d(x, (2, 1, 1, 2)), \
        torch._C._nn.replication_pad2d(x, (2, 1, 1, 2))


def indices(x):
    i = torch.tensor([3, 0, 5])
    return x[:, i], x.index_select(2, i), x[:, :, 1, -1], \
        x.gather(1, (x > 0).long()), torch.tril(x), torch.triu(x, 1), \
        x[i[:2] - i[:2], i[:2]]


def products(x):
    y = x.flatten(0, 1)
    return torch.einsum("bchw,bcwk->bchk", x, x), y @ y.transpose(1, 2), \
        torch.baddbmm(y, y, y, beta=0.5, alpha=2), \
        torch.addmm(y[0], y[0], y[1], beta=0.3), torch.mv(y[0], y[1, 0])


def made(x):
    n = x.size(0)
    a = torch.arange(n * 2, device=x.device).view(n, 2)
    return a, torch.zeros(n, 3), torch.ones_like(x), torch.full((n, 2), 0.5), \
        x.new_zeros(n, 1), torch.linspace(0, 1, 7), x + torch.tensor(2.5)


IMAGE = ((2, 8, 12, 12),)
SEQUENCE = ((2, 5, 8),)
TRACED = ("traced", "exported")
ALL = ("scripted",) + TRACED
CASES = {
    "elementwise": (lambda: Of(elementwise), IMAGE, TRACED),
    "types": (lambda: Of(types), IMAGE, TRACED),
    "activations": (lambda: Of(activations), IMAGE, TRACED),
    "shapes": (lambda: Of(shapes), IMAGE, TRACED),
    "reductions": (lambda: Of(reductions), IMAGE, TRACED),
    "pools": (lambda: Of(pools), IMAGE, TRACED),
    "resizes": (lambda: Of(resizes), IMAGE, TRACED),
    "borders": (lambda: Of(borders), IMAGE, TRACED),
    "indices": (lambda: Of(indices), IMAGE, TRACED),
    "products": (lambda: Of(products), IMAGE, TRACED),
    "made": (lambda: Of(made), IMAGE, TRACED),
    "norms": (Norms, IMAGE, TRACED), "convs": (Convs, IMAGE, TRACED),
    "control flow": (Control, ((2, 8),), ("scripted", "traced")),
    "choice": (Choice, ((2, 8),), ("scripted",)),
    "attention": (Attention, ((2, 5, 16),), ALL),
    "embedding": (Embedding, ((2, 5),), ALL),
    "LSTM and GRU": (Recurrent, SEQUENCE, ALL),
    "LSTM, time first": (lambda: Recurrent(False), ((5, 2, 8),),
                         ("scripted", "traced")),
    "cells": (Cells, ((2, 8),), ALL),
    "ResNet-18": (lambda: torchvision.models.resnet18(num_classes=7),
                  ((2, 3, 64, 64),), ALL),
    "MobileNetV3": (lambda: torchvision.models.mobilenet_v3_small(
        num_classes=7), ((2, 3, 64, 64),), ALL),
    "ViT": (lambda: torchvision.models.VisionTransformer(
        64, 16, 2, 4, 32, 64, num_classes=7), ((2, 3, 64, 64),), ALL),
}
LARGE = {
    n: (lambda n=n: getattr(torchvision.models, n)(
        weights=None, init_weights=False) if n in ("googlenet", "inception_v3")
        else getattr(torchvision.models, n)(weights=None),
        ((2, 3, 299 if n[0] == "i" else 224, 299 if n[0] == "i" else 224),),
        ALL)
    for n in ("alexnet", "vgg11_bn", "squeezenet1_1", "densenet121",
              "googlenet", "inception_v3", "shufflenet_v2_x1_0",
              "efficientnet_b0", "regnet_y_400mf", "convnext_tiny", "swin_t",
              "swin_v2_t", "maxvit_t", "mnasnet1_0")}


def randomised(module):
    """None of its weights is 0 or 1."""
    torch.manual_seed(3)
    for name, p in list(module.named_parameters()) + list(
            module.named_buffers()):
        if not p.is_floating_point() or "relative" in name:
            continue
        if "running_var" in name or (p.dim() == 1 and "bias" not in name):
            p.uniform_(0.6, 1.4)
        elif p.dim() < 2 or not p.any():
            p.normal_(0, 0.3)
    return module.eval()


def example(shape, batch, seed=1):
    torch.manual_seed(seed)
    dims = [batch if d == 2 else d for d in shape]
    return torch.randint(0, 30, dims) if shape == (2, 5) else \
        torch.randn(dims)


def saved(kind, module, shapes_, path):
    inputs = tuple(example(s, 2) for s in shapes_)
    if kind == "scripted":
        torch.jit.script(module).save(path)
    elif kind == "traced":
        torch.jit.trace(module, inputs, check_trace=False).save(path)
    else:
        axes = tuple({s.index(2): torch.export.Dim("batch")}
                     for s in shapes_)
        torch.export.save(torch.export.export(
            module, inputs, dynamic_shapes=axes), path)


def run(kind, make, shapes_, opset):
    module = randomised(make())
    top = tempfile.mkdtemp(prefix="script-")
    try:
        repo, out = os.path.join(top, "repo"), os.path.join(top, "out")
        os.makedirs(repo)
        saved(kind, module, shapes_, os.path.join(
            repo, "m.pt2" if kind == "exported" else "m.pt"))
        os.makedirs(out)
        code, why = stage(repo, out, opset, "m.onnx")
        if code:
            raise AssertionError(why)
        path = os.path.join(out, "m.onnx")
        onnx.checker.check_model(path, full_check=True)
        # What a program is traced with becomes part of it.
        if kind == "traced":
            module = torch.jit.load(os.path.join(repo, "m.pt"))
        return compare(module, path, shapes_)
    finally:
        shutil.rmtree(top)


def compare(module, path, shapes_):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch, sign in ((3, 1), (5, 1), (3, -1)):
        if sign < 0 and not hasattr(module, "both"):
            continue
        inputs = [example(s, batch, batch) * sign for s in shapes_]
        # A scripted program that asks for the rank before all else.
        while inputs[0].dim() < len(session.get_inputs()[0].shape):
            inputs[0] = inputs[0].unsqueeze(1)
        want = flat(module(*inputs))
        got = session.run(None, {i.name: x.numpy() for i, x in zip(
            session.get_inputs(), inputs)})
        assert len(got) == len(want), (len(got), len(want))
        for g, w in zip(got, want):
            w = w.numpy() if isinstance(w, torch.Tensor) else np.array(w)
            assert g.shape == w.shape, (g.shape, w.shape)
            if g.size == 0:
                continue
            assert g.dtype == w.dtype, (g.dtype, w.dtype)
            g, w = g.astype(np.float64), w.astype(np.float64)
            worst = max(worst, np.abs(g - w).max() / max(
                np.abs(w).max(), 1e-6))
    assert worst < TOLERANCE, worst
    return f"{worst:.1e}"


def flat(v):
    return [x for y in v for x in flat(y)] if isinstance(
        v, (tuple, list)) else [v]


def silero(rate, how):
    """The networks inside silero-vad, with their weights: scripted as they
    are shipped, and traced with the state they hand on as input and output.
    The module around them keeps a state from call to call, and is refused."""
    where = shipped("silero_vad")
    if where is None:
        return "skipped: no silero_vad"
    whole = os.path.join(where, "data", "silero_vad.jit")
    top = tempfile.mkdtemp(prefix="silero-")
    try:
        shutil.copy(whole, os.path.join(top, "whole.jit"))
        code, why = stage(top, top, 13, "whole.onnx")
        assert code == 3 and "sr" in why, why
        os.remove(os.path.join(top, "whole.jit"))
        module = torch.jit.load(whole)
        part = module._model if rate == 16000 else module._model_8k
        path = os.path.join(top, "part.pt")
        length = rate * 36 // 1000
        traced = how == "traced with its state"
        if traced:
            torch.jit.trace(Stateful(part), (torch.randn(2, length),
                            torch.randn(2, 2, 128))).save(path)
        else:
            part.save(path)
        code, why = stage(top, top, 13, "part.onnx")
        assert not code, why
        session = ort.InferenceSession(os.path.join(top, "part.onnx"))
        return listen(part, session, length, traced)
    finally:
        shutil.rmtree(top)


class Stateful(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x, state):
        return self.part(x, state)


def listen(part, session, length, traced):
    """Three pieces of a tone that swells, each with the state of the last."""
    torch.manual_seed(5)
    worst = 0.0
    for batch in (1, 3):
        state, mine = torch.zeros(2, batch, 128), np.zeros(
            (2, batch, 128), np.float32)
        tone = torch.sin(torch.arange(3 * length) * 0.2) * torch.linspace(
            0, 0.7, 3 * length) * torch.arange(1, batch + 1)[:, None]
        for x in (tone + 0.02 * torch.randn(tone.shape)).split(length, 1):
            names = [i.name for i in session.get_inputs()]
            got = session.run(None, dict(zip(names, [x.numpy(), mine])))
            want = part(x, state) if traced else part(x)
            state, mine = want[1], got[1]
            for g, w in zip(got, want):
                assert g.shape == w.shape, (g.shape, w.shape)
                worst = max(worst, np.abs(g - w.numpy()).max() /
                            np.abs(w.numpy()).max())
    assert worst < TOLERANCE, worst
    return f"{worst:.1e}"


def main():
    report = Report(sys.argv[1:])
    cases = dict(CASES)
    if report.words:
        cases.update(LARGE)
    for name, (make, shapes_, kinds) in cases.items():
        for kind in kinds:
            # The walk is the same; what opset 13 writes out is not.
            for opset in ((13, 17) if kind == kinds[-1] else (13,)):
                report.run(f"{name} {kind} {opset}", run, kind, make, shapes_,
                           opset)
    for rate in (16000, 8000):
        for how in ("as it is", "traced with its state"):
            report.run(f"silero-vad {rate} {how}", silero, rate, how)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
