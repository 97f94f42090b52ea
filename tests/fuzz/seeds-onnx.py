#!/usr/bin/env python3
"""ONNX models, put together field by field."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "..", "contrib", "demo"))
from wire import field  # noqa: E402


def value(name, *dims):
    shape = b"".join(field(1, field(1 if isinstance(d, int) else 2, d))
                     for d in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def tensor(name, dims, data=None):
    out = b"".join(field(1, d) for d in dims) + field(2, 1) + field(8, name)
    if data is not None:
        return out + field(9, data)
    return out + field(13, field(1, "location") + field(2, "w.bin")) + \
        field(14, 1)


def node(op, *inputs, attrs=b"", domain=""):
    return b"".join(field(1, i) for i in inputs) + field(2, op + "_out") + \
        field(4, op) + attrs + (field(7, domain) if domain else b"")


def model(*graph):
    return field(1, 8) + field(2, "maker") + field(7, b"".join(graph)) + \
        field(8, field(2, 17)) + field(8, field(1, "com.x") + field(2, 1)) + \
        field(14, field(1, "key") + field(2, "value"))


def put(name, data):
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(data)


inner = field(1, node("Neg", "a")) + field(2, "inner")
put("good-model", model(
    field(1, node("Gemm", "x", "w", "b")), field(1, node(
        "Odd", "y", domain="com.x")), field(2, "main"),
    field(5, tensor("w", [2, 3], bytes(24))), field(5, tensor("b", [2])),
    field(11, value("x", "batch", 3)), field(11, value("w", 2, 3)),
    field(12, value("y", "batch", 2))))
put("good-nested", model(field(2, "g"), field(1, node(
    "If", "c", attrs=field(5, field(1, "then") + field(6, inner))))))
put("good-packed", model(field(2, "g"), field(5, field(1, b"\2\3") +
                                              field(2, 1) + field(8, "w"))))
deep = inner
for _ in range(12):
    deep = field(1, node("If", attrs=field(5, field(6, deep))))
put("large-deep", model(deep))
put("bad-length", field(1, 8) + b"\x3a\xff\xff\xff\xff\x0f")
put("bad-wire", b"\x0b\x0c")
put("bad-shape", model(field(2, "g"), field(5, tensor(
    "w", [1 << 62, 8], b""))))
put("bad-text", model(field(2, b"\xff")))


# ---- what variants are made of ----------------------------------------------

def constant(name, data):
    return field(1, field(2, name) + field(4, "Constant") + field(
        5, field(1, "value") + field(5, data) + field(20, 4)))


def outside(*pairs):
    return field(1, 8) + field(1, 8) + field(2, 1) + field(8, "w") + b"".join(
        field(13, field(1, k) + field(2, v)) for k, v in pairs) + field(14, 1)


def uses(*names):
    return field(1, b"".join(field(1, n) for n in names) +
                 field(2, "y") + field(4, "Gemm"))


put("good-matrix", model(uses("x", "w", "b"), field(2, "g"), field(
    5, tensor("w", [64, 32], bytes(range(256)) * 32)), field(
        5, tensor("b", [32], bytes(128))), field(12, value("y", 2))))
put("good-float-data", model(uses("x", "w"), field(5, field(1, 16) + field(
    1, 16) + field(2, 1) + field(8, "w") + field(4, bytes(1024)))))
put("good-constants", model(
    constant("w", tensor("", [32, 32], bytes(4096))),
    constant("v", tensor("", [32, 32], bytes(4096))),
    field(1, field(1, "w") + field(2, "i") + field(4, "Identity")),
    uses("i", "v"), field(12, value("y", 2))))
put("good-outside", model(uses("w"), field(5, outside(
    ("location", "w.bin"), ("offset", "4096"), ("length", "256")))))
put("good-old", field(1, 3) + field(7, uses("x", "w") + field(
    5, tensor("w", [16, 16], bytes(1024))) + field(11, value("x", 1)) +
    field(11, value("w", 16, 16))) + field(8, field(2, 7)))
put("bad-outside-range", model(uses("w"), field(5, outside(
    ("location", "w.bin"), ("offset", "65400"), ("length", "256")))))
put("bad-outside-number", model(uses("w"), field(5, outside(
    ("location", "w.bin"), ("offset", "-1"), ("length", "0x10")))))
put("bad-outside-up", model(uses("w"), field(5, outside(
    ("location", "../d/w.bin"), ("length", "256")))))
put("bad-outside-root", model(uses("w"), field(5, outside(
    ("location", "/etc/passwd"), ("length", "256")))))
put("bad-outside-nothing", model(uses("w"), field(5, outside())))
put("bad-raw-short", model(uses("w"), field(5, tensor(
    "w", [16, 16], bytes(1000)))))
put("bad-raw-twice", model(uses("w"), field(5, tensor(
    "w", [16, 16], bytes(1024)) + field(9, bytes(1024)))))
put("bad-made-twice", model(uses("w"), uses("w")))
put("bad-two-graphs", model(uses("w")) + field(7, uses("v")))
put("bad-name-nul", model(uses("w\0x")))
put("bad-no-graph", field(1, 8))
put("large-rank", model(uses("w"), field(5, tensor(
    "w", [1] * 100 + [16, 16], bytes(1024)))))
put("large-circle", model(*(field(1, field(1, f"i{i + 1}") + field(
    2, f"i{i}") + field(4, "Identity")) for i in range(50)), field(1, field(
        1, "i0") + field(2, "i50") + field(4, "Identity"))))


# ---- GraphDefs ---------------------------------------------------------------

def tf_node(name, op, *attrs):
    return field(1, field(1, name) + field(2, op) + b"".join(
        field(5, field(1, k) + field(2, v)) for k, v in attrs))


def tf_shape(*dims):
    return b"".join(field(2, field(1, d)) for d in dims)


put("good-graphdef", tf_node("x", "Placeholder", ("dtype", field(6, 1)), (
    "shape", field(7, tf_shape(2, 3)))) + tf_node("w", "Const", (
        "value", field(8, field(1, 1) + field(2, tf_shape(3, 4)) + field(
            4, bytes(48))))) + tf_node("y", "MatMul"))
put("bad-graphdef-shape", tf_node("w", "Const", ("value", field(8, field(
    2, tf_shape(1 << 40, 1 << 40))))))
put("bad-graphdef-op", field(1, field(1, "x")))
