#!/usr/bin/env python3
"""tensorflow/*.pb of Hugging Face repositories in TensorFlow (the interpreter
ORACLE_CLIENTS, as graphdef.py) against pytorch/*.onnx of the same repository
in onnxruntime, which other tests hold against torch: every output, to 2e-5 of
its largest value. `test_graphdef.py WORD...` runs some of the cases."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_stage import Report  # noqa: E402  (77 without its modules)

import numpy as np  # noqa: E402
import onnxruntime as ort  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

import families  # noqa: E402
import test_families_audio as audio  # noqa: E402
import test_families_clip as clip  # noqa: E402
import test_families_decoders as decoders  # noqa: E402
import test_families_seq2seq as seq2seq  # noqa: E402
import test_families_vision as vision  # noqa: E402
import test_stage as texts  # noqa: E402
from test_stage import stage  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
# Besides these there is nothing SameDiff has to be able to map.
PORTS = {"Const", "Placeholder"}
with open(os.path.join(HERE, "samediff-tf-ops.txt"), encoding="utf-8") as f_:
    SAMEDIFF = {w for line in f_ if line[0] != "#" for w in line.split()}


class TensorFlow:
    def __init__(self):
        other = os.environ.get("ORACLE_CLIENTS")
        if not other:
            print("skipped: ORACLE_CLIENTS is not set")
            sys.exit(77)
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self.child = subprocess.Popen(
            [other, os.path.join(HERE, "graphdef.py")], text=True, env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        said = self.child.stdout.readline().strip()
        if said != "ready":
            print(said or "skipped: no TensorFlow")
            sys.exit(77)

    def run(self, graph, feeds, outputs):
        """({output: array}, operators, number of nodes)"""
        with tempfile.TemporaryDirectory(prefix="tf-") as top:
            given, out = (os.path.join(top, n) for n in ("in.npz", "out.npz"))
            np.savez(given, outputs=np.array(outputs), **feeds)
            self.child.stdin.write(f"{graph} {given} {out}\n")
            self.child.stdin.flush()
            *ops, count = self.child.stdout.readline().split()
            if ops[0] == "failed":
                raise AssertionError(" ".join([*ops, count]))
            return dict(np.load(out)), set(ops), int(count)


def numbers(rng, port, dims):
    """Something for an input, by its name and type."""
    shape = [dims[d] if isinstance(d, str) else d for d in port.shape]
    if port.type == "tensor(float)":
        return rng.standard_normal(shape).astype(np.float32)
    assert port.type == "tensor(int64)", port.type
    if "mask" in port.name:
        mask = np.ones(shape, np.int64)
        mask[-1, -2:] = 0
        if dims.get("past"):
            mask[:] = 1
        return mask
    if port.name == "position_ids":
        return np.broadcast_to(np.arange(shape[-1]) + dims.get("past", 0),
                               shape).astype(np.int64)
    if port.name == "token_type_ids":
        return np.zeros(shape, np.int64)
    return rng.integers(5, 118, shape, np.int64)


def sizes(session, fixed):
    """A length for every symbol."""
    dims = {"batch_size": 2, "sequence_length": 7, **fixed}
    past = dims.get("past_sequence_length", 0)
    if past:
        dims["past"] = past
    for port in session.get_inputs():
        for d in port.shape:
            if isinstance(d, str) and d not in dims:
                dims[d] = sum(dims.get(w, 0) for w in d.split(" + ")) \
                    if " + " in d else 6
    return dims


def twins(tensorflow, repo, parts, rows):
    """Both forms of each part on the same inputs."""
    worst, nodes, used = 0.0, 0, set()
    rng = np.random.default_rng(3)
    with tempfile.TemporaryDirectory(prefix="out-") as out:
        for part in parts:
            for path in (f"pytorch/{part}.onnx", f"tensorflow/{part}.pb"):
                code, why = stage(repo, out, 13, path)
                assert code == 0, why
            session = ort.InferenceSession(
                os.path.join(out, f"pytorch/{part}.onnx"))
            names = [o.name for o in session.get_outputs()]
            for fixed in rows:
                dims = sizes(session, fixed)
                feeds = {p.name: numbers(rng, p, dims)
                         for p in session.get_inputs()}
                want = dict(zip(names, session.run(names, feeds)))
                got, ops, count = tensorflow.run(
                    os.path.join(out, f"tensorflow/{part}.pb"), feeds, names)
                errors = families.Errors()
                for k in names:
                    assert got[k].dtype == want[k].dtype, k
                    errors.add(k, got[k], torch.from_numpy(want[k]))
                worst = max(worst, errors.worst())
                used |= ops
            nodes += count
    assert used - PORTS <= SAMEDIFF, used - PORTS - SAMEDIFF
    return f"{worst:.1e}  {nodes} nodes"


def case(tensorflow, model, parts=("model",), rows=({},), **repo):
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        families.write_repo(model, path, **repo)
        return twins(tensorflow, path, parts, rows)


def encoders(report, tf):
    for family in texts.FAMILIES:
        for head in texts.HEADS:
            report.run(f"{family} {head}", lambda f=family, h=head: case(
                tf, texts.make(f, h, {}), rows=(
                    {}, {"batch_size": 1, "sequence_length": 1},
                    {"batch_size": 3, "sequence_length": 12})))
    model = texts.make("BERT", "Model", {})
    for form in ("bin", "safetensors-sharded"):
        report.run(f"BERT {form}", lambda f=form: case(tf, model, form=f))
    for dtype in (torch.bfloat16, torch.float16):
        report.run(f"BERT {dtype}", lambda d=dtype: case(
            tf, families.rounded(model, d), dtype=d))


def causal(report, tf):
    for kind in decoders.KINDS:
        for head in ("Model", "LMHeadModel" if kind == "GPT2"
                     else "ForCausalLM"):
            report.run(f"{kind} {head}", lambda k=kind, h=head: case(
                tf, decoders.build(k, h), rows=(
                    {"past_sequence_length": 0},
                    {"past_sequence_length": 5, "sequence_length": 1},
                    {"past_sequence_length": 4, "sequence_length": 3})))


def both_sides(report, tf):
    for kind in seq2seq.KINDS:
        head = "ForConditionalGeneration"
        if kind == "Marian":
            head = "MTModel"
        report.run(f"{kind} {head}", lambda k=kind, h=head: case(
            tf, seq2seq.build(k, h), parts=seq2seq.PARTS, rows=(
                {"past_decoder_sequence_length": 3,
                 "decoder_sequence_length": 2},)))


def pictures(report, tf):
    square = {"height": 64, "width": 64, "num_channels": 3}
    for cls in ("ViTModel", "ViTForImageClassification", "DeiTModel",
                "DeiTForImageClassificationWithTeacher"):
        report.run(cls, lambda c=cls: case(tf, vision.vit_model(c, {}, 1)))
    for cls in ("ResNetModel", "ResNetForImageClassification",
                "ConvNextModel", "ConvNextForImageClassification"):
        report.run(cls, lambda c=cls: case(
            tf, vision.net_model(c, {}, 1), rows=(
                square, {"batch_size": 1, "height": 37, "width": 51})))
    for cls in ("SwinModel", "SwinForImageClassification"):
        report.run(cls, lambda c=cls: case(tf, vision.swin_model(c, {}, 1)))
    for cls in clip.CLASSES:
        report.run(cls, lambda c=cls: case(
            tf, clip.build(c), rows=({"text_batch_size": 2,
                                      "image_batch_size": 3},)))


def sounds(report, tf):
    for cls in audio.CLASSES:
        for name, config in (("", {}), (" stable", audio.STABLE)):
            report.run(cls + name, lambda c=cls, k=config: case(
                tf, audio.build(c, k), rows=(
                    {"sequence_length": 803},
                    {"batch_size": 1, "sequence_length": 400})))


def main():
    families.start()
    transformers.logging.set_verbosity_error()
    report = Report(sys.argv[1:])
    tf = TensorFlow()
    for group in (encoders, causal, both_sides, pictures, sounds):
        group(report, tf)
    return families.finish(report)


if __name__ == "__main__":
    sys.exit(main())
