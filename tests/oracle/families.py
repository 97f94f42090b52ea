"""What the oracle tests of families beside BERT's share: staging one model
and holding every output against torch's, step by step for decoders."""
import copy
import os
import re
import shutil
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
import torch
import transformers

import models
from staging import (EIGHT, SAMEDIFF_OPS, TOLERANCE, VARIANTS, Report, stage,
                     staged)

OPSETS = (13, 17)


def start():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    ort.set_default_logger_severity(3)


def saved_state(model):
    """The weights as save_pretrained names them, which is not always as the
    classes do."""
    from safetensors.torch import load_file
    with tempfile.TemporaryDirectory(prefix="saved-") as path:
        model.save_pretrained(path)
        return load_file(os.path.join(path, "model.safetensors"))


def write_repo(model, path, form="safetensors", drop=None, extra=None,
               rename=None, dtype=None, **changes):
    """As models.write_repo, with the names of save_pretrained."""
    models.write_config(model, path, **changes)
    state = saved_state(model)
    state = {(rename or str)(k): v for k, v in state.items()
             if not (drop and drop(k))}
    state.update(extra or {})
    if dtype:
        state = {k: v.to(dtype) for k, v in state.items()}
    models.write_weights(state, path, form)


def randomised(model, seed):
    """Every parameter and statistic is drawn again, none of it 0 or 1, in a
    size that lets numbers neither grow nor vanish on their way."""
    gen = torch.Generator().manual_seed(seed)

    def noise(p):
        return torch.randn(p.shape, generator=gen)

    with torch.no_grad():
        for module in model.modules():
            kind = type(module).__name__
            norm = "Norm" in kind or kind == "Affine"
            for name, p in module.named_parameters(recurse=False):
                if norm and p.dim() < 5 and name in ("weight", "alpha"):
                    p.copy_(0.7 + 0.1 * noise(p))
                elif "gamma" in name or name == "layer_scale" or \
                        name.startswith("ls"):
                    p.copy_(0.5 + 0.1 * noise(p))
                elif p.dim() < 2 or p.numel() == p.shape[-1]:
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


def rounded(model, dtype):
    """The same model with weights that dtype can hold."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(dtype).float())
    return model


def halved(model):
    """The same model with what a _fp16 variant rounds (matrices, not
    vectors) rounded by torch: of it the variant may differ no more than a
    graph may of its model."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() >= 2:
                p.copy_(p.half().float())
    return model


def group_of(dims, n):
    """How many elements have one scale (stage/variant-weights.c)."""
    row = n // dims[0]
    by = [g for g in range(16, 7, -1) if row % g == 0]
    if not by and 4 <= row < 8:
        by = [row]
    by += [g for g in range(16, 7, -1) if n % g == 0]
    if 4 <= row <= 64:
        by.append(row)
    return by[0] if by else 0


def eight_bits(x):
    """x, groups in its rows, as an _int8 variant has it: float32 with every
    step exact or rounded once, as in stage/recipe-xform.c."""
    most = np.abs(x).max(1, keepdims=True)
    least = np.full_like(most, np.inf)
    scale = most / np.float32(127)
    for steps in range(127, 115, -1):
        s = most / np.float32(steps)
        y = np.rint(np.where(s > 0, x / s, 0) * 256) / np.float32(256)
        lost = np.square(y - np.rint(y)).sum(1, keepdims=True)
        lost = lost / np.float32(steps * steps)
        scale = np.where(lost < least, s, scale)
        least = np.minimum(lost, least)
    q = np.where(scale > 0, x / scale, 0)
    return np.rint(q).clip(-127, 127) * scale


def eighths(model):
    """As halved(), with the bytes and scales of an _int8 variant."""
    model = copy.deepcopy(model)
    with torch.no_grad(), np.errstate(divide="ignore", invalid="ignore"):
        for p in model.parameters():
            group = p.numel() >= 64 and p.dim() >= 2 and \
                group_of(p.shape, p.numel())
            if group:
                x = eight_bits(p.numpy().reshape(-1, group))
                p.copy_(torch.from_numpy(x).reshape(p.shape))
    return model


def axes_of(value):
    return tuple(d.dim_param or d.dim_value
                 for d in value.type.tensor_type.shape.dim)


def check_graph(path, opset, inputs, outputs):
    """Names and axes of both sides as told, nothing but known operators."""
    onnx.checker.check_model(path, full_check=True)
    m = onnx.load(path, load_external_data=False)
    assert [(o.domain, o.version) for o in m.opset_import] == [("", opset)]
    used = {n.op_type for n in m.graph.node}
    if opset == 13:
        assert used <= SAMEDIFF_OPS, f"operators {used - SAMEDIFF_OPS}"
    got = {v.name: axes_of(v) for v in m.graph.input}
    assert got == inputs, f"inputs {got}"
    got = {v.name: axes_of(v) for v in m.graph.output}
    assert got == outputs, f"outputs {got}"
    return len(m.graph.node)


class Errors:
    """The largest difference of every output, and its largest value."""

    def __init__(self):
        self.error, self.largest, self.products = {}, {}, {}

    def add(self, name, got, want):
        want = want.float().numpy()
        assert got.shape == want.shape, f"{name}: {got.shape} {want.shape}"
        assert np.isfinite(got).all(), f"{name} is not finite"
        if want.size == 0:
            return
        a, b = got.ravel().astype(np.float64), want.ravel().astype(np.float64)
        self.products[name] = self.products.get(name, 0) + np.array(
            [a @ b, a @ a, b @ b])
        self.error[name] = max(self.error.get(name, 0.0),
                               float(np.abs(got - want).max()))
        self.largest[name] = max(self.largest.get(name, 0.0),
                                 float(np.abs(want).max()))

    def worst(self, bound=TOLERANCE):
        worst = max(self.error[n] / self.largest[n] for n in self.error)
        assert worst <= bound, f"error {worst:.2e}"
        return worst

    def cosine(self, bound=EIGHT):
        """The least of an output, all its parts as one."""
        least = min(float(ab / np.sqrt(aa * bb))
                    for ab, aa, bb in self.products.values())
        assert least >= bound, f"cosine {least}"
        return least


def in_eighths(session, run, run_eighths):
    """Of torch's model with the same bytes as weights the graph differs no
    more than the whole one does of the first."""
    errors, same = Errors(), Errors()
    run(session, errors)
    if run_eighths:
        run_eighths(session, same)
        same.worst()
    return f"  {errors.cosine():.5f}"


def compared(repo, opset, inputs, outputs, run, run_halved=None,
             run_eighths=None, names=("model.onnx",)):
    """Stages a repository; run(sessions, errors) feeds it and torch, and
    run_halved and run_eighths do so with torch's halved(model) and
    eighths(model)."""
    where, out = staged(repo, opset)
    try:
        nodes = 0
        for name in names:
            nodes += check_graph(os.path.join(where, name), opset,
                                 inputs[name] if len(names) > 1 else inputs,
                                 outputs[name] if len(names) > 1 else outputs)
        errors = Errors()
        sessions = [ort.InferenceSession(os.path.join(where, n))
                    for n in names]
        run(sessions if len(names) > 1 else sessions[0], errors)
        text = f"{errors.worst():.1e}  {nodes} nodes"
        for name, bound in VARIANTS.items() if len(names) == 1 else ():
            path = os.path.join(where, name)
            check_graph(path, opset, inputs, outputs)
            errors = Errors()
            session = ort.InferenceSession(path)
            if run_halved:
                run_halved(session, errors)
                text += f"  {errors.worst():.1e} of the halved"
                errors = Errors()
            run(session, errors)
            text += f"  {errors.worst(bound):.1e}"
        if len(names) == 1:
            path = os.path.join(where, "model_int8.onnx")
            check_graph(path, opset, inputs, outputs)
            session = ort.InferenceSession(path)
            text += in_eighths(session, run, run_eighths)
        return text
    finally:
        shutil.rmtree(out)


def refused(model, reason, opset=13, **repo):
    with tempfile.TemporaryDirectory(prefix="repo-") as path, \
            tempfile.TemporaryDirectory(prefix="out-") as out:
        write_repo(model, path, **repo)
        code, why = stage(path, out, opset)
        assert code == 3, f"exit {code}: {why}"
        assert re.search(reason, why), why
        return why[:90]


def finish(report: Report):
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed or not report.passed else 0
