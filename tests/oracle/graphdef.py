"""What test_graphdef.py runs in the interpreter that has TensorFlow: for every
line "GRAPH FEEDS OUT" of standard input it imports the GraphDef, feeds it the
.npz, writes the .npz with outputs (named in the feeds as "outputs"), and
answers with the operators of the graph, or with "failed" and why. A line
"h5 ARRAYS OUT" makes a file of HDF5 of an .npz, as Keras would."""
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


def save_h5(np, arrays, out):
    import h5py
    with h5py.File(out, "w") as f:
        for name, value in np.load(arrays).items():
            f.create_dataset(name, data=value)
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
            said = save_h5(np, *words[1:]) if words[0] == "h5" else \
                run(np, v1, *words)
        except Exception as e:  # pylint: disable=broad-except
            said = f"failed {type(e).__name__}: " + " ".join(
                str(e).split())[:700]
        print(said, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
