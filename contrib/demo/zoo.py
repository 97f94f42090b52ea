"""A model zoo of two: a narrow perceptron for 28 by 28 digits, in two opsets.
Names, places, inputs and outputs are those of the real mnist-8 and mnist-12;
the numbers are not. Standard library only. FILES maps a path in the zoo to
bytes, MANIFEST is what the zoo says of them.
"""
import gzip
import hashlib
import io
import random
import struct
import tarfile

from models import pretty
from wire import field

TOP = "validated/vision/classification/mnist/model/"
SIDE, HIDDEN, CLASSES = 28, 16, 10
FLOAT, INT64 = 1, 7     # TensorProto.DataType


def tensor(name, kind, dims, raw):
    return b"".join(field(1, d) for d in dims) + field(2, kind) + \
        (field(8, name) if name else b"") + field(9, raw)


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def node(op, inputs, outputs):
    return b"".join(field(1, i) for i in inputs) + \
        b"".join(field(2, o) for o in outputs) + \
        field(3, outputs[0]) + field(4, op)


def value_info(name, dims):
    shape = b"".join(field(1, field(1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, FLOAT) +
                                           field(2, shape)))


# ---- the model ----

class Perceptron:
    def __init__(self):
        rnd = random.Random("mnist")

        def noise(n, wide):
            # what float32 holds, so that the arithmetic here is its own
            return struct.unpack(f"<{n}f", floats(
                [rnd.gauss(0, wide) for _ in range(n)]))

        self.w1, self.b1 = noise(SIDE * SIDE * HIDDEN, .05), noise(HIDDEN, .1)
        self.w2, self.b2 = noise(HIDDEN * CLASSES, .3), noise(CLASSES, .1)
        self.digit = noise(SIDE * SIDE, 1)

    def run(self):
        def layer(x, w, b):
            n = len(b)
            return [b[j] + sum(v * w[i * n + j] for i, v in enumerate(x))
                    for j in range(n)]

        hidden = [max(0.0, v) for v in layer(self.digit, self.w1, self.b1)]
        return layer(hidden, self.w2, self.b2)

    def onnx(self, opset):
        nodes = [
            node("Reshape", ["Input3", "flat"], ["x"]),
            node("Gemm", ["x", "w1", "b1"], ["h"]),
            node("Relu", ["h"], ["r"]),
            node("Gemm", ["r", "w2", "b2"], ["Plus214_Output_0"])]
        tensors = [
            tensor("flat", INT64, [2], struct.pack("<2q", 1, SIDE * SIDE)),
            tensor("w1", FLOAT, [SIDE * SIDE, HIDDEN], floats(self.w1)),
            tensor("b1", FLOAT, [HIDDEN], floats(self.b1)),
            tensor("w2", FLOAT, [HIDDEN, CLASSES], floats(self.w2)),
            tensor("b2", FLOAT, [CLASSES], floats(self.b2))]
        graph = b"".join(field(1, n) for n in nodes) + field(2, "mnist") + \
            b"".join(field(5, t) for t in tensors) + \
            field(11, value_info("Input3", [1, 1, SIDE, SIDE])) + \
            field(12, value_info("Plus214_Output_0", [1, CLASSES]))
        return field(1, 4) + field(2, "omnihub-demo") + field(7, graph) + \
            field(8, field(2, opset))

    def data(self):
        return {
            "input_0.pb": tensor("Input3", FLOAT, [1, 1, SIDE, SIDE],
                                 floats(self.digit)),
            "output_0.pb": tensor("Plus214_Output_0", FLOAT, [1, CLASSES],
                                  floats(self.run()))}


def archive(files):
    """A .tar.gz that is the same on every run."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as t:
        for name, data in files.items():
            m = tarfile.TarInfo(name)
            m.size, m.mode, m.mtime = len(data), 0o644, 1704067200
            t.addfile(m, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), 9, mtime=0)


def ports():
    return {"inputs": [{"name": "Input3", "shape": [1, 1, SIDE, SIDE],
                        "type": "tensor(float)"}],
            "outputs": [{"name": "Plus214_Output_0", "shape": [1, CLASSES],
                         "type": "tensor(float)"}]}


def make():
    net, files, rows = Perceptron(), {}, []
    data = net.data()
    for opset, version in ((8, "1.3"), (12, "1.7")):
        stem = f"mnist-{opset}"
        model = net.onnx(opset)
        packed = archive({
            f"{stem}/{stem}.onnx": model,
            **{f"{stem}/test_data_set_0/{n}": d for n, d in data.items()}})
        files[f"{TOP}{stem}.onnx"] = model
        files[f"{TOP}{stem}.tar.gz"] = packed
        rows.append({
            "model": "MNIST", "model_path": f"{TOP}{stem}.onnx",
            "onnx_version": version, "opset_version": opset, "metadata": {
                "model_sha": hashlib.sha256(model).hexdigest(),
                "model_bytes": len(model),
                "tags": ["vision", "classification", "mnist"],
                "io_ports": ports(),
                "model_with_data_path": f"{TOP}{stem}.tar.gz",
                "model_with_data_sha": hashlib.sha256(packed).hexdigest(),
                "model_with_data_bytes": len(packed)}})
    return files, pretty(rows)


FILES, MANIFEST = make()
