#!/usr/bin/env python3
"""tensorflow/*.pb of Hugging Face repositories in TensorFlow (the interpreter
ORACLE_CLIENTS, as graphdef.py) against pytorch/*.onnx of the same repository
in onnxruntime, which other tests hold against torch: every output, to 2e-5 of
its largest value. `test_graphdef.py WORD...` runs some of the cases."""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from staging import Report  # noqa: E402  (77 without its modules)

import numpy as np  # noqa: E402
import onnxruntime as ort  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

import families  # noqa: E402
import models  # noqa: E402
import test_families_audio as audio  # noqa: E402
import test_families_clip as clip  # noqa: E402
import test_families_decoders as decoders  # noqa: E402
import test_families_seq2seq as seq2seq  # noqa: E402
import test_families_vision as vision  # noqa: E402
import test_stage as texts  # noqa: E402
from staging import stage  # noqa: E402

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

    def ask(self, *words):
        self.child.stdin.write(" ".join(words) + "\n")
        self.child.stdin.flush()
        *said, count = self.child.stdout.readline().split()
        if said[0] == "failed":
            raise AssertionError(" ".join([*said, count]))
        return said, int(count)

    def save_h5(self, arrays, path):
        with tempfile.TemporaryDirectory(prefix="tf-") as top:
            given = os.path.join(top, "in.npz")
            np.savez(given, **arrays)
            self.ask("h5", given, path)

    def run(self, graph, feeds, outputs):
        """({output: array}, operators, number of nodes)"""
        with tempfile.TemporaryDirectory(prefix="tf-") as top:
            given, out = (os.path.join(top, n) for n in ("in.npz", "out.npz"))
            np.savez(given, outputs=np.array(outputs), **feeds)
            ops, count = self.ask(graph, given, out)
            return dict(np.load(out)), set(ops), count


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


def trainable(tensorflow, model, dims, outputs):
    """PART_trainable.pb: what one step of training makes of it."""
    with tempfile.TemporaryDirectory(prefix="repo-") as repo, \
            tempfile.TemporaryDirectory(prefix="out-") as out:
        families.write_repo(model, repo)
        paths = []
        for name in ("pytorch/model.onnx", "tensorflow/model.pb",
                     "tensorflow/model_trainable.pb"):
            code, why = stage(repo, out, 13, name)
            assert code == 0, why
            paths.append(os.path.join(out, name))
        rng = np.random.default_rng(3)
        session = ort.InferenceSession(paths[0])
        given = os.path.join(out, "in.npz")
        np.savez(given, outputs=np.array(outputs), **{
            p.name: numbers(rng, p, sizes(session, dims))
            for p in session.get_inputs()})
        said, count = tensorflow.ask("train", *paths[1:], given)
    assert count == len(list(model.parameters())), count
    return f"{said[0]}  {count} variables"


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


# ---- tf_model.h5 ------------------------------------------------------------

def keras_name(path, leaf, value):
    """(name below the class, array) of a weight in transformers' TensorFlow
    class of the same model."""
    last, value = path[-1], value.float().numpy()
    if "norm" in last.lower() or last.startswith("ln_"):
        leaf = {"weight": "gamma", "bias": "beta"}[leaf]
    elif leaf == "bias" and last in ("c_attn", "c_proj", "c_fc"):
        value = value[None]             # GPT-2's Conv1D
    elif last in ("position_embeddings", "token_type_embeddings", "wpe"):
        leaf = "embeddings"
    elif leaf == "weight" and value.ndim == 4:
        leaf, value = "kernel", value.transpose(2, 3, 1, 0)
    elif leaf == "weight" and last not in ("word_embeddings", "wte", "c_attn",
                                           "c_proj", "c_fc"):
        leaf, value = "kernel", value.T
    path = re.sub(r"/(layer|h)/(?=\d)", r"/\1_._", "/".join(path))
    return f"{path}/{leaf}", np.ascontiguousarray(value)


def keras_arrays(model):
    """As save_pretrained of the TensorFlow class named them: the layer, the
    class, and the names below it. The head of a language model stood in a
    layer with a name of two."""
    arrays = {}
    base = model.base_model_prefix
    for name, value in families.saved_state(model).items():
        *path, leaf = name.split(".")
        if path and path[0] not in (base, "cls", "classifier", "qa_outputs",
                                    "pre_classifier"):
            path.insert(0, base)
        below, array = keras_name(path, leaf, value) if leaf in (
            "weight", "bias") and path[1:] or path[0] != base else (
                "/".join([*path, leaf]), value.numpy())
        first, rest = (below + ":0").split("/", 1)
        if first == "cls":
            first = "mlm___cls"
        arrays[f"{first}/tf_model/{first}/{rest}"] = array
    return arrays


def from_h5(tensorflow, model, rows=({},)):
    """A repository with tf_model.h5 alone, against one with safetensors."""
    with tempfile.TemporaryDirectory(prefix="repo-") as path, \
            tempfile.TemporaryDirectory(prefix="repo-") as other, \
            tempfile.TemporaryDirectory(prefix="out-") as out:
        families.write_repo(model, other)
        models.write_config(model, path)
        tensorflow.save_h5(keras_arrays(model),
                           os.path.join(path, "tf_model.h5"))
        text = twins(tensorflow, path, ("model",), rows)
        sessions = []
        for i, repo in enumerate((path, other)):
            code, why = stage(repo, os.path.join(out, str(i)), 13,
                              "pytorch/model.onnx")
            assert code == 0, why
            sessions.append(ort.InferenceSession(
                os.path.join(out, f"{i}/pytorch/model.onnx")))
        rng, errors = np.random.default_rng(4), families.Errors()
        dims = sizes(sessions[0], rows[0])
        feeds = {p.name: numbers(rng, p, dims)
                 for p in sessions[0].get_inputs()}
        names = [o.name for o in sessions[0].get_outputs()]
        for name, got, want in zip(names, *(s.run(names, feeds)
                                            for s in sessions)):
            errors.add(name, got, torch.from_numpy(want))
        return f"{text}, {errors.worst():.1e} of the other"


def h5(report, tf):
    past = ({"past_sequence_length": 3, "sequence_length": 2},)
    for family, head in (("BERT", "Model"), ("BERT", "ForMaskedLM"),
                         ("DistilBERT", "ForSequenceClassification"),
                         ("RoBERTa", "ForQuestionAnswering")):
        report.run(f"h5 {family} {head}", lambda f=family, h=head: from_h5(
            tf, texts.make(f, h, {})))
    report.run("h5 GPT2", lambda: from_h5(
        tf, decoders.build("GPT2", "LMHeadModel"), past))
    report.run("h5 ViT", lambda: from_h5(
        tf, vision.vit_model("ViTForImageClassification", {}, 1)))


def training(report, tf):
    report.run("trainable BERT", lambda: trainable(tf, texts.make(
        "BERT", "ForSequenceClassification", {}), {}, ["logits"]))
    report.run("trainable ResNet", lambda: trainable(
        tf, vision.net_model("ResNetForImageClassification", {}, 1),
        {"height": 64, "width": 64, "num_channels": 3}, ["logits"]))


def main():
    families.start()
    transformers.logging.set_verbosity_error()
    report = Report(sys.argv[1:])
    tf = TensorFlow()
    for group in (encoders, causal, both_sides, pictures, sounds, h5,
                  training):
        group(report, tf)
    return families.finish(report)


if __name__ == "__main__":
    sys.exit(main())
