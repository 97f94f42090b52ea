#!/usr/bin/env python3
"""Frozen SavedModels against TensorFlow's own run of them: what
tf.saved_model.load computes, the staged graph has to compute under
tf.compat.v1.import_graph_def, to 2e-5 of the largest output. None of the
weights is 0 or 1. `test_savedmodel.py WORD...` runs some of the cases.

TensorFlow lives in the interpreter that ORACLE_CLIENTS names, with what
requirements-clients.txt names; without it this is skipped. basic-pitch's case
needs the files of its package (requirements-models.txt)."""
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
try:
    import numpy as np
    import tensorflow as tf
except ImportError as e:
    other = os.environ.pop("ORACLE_CLIENTS", None)
    if other:
        os.execv(other, [other, *sys.argv])
    print(f"skipped: {e}")
    sys.exit(77)
try:
    import cv2
except ImportError:
    cv2 = None

import graphdef  # noqa: E402

BOUND = 2e-5
FUNCTIONS = os.environ.get("OMNIHUB_STAGE_FLOW") == "functions"
STATE = {"ReadVariableOp", "VarHandleOp", "PartitionedCall",
         "StatefulPartitionedCall", "ResourceGather"}
FUNCTIONAL = {"If", "While", "StatelessIf", "StatelessWhile", "Case",
              "StatelessCase"}
FRAMES = {"Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond"}
STAGE_DIR = os.path.join(os.environ["BUILDDIR"], "tests/oracle/stage-dir")
RNG = np.random.default_rng(11)
LABEL = {"root": "tensorflow/model.pb", "sub": "sub/frozen/serving_default.pb"}


def staged(repo, path=LABEL["root"]):
    """The staged file's GraphDef, or the reason there is none."""
    with tempfile.TemporaryDirectory(prefix="staged-") as out:
        done = subprocess.run([STAGE_DIR, repo, "13", out],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            return None, f"{done.returncode}: {done.stderr.strip()}"
        with open(os.path.join(out, path), "rb") as f:
            data = f.read()
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(data)
    return graph, data


def frozen_run(graph, feeds, outputs):
    with tf.Graph().as_default() as g:
        tf.compat.v1.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=g) as session:
            return session.run([o + ":0" for o in outputs],
                               feeds)


def shake(variables):
    """Weights of which none is 0 or 1, variances that stay positive."""
    for v in variables:
        if v.dtype in (tf.float32, "float32"):
            x = RNG.uniform(0.05, 0.6, v.shape)
            if "variance" not in v.name:
                x *= RNG.choice([-1, 1], v.shape)
            v.assign(x.astype(np.float32))


def compare(want, got):
    worst = 0.0
    for w, g in zip(want, got):
        w, g = np.asarray(w), np.asarray(g)
        assert w.shape == g.shape, (w.shape, g.shape)
        assert w.dtype == g.dtype, (w.dtype, g.dtype)
        assert np.isfinite(w).all() and np.abs(w).max() > 0
        scale = np.abs(w.astype(np.float64)).max()
        worst = max(worst, float(np.abs(w - g).max() / scale))
    assert worst <= BOUND, f"off by {worst:.1e}"
    return worst


def opencv(data, x, want):
    """OpenCV's reading of the same bytes; it takes and gives NCHW."""
    net = cv2.dnn.readNetFromTensorflow(np.frombuffer(data, np.uint8))
    net.setInput(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    got, want = net.forward(), want.transpose(0, 3, 1, 2)
    assert got.shape == want.shape, (got.shape, want.shape)
    worst = np.abs(got - want).max() / np.abs(want).max()
    assert worst <= 1e-4, f"OpenCV is off by {worst:.1e}"
    return worst


def run_tf2(save, inputs, where="root", vision=False, needs=frozenset()):
    """save(path) writes the SavedModel; inputs are by signature key. needs:
    operators the frozen graph must have."""
    with tempfile.TemporaryDirectory(prefix="repo-") as repo:
        path = repo if where == "root" else os.path.join(repo, "sub")
        save(path)
        model = tf.saved_model.load(path)
        serve = model.signatures["serving_default"]
        want = serve(**{k: tf.constant(v) for k, v in inputs.items()})
        keys = sorted(want)
        want = [want[k].numpy() for k in keys]
        graph, data = staged(repo, LABEL[where])
        assert graph is not None, data
    names = {n.name for n in graph.node}
    feeds = {}
    for k, v in inputs.items():
        name = f"serving_default_{k}"
        assert name in names, (name, sorted(names)[:9])
        feeds[name + ":0"] = v
    ops = {n.op for n in graph.node}
    assert not ops & STATE, ops
    if FUNCTIONS:
        inside = {n.op for f in graph.library.function for n in f.node_def}
        assert not inside & STATE, inside
        assert bool(needs) == bool(inside | ops & FUNCTIONAL), ops
        assert not (inside | ops) & FRAMES
    else:
        assert not graph.library.function
        assert not ops & FUNCTIONAL and needs <= ops, needs - ops
    worst = compare(want, frozen_run(graph, feeds, keys))
    note = f"{len(graph.node)} nodes"
    if vision and cv2 is not None:
        note += f", OpenCV {opencv(data, *inputs.values(), want[0]):.1e}"
    return worst, note


def staged_trainable(repo):
    """The path of the form with variables, or the reason there is none."""
    out = os.path.join(repo, "out")
    done = subprocess.run([STAGE_DIR, repo, "13", out,
                           "tensorflow/model_trainable.pb"],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        return None, f"{done.returncode}: {done.stderr.strip()}"
    return os.path.join(out, "tensorflow/model_trainable.pb"), ""


def run_trainable(save, feeds, count):
    """One step of training by both forms."""
    with tempfile.TemporaryDirectory(prefix="repo-") as repo:
        save(repo)
        frozen, data = staged(repo)
        assert frozen is not None, data
        meta, why = staged_trainable(repo)
        assert meta, why
        worst, names = graphdef.trained(
            np, tf.compat.v1, frozen, meta,
            {f"serving_default_{k}:0": v for k, v in feeds.items()},
            ["output_0:0"])
    assert len(names) == count, names
    return worst, f"{count} variables"


# ---- TF2 --------------------------------------------------------------------

L = tf.keras.layers


def keras(layers, shape, dtype="float32"):
    def save(path):
        model = tf.keras.Sequential([tf.keras.Input(shape, dtype=dtype,
                                                    name="x"), *layers()])
        shake(model.variables)
        model.export(path, verbose=False)
    return save


def case_dense():
    return run_tf2(keras(lambda: [L.Dense(7, activation="relu"),
                                  L.Dense(5, activation="softmax")], (4,)),
                   {"x": RNG.standard_normal((3, 4), np.float32)})


def case_conv():
    x = RNG.standard_normal((1, 17, 13, 3), np.float32)
    return run_tf2(keras(lambda: [
        L.Conv2D(8, 3, strides=2, padding="same"),
        L.BatchNormalization(epsilon=3e-3), L.ReLU(6.0),
        L.DepthwiseConv2D(3, padding="same"),
        L.BatchNormalization(), L.MaxPooling2D(2),
        L.Conv2D(6, 1, activation="sigmoid")], (17, 13, 3)), {"x": x})


def case_trainable_conv():
    """Keras saves the norm as products and sums."""
    return run_trainable(
        keras(lambda: [L.Conv2D(4, 3, activation="relu"),
                       L.BatchNormalization(), L.DepthwiseConv2D(3),
                       L.GlobalAveragePooling2D(), L.Dense(3)], (9, 9, 3)),
        {"x": RNG.standard_normal((2, 9, 9, 3)).astype(np.float32)}, 10)


def case_trainable_embedding():
    return run_trainable(
        keras(lambda: [L.Embedding(11, 6), L.Dense(3), L.Flatten(),
                       L.Dense(2)], (5,), "int32"),
        {"x": RNG.integers(0, 11, (2, 5), dtype=np.int32)}, 5)


def case_trainable_fixed():
    """A norm's statistics are no weights."""
    class Fused(tf.Module):
        def __init__(self):
            super().__init__()
            self.v = [tf.Variable(RNG.uniform(0.5, 1.5, shape).astype(
                np.float32)) for shape in ((3, 3, 3, 4), 4, 4, 4, 4)]

        @tf.function(input_signature=[tf.TensorSpec((None, 9, 9, 3),
                                                    name="x")])
        def __call__(self, x):
            kernel, scale, offset, mean, variance = self.v
            y = tf.nn.conv2d(x, kernel, 1, "VALID")
            y, *_ = tf.compat.v1.nn.fused_batch_norm(
                y, scale, offset, mean, variance,
                is_training=False)
            return {"output_0": tf.raw_ops.ClipByValue(
                t=y, clip_value_min=-5.0, clip_value_max=5.0)}

    def save(path):
        model = Fused()
        tf.saved_model.save(model, path, signatures={
            "serving_default": model.__call__.get_concrete_function()})
    x = RNG.standard_normal((2, 9, 9, 3)).astype(np.float32)
    return run_trainable(save, {"x": x}, 3)


def case_trainable_refused():
    """A loop has no gradients, and two plus a half no weights."""
    class Loop(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(tf.ones((3, 3)) * 0.3)

        @tf.function(input_signature=[tf.TensorSpec((None, 3))])
        def __call__(self, x):
            return {"y": tf.while_loop(
                lambda i, x: i < 3, lambda i, x: (i + 1, x @ self.w),
                (tf.constant(0), x))[1]}

    class Plain(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 3))])
        def __call__(self, x):
            return {"y": x / 2 + 2}
    for model, reason in ((Loop(), "branch or loop"),
                          (Plain(), "no weights that could be trained")):
        with tempfile.TemporaryDirectory(prefix="repo-") as repo:
            tf.saved_model.save(model, repo, signatures={
                "serving_default": model.__call__.get_concrete_function()})
            meta, why = staged_trainable(repo)
            assert meta is None and why.startswith("3: ") and \
                reason in why, why
    return 0.0, "both by name"


def case_subdirectory():
    return run_tf2(keras(lambda: [L.Dense(3)], (4,)),
                   {"x": RNG.standard_normal((3, 4), np.float32)}, "sub")


def case_embedding():
    return run_tf2(keras(lambda: [L.Embedding(11, 6), L.Dense(4),
                                  L.LayerNormalization()], (9,), "int32"),
                   {"x": RNG.integers(0, 11, (2, 9), np.int32)})


def case_attention():
    def save(path):
        x = tf.keras.Input((6, 8), name="x")
        y = L.MultiHeadAttention(2, 4)(x, x)
        y = L.Dense(8, activation="gelu")(L.Add()([x, y]))
        model = tf.keras.Model(x, y)
        shake(model.variables)
        model.export(path, verbose=False)
    return run_tf2(save, {"x": RNG.standard_normal((2, 6, 8), np.float32)})


class Module(tf.Module):
    """Nested functions, several outputs, a large constant in the graph."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(RNG.standard_normal((64, 6), np.float32))
        self.b = tf.Variable(RNG.standard_normal((6,), np.float32))
        self.table = tf.Variable(RNG.standard_normal((5, 6), np.float32))
        self.half = tf.Variable(np.float16(RNG.standard_normal((6,))))
        self.big = RNG.standard_normal((400, 64)).astype(np.float32)

    @tf.function
    def inner(self, x):
        values, indices = tf.math.top_k(x @ self.w + self.b, 3)
        return indices, values

    @tf.function(input_signature=[tf.TensorSpec([None, 400], tf.float32,
                                                name="x"),
                                  tf.TensorSpec([None], tf.int32, name="i")])
    def call(self, x, i):
        y = x @ tf.constant(self.big)
        indices, values = self.inner(y)
        indices2, _ = self.inner(y * 2.0)
        a, b = tf.split(tf.gather(self.table, i), 2, axis=1)
        tf.debugging.assert_greater(tf.reduce_max(x), -1e9)
        u, where = tf.unique(i)
        return {"values": values, "second": tf.nn.moments(y, [1])[1],
                "indices": indices + indices2, "b": b - a,
                "half": tf.cast(self.half, tf.float32) * 2.0,
                "where": where + tf.reduce_sum(u) + 1,
                "rows": tf.gather_nd(self.table, i[:, None])}


def case_functions():
    module = Module()

    def save(path):
        tf.saved_model.save(module, path, module.call)
    return run_tf2(save, {
        "x": RNG.standard_normal((3, 400), np.float32),
        "i": np.array([1, 4, 1, 0], np.int32)})


def case_refused_table():
    class Table(tf.Module):
        def __init__(self):
            super().__init__()
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.constant([1, 2], tf.int64),
                    tf.constant([3, 4], tf.int64)), -1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
        def call(self, x):
            return self.table.lookup(x)
    return refusal(Table(), "table")


def case_refused_strings():
    class Strings(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def call(self, x):
            return tf.strings.length(x)
    return refusal(Strings(), "string")


def refusal(module, word):
    with tempfile.TemporaryDirectory(prefix="repo-") as repo:
        tf.saved_model.save(module, repo, module.call)
        graph, why = staged(repo)
    assert graph is None and why.startswith("3: ") and word in why, why
    return 0.0, why


# ---- TF1 --------------------------------------------------------------------

def run_tf1(build, inputs, partitions=0, resource=False, tags=("serve",),
            vision=False):
    v1 = tf.compat.v1
    with tempfile.TemporaryDirectory(prefix="repo-") as repo:
        with tf.Graph().as_default():
            with v1.variable_scope(
                    "m", use_resource=resource,
                    partitioner=v1.fixed_size_partitioner(partitions)
                    if partitions else None):
                x, y = build()
            with v1.Session() as session:
                session.run(v1.global_variables_initializer())
                want = session.run(y, {x: inputs})
                builder = v1.saved_model.Builder(repo)
                sign = v1.saved_model.predict_signature_def(
                    {"x": x}, {"scores": y})
                builder.add_meta_graph_and_variables(
                    session, list(tags), {"serving_default": sign})
                builder.save()
        graph, data = staged(repo)
        assert graph is not None, data
    got = frozen_run(graph, {x.name: inputs}, ["scores"])
    note = f"{len(graph.node)} nodes"
    worst = compare([want], got)
    if vision and cv2 is not None:
        note += f", OpenCV {opencv(data, inputs, want):.1e}"
    return worst, note


def tf1_variable(name, shape):
    return tf.compat.v1.get_variable(
        name, initializer=tf.constant(RNG.uniform(
            0.1, 0.9, shape).astype(np.float32)))


def tf1_net():
    v1 = tf.compat.v1
    x = v1.placeholder(tf.float32, [None, 8], "x")
    init = v1.random_uniform_initializer(0.1, 0.9, seed=3)
    w = v1.get_variable("w", [8, 5], initializer=init)
    b = v1.get_variable("b", [5], initializer=init)
    return x, tf.nn.softmax(tf.matmul(x, w) + b, name="scores_")


def tf1_vision():
    v1 = tf.compat.v1
    x = v1.placeholder(tf.float32, [1, 16, 24, 3], "x")
    y = tf.nn.conv2d(x, tf1_variable("k", (3, 3, 3, 4)), [1, 2, 2, 1], "SAME")
    y = tf.nn.relu(tf.nn.bias_add(y, tf1_variable("kb", (4,))))
    y = v1.nn.fused_batch_norm(
        y, tf1_variable("g", (4,)), tf1_variable("o", (4,)),
        tf1_variable("mean", (4,)), tf1_variable("variance", (4,)),
        is_training=False)[0]
    y = tf.nn.max_pool2d(y, 2, 2, "VALID")
    return x, tf.identity(y, "last")


def case_tf1():
    return run_tf1(tf1_net, RNG.standard_normal((3, 8), np.float32))


def case_tf1_resource():
    return run_tf1(tf1_net, RNG.standard_normal((3, 8), np.float32),
                   resource=True)


def case_tf1_partitioned():
    return run_tf1(tf1_net, RNG.standard_normal((3, 8), np.float32),
                   partitions=3)


def case_tf1_vision():
    return run_tf1(tf1_vision, RNG.standard_normal((1, 16, 24, 3),
                                                   np.float32), vision=True)


def case_tf1_hub_tags():
    return run_tf1(tf1_net, RNG.standard_normal((3, 8), np.float32), tags=())


# ---- a real one -------------------------------------------------------------

def case_basic_pitch():
    try:
        import importlib.util
        where = importlib.util.find_spec("basic_pitch").submodule_search_locations
    except AttributeError:
        return 0.0, "skipped: no basic-pitch"
    repo = os.path.join(list(where)[0], "saved_models/icassp_2022/nmp")
    # Keras 3 cannot load the optimizer in it; sessions need none.
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        meta = v1.saved_model.load(session, ["serve"], repo)
        sign = meta.signature_def["serving_default"]
        (info,) = sign.inputs.values()
        shape = [d.size for d in info.tensor_shape.dim][1:]
        x = RNG.uniform(-1, 1, [2] + shape).astype(np.float32)
        keys = sorted(sign.outputs)
        want = session.run([sign.outputs[k].name for k in keys],
                           {info.name: x})
    graph, data = staged(repo)
    assert graph is not None, data
    got = frozen_run(graph, {info.name: x}, keys)
    return compare(want, got), f"{len(graph.node)} nodes, {len(data)} bytes"


def main(words, cases):
    failed = 0
    for name, case in list(cases.items()):
        if not name.startswith("case_") or \
                not all(w in name for w in words):
            continue
        try:
            worst, note = case()
            print(f"ok   {name[5:]:20} {worst:.1e}  {note}", flush=True)
        except Exception as e:  # pylint: disable=broad-except
            failed += 1
            print(f"FAIL {name[5:]:20} {type(e).__name__}: {str(e)[:900]}",
                  flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], globals()))
