#!/usr/bin/env python3
"""What is made of ONNX files that others wrote: halves, eight bits, skeletons,
external data, clean-up, and what can be trained, each run by onnxruntime
against the file itself. `test_originals.py WORD...` runs the cases whose name
has one of the words.
"""
import os
import shutil
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load_file
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from staging import Report, stage  # noqa: E402

HALF, EIGHT = 5e-3, 0.999
RNG = np.random.default_rng(11)


def normal(*shape, dtype=np.float32):
    return (RNG.standard_normal(shape) / np.sqrt(shape[-1])).astype(dtype)


def init(name, array, **how):
    if how.get("typed"):
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return helper.make_tensor(name, kind, array.shape, array.ravel())
    return numpy_helper.from_array(array, name)


def constant(name, array):
    return helper.make_node("Constant", [], [name],
                            value=numpy_helper.from_array(array, name))


def value(name, *dims, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, dims)


def model(nodes, inputs, outputs, inits=(), opset=17, ir=8, **more):
    g = helper.make_graph(nodes, "made here", inputs, outputs, list(inits),
                          doc_string="kept")
    m = helper.make_model(g, opset_imports=[helper.make_opsetid("", opset)] +
                          more.pop("opsets", []), ir_version=ir,
                          producer_name="somebody", **more)
    helper.set_model_props(m, {"author": "somebody"})
    return m


# ---- models ------------------------------------------------------------------

def dense(opset=17, ir=8, as_inputs=False, typed=False):
    """Two layers; as inputs, as files of IR 3 have it."""
    inits = [init("w1", normal(40, 96), typed=typed), init("b1", normal(96)),
             init("w2", normal(96, 24), typed=typed), init("b2", normal(24))]
    nodes = [helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
             helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("Gemm", ["r", "w2", "b2"], ["y"])]
    also = [value(i.name, *i.dims) for i in inits] if as_inputs else []
    return model(nodes, [value("x", "n", 40)] + also, [value("y", "n", 24)],
                 inits, opset, ir), {"x": normal(5, 40)}


def convolutions(opset, ir, as_inputs):
    inits = [init("c1", normal(16, 3, 7, 7)), init("c2", normal(16, 1, 3, 3)),
             init("c3", normal(32, 16, 1, 1)), init("scale", normal(16)),
             init("bias", normal(16)), init("mean", normal(16)),
             init("var", np.abs(normal(16)) + 1)]
    nodes = [
        helper.make_node("Conv", ["x", "c1"], ["a"], pads=[3] * 4),
        helper.make_node("BatchNormalization",
                         ["a", "scale", "bias", "mean", "var"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "c2"], ["d"], group=16),
        helper.make_node("Conv", ["d", "c3"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["y"])]
    also = [value(i.name, *i.dims) for i in inits] if as_inputs else []
    return model(nodes, [value("x", 1, 3, 20, 20)] + also,
                 [value("y", 1, 32, 1, 1)], inits, opset, ir), \
        {"x": normal(1, 3, 20, 20)}


def frozen():
    """Weights as constants, operators that do nothing, tensors twice."""
    w, b = normal(32, 32), normal(32)
    nodes = [
        constant("w", w), constant("b", b), constant("again", b),
        constant("shape", np.array([0, 32], np.int64)),
        constant("half", np.array(0.5, np.float32)),
        helper.make_node("Identity", ["w"], ["w_"]),
        helper.make_node("Dropout", ["x"], ["x_"]),
        helper.make_node("MatMul", ["x_", "w_"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("Identity", ["q"], ["q1"]),
        helper.make_node("Identity", ["q1"], ["q2"]),
        helper.make_node("Add", ["q2", "again"], ["s"]),
        helper.make_node("Add", ["s", "twin"], ["s2"]),
        helper.make_node("Add", ["s2", "twin_"], ["s3"]),
        helper.make_node("Mul", ["s3", "half"], ["t"]),
        helper.make_node("Reshape", ["t", "shape"], ["u"]),
        helper.make_node("Identity", ["u"], ["y"])]
    twin = normal(32)
    return model(nodes, [value("x", "n", 32)], [value("y", "n", 32)],
                 [init("twin", twin), init("twin_", twin),
                  init("unused", normal(50, 50))], 13), {"x": normal(4, 32)}


def branches():
    """A matrix that only the graphs inside an If use."""
    then = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["t"])], "then", [],
        [value("t", "n", 32)])
    other = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["i"]),
         helper.make_node("MatMul", ["x", "i"], ["m"]),
         helper.make_node("MatMul", ["m", "inner"], ["e"])], "else", [],
        [value("e", "n", 32)], [init("inner", normal(32, 32))])
    nodes = [helper.make_node("Identity", ["x"], ["x2"]),
             helper.make_node("If", ["c"], ["y1"], then_branch=then,
                              else_branch=other),
             helper.make_node("Add", ["y1", "x2"], ["y"])]
    return model(nodes, [value("x", "n", 32),
                         value("c", kind=TensorProto.BOOL)],
                 [value("y", "n", 32)], [init("w", normal(32, 32))]), \
        {"x": normal(3, 32), "c": np.array(False)}


def functions():
    f = helper.make_function(
        "local", "Twice", ["a", "w"], ["d"],
        [helper.make_node("MatMul", ["a", "w"], ["b"]),
         helper.make_node("MatMul", ["b", "w"], ["d"])],
        [helper.make_opsetid("", 17)])
    nodes = [helper.make_node("Twice", ["x", "w"], ["y"], domain="local")]
    return model(nodes, [value("x", "n", 48)], [value("y", "n", 48)],
                 [init("w", normal(48, 48))],
                 opsets=[helper.make_opsetid("local", 1)], functions=[f]), \
        {"x": normal(3, 48)}


def halves():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return model(nodes, [value("x", "n", 64, kind=TensorProto.FLOAT16)],
                 [value("y", "n", 64, kind=TensorProto.FLOAT16)],
                 [init("w", normal(64, 64, dtype=np.float16))]), \
        {"x": normal(3, 64, dtype=np.float16)}


def mask():
    """Infinite elements: what is masked stays so."""
    m = np.where(np.tri(40, dtype=bool), 0, -np.inf).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]),
             helper.make_node("Add", ["a", "mask"], ["b"]),
             helper.make_node("Softmax", ["b"], ["y"], axis=-1)]
    return model(nodes, [value("x", 40, 40)], [value("y", 40, 40)],
                 [init("w", normal(40, 40)), init("mask", m)]), \
        {"x": normal(40, 40)}


MODELS = {
    "dense": dense, "dense, opset 21": lambda: dense(21, 10),
    "dense, elements in fields": lambda: dense(typed=True),
    "dense, inputs of IR 3": lambda: dense(9, 3, True),
    "convolutions, opset 7": lambda: convolutions(7, 3, True),
    "convolutions, opset 13": lambda: convolutions(13, 7, False),
    "frozen": frozen, "branches": branches, "functions": functions,
    "halves": halves, "mask": mask,
}


# ---- running -----------------------------------------------------------------

class Repo:
    """A model as a repository, and what is made of it beside it."""

    def __init__(self, m, **save):
        self.path = tempfile.mkdtemp(prefix="original-")
        self.out = tempfile.mkdtemp(prefix="variants-")
        onnx.save(m, os.path.join(self.path, "net.onnx"), **save)
        self.m = m

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)
        shutil.rmtree(self.out)

    def make(self, form):
        code, why = stage(self.path, self.out, 17, form)
        if code:
            raise AssertionError(f"{form}: exit {code}: {why}")
        for name in os.listdir(self.path):
            to = os.path.join(self.out, name)
            if not os.path.exists(to):
                shutil.copy(os.path.join(self.path, name), to)
        return os.path.join(self.out, form)

    def refused(self, form):
        code, why = stage(self.path, self.out, 17, form)
        assert code, f"{form} is made"
        return code, why


def run(path, feed):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    s = ort.InferenceSession(path, options)
    names = {i.name for i in s.get_inputs()}
    assert set(feed) <= names, f"inputs {names}"
    return s.run(None, feed)[0].astype(np.float64)


def largest_error(got, want):
    assert got.shape == want.shape and np.isfinite(got).all()
    return float(np.abs(got - want).max() / np.abs(want).max())


def cosine(a, b):
    a, b = a.ravel(), b.ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def load(path):
    onnx.checker.check_model(path, full_check=True)
    return onnx.load(path, load_external_data=False)


def kept(repo, m):
    """What no variant touches."""
    assert m.producer_name == "somebody" and m.graph.doc_string == "kept"
    assert [p.value for p in m.metadata_props if p.key == "author"] == \
        ["somebody"]
    assert [f.SerializeToString() for f in m.functions] == \
        [f.SerializeToString() for f in repo.m.functions]
    assert [o.name for o in m.graph.output] == \
        [o.name for o in repo.m.graph.output]
    assert list(m.opset_import) == list(repo.m.opset_import)


def variants(make, save=None):
    m, feed = make()
    with Repo(m, **save or {}) as repo:
        want = run(os.path.join(repo.path, "net.onnx"), feed)
        path = repo.make("net_fp16.onnx")
        kept(repo, load(path))
        half = largest_error(run(path, feed), want)
        assert half <= HALF, f"fp16: error {half}"
        path = repo.make("net_int8.onnx")
        got = load(path)
        kept(repo, got)
        assert any(i.data_type == TensorProto.INT8
                   for i in got.graph.initializer), "nothing is int8"
        eight = cosine(run(path, feed), want)
        assert eight >= EIGHT, f"int8: cosine {eight}"
        for form in ("skeleton", "external", "trainable", "clean"):
            if form == "external":
                repo.make("net_external.onnx_data")
            path = repo.make(f"net_{form}.onnx")
            got = load(path)
            kept(repo, got)
            error = largest_error(run(path, feed), want)
            assert error <= 1e-6, f"{form}: error {error}"
        return f"{half:.1e}  {eight:.6f}"


# ---- each form ---------------------------------------------------------------

def skeleton():
    with Repo(convolutions(13, 7, False)[0]) as repo:
        path = repo.make("net_skeleton.onnx")
        got = load(path)
        outside = {i.name for i in got.graph.initializer
                   if i.data_location == TensorProto.EXTERNAL}
        assert outside == {"c1", "c2", "c3"}, outside
        for i in got.graph.initializer:
            at = {e.key: e.value for e in i.external_data}
            assert at.get("location", "net.onnx") == "net.onnx", at
        whole = os.path.getsize(os.path.join(repo.path, "net.onnx"))
        return f"{os.path.getsize(path)} of {whole} bytes"


def weights():
    m, _ = frozen()
    with Repo(m) as repo:
        got = load_file(repo.make("net.safetensors"))
        want = {i.name: numpy_helper.to_array(i) for i in m.graph.initializer}
        for n in m.graph.node:
            if n.output[0] in ("w", "b", "again"):
                want[n.output[0]] = numpy_helper.to_array(n.attribute[0].t)
        assert set(got) == set(want), set(got) ^ set(want)
        for k, v in want.items():
            assert np.array_equal(got[k], v), k
    return f"{len(got)} tensors"


def clean():
    m, feed = frozen()
    with Repo(m) as repo:
        want = run(os.path.join(repo.path, "net.onnx"), feed)
        got = load(repo.make("net_clean.onnx"))
        ops = [n.op_type for n in got.graph.node]
        assert ops.count("Identity") == 1 and "Dropout" not in ops, ops
        assert [i.name for i in got.graph.initializer] == ["twin"]
        assert not any(n.output[0] == "again" for n in got.graph.node)
        assert np.array_equal(run(os.path.join(repo.out, "net_clean.onnx"),
                                  feed), want)
        text = f"{len(ops)} of {len(m.graph.node)} nodes"
    m, feed = convolutions(7, 3, True)
    with Repo(m) as repo:
        got = load(repo.make("net_clean.onnx"))
        assert [i.name for i in got.graph.input] == ["x"], got.graph.input
    return text


def trainable():
    m, feed = frozen()
    with Repo(m) as repo:
        path = repo.make("net_trainable.onnx")
        got = load(path)
        names = {i.name for i in got.graph.initializer}
        assert {"w", "b", "again", "twin", "twin_"} <= names, names
        info, = got.training_info
        bound = {b.key: b.value for b in info.update_binding}
        assert set(bound) == {"w", "b", "again", "twin", "twin_"}, bound
        # The step as the format defines it: the two graphs as one.
        both = onnx.ModelProto()
        both.CopyFrom(got)
        del both.training_info[:]
        for field in ("node", "input", "output", "initializer"):
            getattr(both.graph, field).extend(getattr(info.algorithm, field))
        onnx.checker.check_model(both, full_check=True)
        s = ort.InferenceSession(both.SerializeToString())
        gradient = normal(32, 32)
        feeds = {i.name: np.zeros([d.dim_value for d in
                                   i.type.tensor_type.shape.dim], np.float32)
                 for i in info.algorithm.input}
        feeds.update(feed, w_gradient=gradient,
                     learning_rate=np.array(0.1, np.float32))
        new, = s.run([bound["w"]], feeds)
        w = next(numpy_helper.to_array(i) for i in got.graph.initializer
                 if i.name == "w")
        assert np.allclose(new, w - 0.1 * gradient, atol=1e-6)
    m, _ = convolutions(13, 7, False)
    with Repo(m) as repo:
        got = load(repo.make("net_trainable.onnx"))
        bound = {b.key for b in got.training_info[0].update_binding}
        assert bound == {"c1", "c2", "c3", "scale", "bias"}, bound
    return f"{len(bound)} weights"


def outside(tensors):
    """External data of others, one file or a file a tensor."""
    return variants(lambda: dense(), dict(
        save_as_external_data=True, all_tensors_to_one_file=not tensors,
        location=None if tensors else "net.onnx_data", size_threshold=0))


def refusals():
    m, _ = halves()
    m.graph.initializer[0].CopyFrom(init("w", RNG.integers(
        -9, 9, (64, 64)).astype(np.float16)))
    node = helper.make_node("QLinearMatMul", [
        "x", "s", "z", "w", "s", "z", "s", "z"], ["y"])
    m = model([node], [value("x", 4, 64, kind=TensorProto.INT8)],
              [value("y", 4, 64, kind=TensorProto.INT8)],
              [init("w", RNG.integers(-9, 9, (64, 64)).astype(np.int8)),
               init("s", np.array(0.1, np.float32)),
               init("z", np.array(0, np.int8))])
    with Repo(m) as repo:
        for form, why in (("net_fp16.onnx", "no float32 matrix"),
                          ("net_int8.onnx", "no matrix of floating"),
                          ("net_trainable.onnx", "no weights that could be")):
            code, text = repo.refused(form)
            assert code == 3 and why in text, (code, text)
        repo.make("net_skeleton.onnx")
    m, _ = dense(6, 3, True)
    with Repo(m) as repo:
        code, text = repo.refused("net_int8.onnx")
        assert code == 3 and "opset 6 is older than 7" in text, text
    m, _ = dense()
    m.graph.initializer.append(init("w1_fp16", normal(2)))
    m.graph.node.append(helper.make_node("Neg", ["w1_fp16"], ["negative"]))
    with Repo(m) as repo:
        code, text = repo.refused("net_fp16.onnx")
        assert code == 3 and "a value w1_fp16 of its own" in text, text
    for location, why in (("../net.onnx", "not below the model"),
                          ("/etc/passwd", "not below the model"),
                          ("gone.bin", "gone.bin is not there")):
        m, _ = dense()
        t = m.graph.initializer[0]
        t.ClearField("raw_data")
        t.data_location = TensorProto.EXTERNAL
        t.external_data.add(key="location", value=location)
        with Repo(dense()[0]) as repo:
            with open(os.path.join(repo.path, "net.onnx"), "wb") as f:
                f.write(m.SerializeToString())
            _, text = repo.refused("net_int8.onnx")
            assert why in text, text
    return "by their reasons"


def main():
    report = Report(sys.argv[1:])
    for name, make in MODELS.items():
        report.run(f"variants: {name}", variants, make)
    report.run("variants: external data in one file", outside, False)
    report.run("variants: external data, a file a tensor", outside, True)
    report.run("skeleton", skeleton)
    report.run("weights", weights)
    report.run("clean", clean)
    report.run("trainable", trainable)
    report.run("refusals", refusals)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
