#!/usr/bin/env python3
"""Branches and loops of frozen SavedModels, as test_savedmodel.py compares
them: functional ones of TF2 are lowered to Switch, Merge, Enter, …, those of
TF1 are kept. Every branch is taken by some row, and loops end early and late.
A second run, with stage.flow=functions, has TF2's as functions.
"""
import os
import subprocess
import sys
import tempfile

from test_savedmodel import (RNG, L, compare, frozen_run, keras, main, np,
                             run_tf1, run_tf2, staged, tf,
                             tf1_variable)

FLOAT = tf.float32
BRANCH = {"Switch", "Merge"}
LOOP = BRANCH | {"Enter", "Exit", "NextIteration", "LoopCond"}


def spec(shape, dtype=FLOAT, name="x"):
    return tf.TensorSpec(shape, dtype, name=name)


def rows(module, inputs, needs):
    """One comparison for each list of inputs."""
    def save(path):
        tf.saved_model.save(module, path, module.call)
    worst, note = 0.0, ""
    for given in inputs:
        off, note = run_tf2(save, given, needs=needs)
        worst = max(worst, off)
    return worst, f"{note}, {len(inputs)} inputs"


class Branches(tf.Module):
    """Variables read in branches, a constant as result, an input as result,
    an operator that fails in the branch not taken."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(RNG.standard_normal((4, 3), np.float32))
        self.v = tf.Variable(RNG.standard_normal((4, 3), np.float32))

    @tf.function(input_signature=[spec([None, 4]), spec([], name="k")])
    def call(self, x, k):
        def yes():
            # Wrong unless k > 0.
            n = tf.ensure_shape(tf.zeros([tf.cast(k, tf.int32)]), [2])
            return x @ self.w + tf.reduce_sum(n), tf.constant([3.0, 4.0]), x

        def no():
            return tf.gather(self.v, tf.zeros([tf.shape(x)[0]],
                                              tf.int32)), tf.ones([2]), -x
        a, b, c = tf.cond(k > 0.0, yes, no)
        d = tf.cond(tf.reduce_sum(x) > 0.0, lambda: a * 2.0, lambda: a)
        return {"a": a, "b": b, "c": c, "d": d}


def case_if():
    x = RNG.standard_normal((2, 4), np.float32)
    return rows(Branches(), [{"x": s * x, "k": np.float32(k)}
                             for s in (1, -1) for k in (2, -1)], BRANCH)


class Cases(tf.Module):
    def __init__(self):
        super().__init__()
        self.w = tf.Variable(RNG.standard_normal((3,), np.float32))

    @tf.function(input_signature=[spec([3]), spec([], tf.int32, "k")])
    def call(self, x, k):
        one = tf.switch_case(k, [lambda: x + self.w, lambda: x * self.w,
                                 lambda: tf.constant([7.0, 8.0, 9.0])])
        return {"y": one, "z": tf.switch_case(k * 0, [lambda: x * one])}


def case_case():
    x = RNG.standard_normal((3,), np.float32)
    return rows(Cases(), [{"x": x, "k": np.int32(k)}
                          for k in (0, 1, 2, 5, -3)], BRANCH)


class Loop(tf.Module):
    """Variables in condition and body, invariants, a value that grows."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(RNG.standard_normal((3, 3), np.float32) * 0.5)
        self.limit = tf.Variable(np.float32(40.0))

    @tf.function(input_signature=[spec([None, 3]), spec([], tf.int32, "n")])
    def call(self, x, n):
        def body(i, y, all_):
            y = tf.tanh(y @ self.w) + tf.constant([[0.25, 0.5, 0.75]])
            return i + 1, y, tf.concat([all_, y], 0)
        i, y, all_ = tf.while_loop(
            lambda i, y, a: tf.logical_and(
                i < n, tf.reduce_sum(tf.abs(a)) < self.limit),
            body, [0, x, x], shape_invariants=[
                tf.TensorShape([]), tf.TensorShape([None, 3]),
                tf.TensorShape([None, 3])])
        return {"i": i + 1, "y": y, "all": all_}


def case_while():
    x = RNG.standard_normal((2, 3), np.float32)
    return rows(Loop(), [{"x": x, "n": np.int32(n)} for n in (0, 1, 5, 99)],
                LOOP)


class Nested(tf.Module):
    """A loop in a loop in a branch in a loop, with calls between them."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(RNG.uniform(0.5, 0.9, (3,)).astype(np.float32))

    @tf.function
    def inner(self, y, k):
        return tf.while_loop(lambda j, z: j < k,
                             lambda j, z: (j + 1, z * self.w + 0.125),
                             [tf.constant(0), y])[1]

    @tf.function(input_signature=[spec([3]), spec([], tf.int32, "n")])
    def call(self, x, n):
        def odd(y, i):
            return tf.while_loop(lambda j, z: j < 2,
                                 lambda j, z: (j + 1, self.inner(z, i)),
                                 [0, y])[1]

        def body(i, y):
            y = tf.cond(i % 2 == 1, lambda: odd(y, i),
                        lambda: tf.cond(i > 1, lambda: y - self.w,
                                        lambda: y + 1.5))
            return i + 1, y
        return {"y": tf.while_loop(lambda i, y: i < n, body, [0, x])[1]}


def case_nested():
    x = RNG.standard_normal((3,), np.float32)
    return rows(Nested(), [{"x": x, "n": np.int32(n)} for n in (0, 1, 2, 6)],
                LOOP)


class Autograph(tf.Module):
    """for, while, break and lists, as autograph writes them; TensorArrays."""

    @tf.function(input_signature=[spec([None, 3])])
    def call(self, x):
        out = tf.TensorArray(FLOAT, size=0, dynamic_size=True)
        total = tf.zeros([3])
        for i in tf.range(tf.shape(x)[0]):
            if tf.reduce_sum(x[i]) < -2.0:
                break
            total += x[i]
            out = out.write(i, total)
        return {"all": out.stack(), "last": total + 1.0}


def case_autograph():
    x = np.abs(RNG.standard_normal((5, 3), np.float32))
    stop = x.copy()
    stop[3] = -9
    return rows(Autograph(), [{"x": x}, {"x": stop}], LOOP)


def recurrent(layer, **kwargs):
    return run_tf2(keras(lambda: [layer(**kwargs), L.Dense(3)], (7, 5)),
                   {"x": RNG.standard_normal((2, 7, 5), np.float32)},
                   needs=LOOP)


def case_lstm():
    return recurrent(lambda: L.LSTM(4))


def case_gru():
    return recurrent(lambda: L.GRU(4, return_sequences=True))


def case_bidirectional():
    return recurrent(lambda: L.Bidirectional(L.LSTM(3, activation="relu")))


def case_rnn_masked():
    def layers():
        return [L.Masking(), L.SimpleRNN(4)]
    x = RNG.standard_normal((2, 7, 5), np.float32)
    x[0, 4:] = 0
    return run_tf2(keras(layers, (7, 5)), {"x": x}, needs=LOOP)


# ---- TF1 --------------------------------------------------------------------

def tf1_flow(build, inputs, **kwargs):
    """TF1's own frames, not the functional form that newer ones prefer."""
    tf.compat.v1.disable_control_flow_v2()
    try:
        return run_tf1(build, inputs, **kwargs)
    finally:
        tf.compat.v1.enable_control_flow_v2()


def tf1_cond():
    v1 = tf.compat.v1
    x = v1.placeholder(FLOAT, [None, 3], "x")
    w, v = tf1_variable("w", (3, 3)), tf1_variable("v", (3,))

    def yes():
        return tf.matmul(x, w) + tf.constant([1.0, 2.0, 3.0]), tf.ones([2])

    def no():
        inside = v1.cond(tf.reduce_max(x) > -1.0, lambda: x * v,
                         lambda: tf.zeros([1, 3]) + v)
        return inside, tf.zeros([2])
    a, b = v1.cond(tf.reduce_sum(x) > 0.0, yes, no)
    return x, a + tf.reduce_sum(b)


def tf1_while():
    v1 = tf.compat.v1
    x = v1.placeholder(FLOAT, [None, 3], "x")
    w = tf1_variable("w", (3, 3))

    def body(i, y):
        with tf.control_dependencies([v1.assert_less(i, 50)]):
            step = tf.constant([[0.25, 0.5, 0.75]])
        inner = v1.while_loop(lambda j, z: j < i,
                              lambda j, z: (j + 1, z * 0.5 + step), [0, y])
        return i + 1, tf.tanh(tf.matmul(inner[1], w))
    y = v1.while_loop(lambda i, y: i < 4, body, [0, x])[1]
    return x, y


def tf1_rnn():
    v1 = tf.compat.v1
    x = v1.placeholder(FLOAT, [2, 6, 3], "x")
    y, state = v1.nn.dynamic_rnn(v1.nn.rnn_cell.GRUCell(4), x, dtype=FLOAT)
    return x, y[:, -1] + state


def tf1_rows(build, shapes):
    worst, note = 0.0, ""
    for resource in (False, True):
        for sign in (1, -1, -9):
            x = np.abs(RNG.standard_normal(shapes)).astype(np.float32) + 0.1
            off, note = tf1_flow(build, (sign * x).astype(np.float32),
                                 resource=resource)
            worst = max(worst, off)
    return worst, note


def case_tf1_cond():
    return tf1_rows(tf1_cond, (1, 3))


def case_tf1_while():
    return tf1_rows(tf1_while, (2, 3))


def case_tf1_functional():
    """TF1 graphs of later years have the functional form."""
    return run_tf1(tf1_while, RNG.standard_normal((2, 3), np.float32),
                   resource=True)


# ---- which graph, which tensors ---------------------------------------------

def case_signatures():
    """Three signatures with variables in common, each a file of its own."""
    class Several(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(RNG.standard_normal((3, 2), np.float32))

        @tf.function(input_signature=[spec([None, 3])])
        def call(self, x):
            return {"y": x @ self.w}

        @tf.function(input_signature=[spec([None, 3])])
        def other(self, x):
            return {"z": tf.cond(tf.reduce_sum(x) > 0.0,
                                 lambda: x @ self.w, lambda: x @ -self.w)}

        @tf.function(input_signature=[spec([], tf.int32, "n")])
        def third(self, n):
            return {"v": self.w[n], "n": n}
    module = Several()
    x = RNG.standard_normal((2, 3), np.float32)
    rows_ = {"serving_default": (module.call, "y", {"x": x}),
             "other": (module.other, "z", {"x": x}),
             "third": (module.third, "v", {"n": np.int32(1)})}
    worst = 0.0
    with tempfile.TemporaryDirectory(prefix="repo-") as repo:
        tf.saved_model.save(module, repo, {k: v[0] for k, v in rows_.items()})
        for name, (call, key, given) in rows_.items():
            want = call(**{k: tf.constant(v) for k, v in given.items()})[key]
            graph, why = staged(repo, f"tensorflow/{name}.pb")
            assert graph is not None, why
            got = frozen_run(graph, {f"{name}_{k}:0": v
                                     for k, v in given.items()}, [key])
            worst = max(worst, compare([want], got))
    return worst, f"{len(rows_)} signatures"


def tf1_graphs(repo, partitions=None, dtype=FLOAT):
    """A model saved for training, for a GPU and to serve; what it gives."""
    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(repo)
    x = RNG.standard_normal((2, 6)).astype(np.float32)
    for number, tags in enumerate((["train"], ["serve", "gpu"], ["serve"])):
        with tf.Graph().as_default():
            given = v1.placeholder(FLOAT, [None, 6], "x")
            with v1.variable_scope("m", partitioner=partitions):
                w = v1.get_variable("w", [6, 4], dtype)
            whole = tf.cast(tf.convert_to_tensor(w), FLOAT)
            y = tf.matmul(given, whole)
            y = tf.add(y, number + 1.0, name="y")
            sign = v1.saved_model.predict_signature_def({"x": given},
                                                        {"scores": y})
            with v1.Session() as session:
                if number == 0:
                    session.run(v1.global_variables_initializer())
                    builder.add_meta_graph_and_variables(
                        session, tags, {"serving_default": sign})
                    kept = session.run(whole)
                else:
                    builder.add_meta_graph(tags, {"serving_default": sign})
    builder.save()
    return x, x @ kept + 3.0


def case_tags():
    with tempfile.TemporaryDirectory(prefix="repo-") as repo:
        x, want = tf1_graphs(repo)
        graph, why = staged(repo)
    assert graph is not None, why
    return compare([want], frozen_run(graph, {"x:0": x}, ["scores"])), "three"


def case_types():
    worst = 0.0
    for dtype in (tf.bfloat16, tf.float16, tf.float64):
        with tempfile.TemporaryDirectory(prefix="repo-") as repo:
            x, want = tf1_graphs(
                repo, tf.compat.v1.fixed_size_partitioner(2), dtype)
            graph, why = staged(repo)
        assert graph is not None, why
        got = frozen_run(graph, {"x:0": x}, ["scores"])
        worst = max(worst, compare([want], got))
    return worst, "bf16, f16, f64, in two slices"


def case_shards():
    """The tensors of one checkpoint in several files."""
    class Wide(tf.Module):
        def __init__(self):
            super().__init__()
            self.v = [tf.Variable(RNG.standard_normal((3, 3), np.float32))
                      for _ in range(5)]

        @tf.function(input_signature=[spec([3, 3])])
        def call(self, x):
            for v in self.v:
                x = tf.tanh(x @ v)
            return {"y": x}
    module = Wide()
    with tempfile.TemporaryDirectory(prefix="repo-") as repo:
        tf.saved_model.save(module, repo, module.call)
        prefix = os.path.join(repo, "variables", "variables")
        old = os.path.join(repo, "old")
        reader = tf.train.load_checkpoint(prefix)
        names = sorted(reader.get_variable_to_shape_map())
        parts = []
        for i in range(3):
            part = f"{old}_{i}"
            mine = [n for n in names[i::3]
                    if n != "_CHECKPOINTABLE_OBJECT_GRAPH"]
            tf.raw_ops.SaveV2(prefix=part, tensor_names=mine,
                              shape_and_slices=[""] * len(mine),
                              tensors=[reader.get_tensor(n) for n in mine])
            parts.append(part)
        for f in os.listdir(os.path.dirname(prefix)):
            os.unlink(os.path.join(os.path.dirname(prefix), f))
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts,
                                      destination_prefix=prefix)
        shards = [f for f in os.listdir(os.path.dirname(prefix))
                  if ".data-" in f]
        assert len(shards) == 3, shards
        x = RNG.standard_normal((3, 3), np.float32)
        graph, why = staged(repo)
        assert graph is not None, why
    got = frozen_run(graph, {"serving_default_x:0": x}, ["y"])
    return compare([module.call(tf.constant(x))["y"]], got), "3 shards"


def case_functions():
    """All of the above that has the functional form, kept in it."""
    if os.environ.get("OMNIHUB_STAGE_FLOW"):
        return 0.0, ""
    done = subprocess.run([sys.executable, *sys.argv[:1], "case_"],
                          env={**os.environ, "OMNIHUB_STAGE_FLOW": "functions"},
                          capture_output=True, text=True, check=False)
    said = [s for s in done.stdout.splitlines() if s[:4] in ("ok  ", "FAIL")]
    assert not done.returncode and len(said) > 15, "\n".join(
        s for s in said if s[:4] == "FAIL") + done.stderr[-2000:]
    return max(float(s.split()[2]) for s in said), f"{len(said)} cases"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], globals()))
