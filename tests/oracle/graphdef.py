"""What test_graphdef.py runs in the interpreter that has TensorFlow: for every
line "GRAPH FEEDS OUT" of standard input it imports the GraphDef, feeds it the
.npz, writes the .npz with outputs (named in the feeds as "outputs"), and
answers with the operators of the graph, or with "failed" and why. A line
"h5 ARRAYS OUT" makes a file of HDF5 of an .npz, as Keras would; "savedmodel DIR
OUT" a SavedModel, and an .npz of its x and y; "train GRAPH META FEEDS" holds the
form with variables against the frozen one."""
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


def run(np, v1, graph, feeds, out):
    given = dict(np.load(feeds))
    outputs = [str(o) for o in given.pop("outputs")]
    g = v1.GraphDef()
    with open(graph, "rb") as f:
        g.ParseFromString(f.read())
    with v1.Graph().as_default() as where:
        v1.import_graph_def(g, name="")
        for node in g.node:
            if node.op == "Placeholder":
                assert node.name in given, node.name
        with v1.Session(graph=where) as session:
            got = session.run([o + ":0" for o in outputs],
                              {k + ":0": v for k, v in given.items()})
    np.savez(out, **dict(zip(outputs, got)))
    return " ".join(sorted({n.op for n in g.node})) + f" {len(g.node)}"


def close(np, got, want):
    worst = 0.0
    for g, w in zip(got, want):
        assert g.shape == w.shape and np.isfinite(w).all()
        worst = max(worst, float(np.abs(g - w).max() / np.abs(w).max()))
    assert worst <= 2e-5, f"off by {worst:.1e}"
    return worst


def trained(np, v1, frozen, meta, feeds, outputs, rate=0.01):
    """One step of gradient descent as the file's variables have it, against
    the frozen graph with the constants that the step should make of its own.
    (largest difference, names of the variables)"""
    def run_frozen(changed):
        for node in frozen.node:
            if node.name in changed:
                assert node.op == "Const", node.name
                node.attr["value"].tensor.CopyFrom(
                    v1.make_tensor_proto(changed[node.name]))
        with v1.Graph().as_default(), v1.Session() as session:
            v1.import_graph_def(frozen, name="")
            return session.run(outputs, feeds)
    with v1.Graph().as_default() as g, v1.Session() as session:
        v1.train.import_meta_graph(meta)
        variables = v1.trainable_variables()
        assert variables and variables == v1.global_variables()
        session.run("init")
        ys = [g.get_tensor_by_name(o) for o in outputs]
        worst = close(np, session.run(ys, feeds), run_frozen({}))
        loss = sum(v1.reduce_mean(v1.square(y - 0.5)) for y in ys)
        by = v1.gradients(loss, variables)
        assert all(d is not None for d in by)
        dense = [v1.convert_to_tensor(d) for d in by]
        before, by = session.run([variables, dense], feeds)
        assert sum(bool(np.abs(d).max()) for d in by) * 2 > len(by)
        was = session.run(ys, feeds)
        session.run(v1.train.GradientDescentOptimizer(rate).minimize(loss),
                    feeds)
        got = session.run(ys, feeds)
        assert any(np.abs(a - b).max() > 1e-4 * np.abs(a).max()
                   for a, b in zip(was, got)), "a step that changes nothing"
        names = [v.op.name for v in variables]
    want = run_frozen({n: v - rate * d
                       for n, v, d in zip(names, before, by)})
    return max(worst, close(np, got, want)), names


def train(np, v1, graph, meta, feeds):
    given = dict(np.load(feeds))
    outputs = [f"{o}:0" for o in given.pop("outputs")]
    frozen = v1.GraphDef()
    with open(graph, "rb") as f:
        frozen.ParseFromString(f.read())
    worst, names = trained(np, v1, frozen, meta,
                           {k + ":0": v for k, v in given.items()}, outputs)
    return f"{worst:.1e} {len(names)}"


def save_h5(np, arrays, out):
    import h5py
    with h5py.File(out, "w") as f:
        for name, value in np.load(arrays).items():
            f.create_dataset(name, data=value)
    return "done 0"


def save_model(np, path, out):
    import tensorflow as tf
    layers, rng = tf.keras.layers, np.random.default_rng(11)
    model = tf.keras.Sequential([
        tf.keras.Input((16, 16, 3), name="x"),
        layers.Conv2D(8, 3, strides=2, padding="same"),
        layers.BatchNormalization(), layers.ReLU(6.0),
        layers.DepthwiseConv2D(3, padding="same", activation="relu"),
        layers.MaxPooling2D(2), layers.Conv2D(6, 1),
        layers.AveragePooling2D(2), layers.Flatten(),
        layers.Dense(5, activation="tanh"), layers.Dense(3),
        layers.Softmax()])
    for v in model.variables:
        x = rng.uniform(0.05, 0.6, v.shape)
        if "variance" not in v.name:
            x *= rng.choice([-1, 1], v.shape)
        v.assign(x.astype(np.float32))
    model.export(path, verbose=False)
    x = rng.standard_normal((2, 16, 16, 3)).astype(np.float32)
    np.savez(out, x=x, y=model(x).numpy())
    return "done 0"


def main():
    try:
        import numpy as np
        from tensorflow.compat import v1
    except ImportError as e:
        print(f"skipped: {e}", flush=True)
        return 77
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            words = line.split()
            if words[0] == "h5":
                said = save_h5(np, *words[1:])
            elif words[0] == "savedmodel":
                said = save_model(np, *words[1:])
            elif words[0] == "train":
                said = train(np, v1, *words[1:])
            else:
                said = run(np, v1, *words)
        except Exception as e:  # pylint: disable=broad-except
            said = f"failed {type(e).__name__}: " + " ".join(
                str(e).split())[:700]
        print(said, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
