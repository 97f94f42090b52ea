#!/usr/bin/env python3
"""saved_model.pb files: variables, functions, signatures; and hostile ones."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "..", "contrib", "demo"))
from wire import field  # noqa: E402

num = msg = field


def pair(field, key, value):
    return msg(field, msg(1, key) + msg(2, value))


def node(name, op, inputs=(), **attrs):
    return msg(1, name) + msg(2, op) + b"".join(
        msg(3, i) for i in inputs) + b"".join(
            pair(5, k, v) for k, v in attrs.items())


def typed(t):
    return num(6, t)


def strings(name, *values):
    return node(name, "Const", dtype=typed(7), value=msg(
        8, num(1, 7) + b"".join(msg(8, v) for v in values)))


def floats(name, count):
    """count floats as tensor_content."""
    return node(name, "Const", dtype=typed(1), value=msg(8, num(
        1, 1) + msg(2, msg(2, num(1, count))) + msg(4, bytes(range(
            1, 251)) * (count * 4 // 250 + 1))))


def func(name):
    return msg(10, msg(1, name))


def function(name, args, outs, nodes, ret):
    return msg(1, msg(1, name) + b"".join(
        msg(2, msg(1, a)) for a in args) + b"".join(
            msg(3, msg(1, o)) for o in outs)) + b"".join(
                msg(3, n) for n in nodes) + b"".join(
                    pair(4, k, v) for k, v in ret.items())


def info(tensor, dtype=1):
    return msg(1, tensor) + num(2, dtype) + msg(3, msg(2, num(1, 3)))


def signature(name, ins, outs):
    return pair(5, name, b"".join(
        pair(1, k, info(v)) for k, v in ins.items()) + b"".join(
            pair(2, k, info(v)) for k, v in outs.items()))


def model(nodes, functions=(), signatures=None, tags=("serve",),
          restore=None):
    graph = b"".join(msg(1, n) for n in nodes)
    if functions:
        graph += msg(2, b"".join(msg(1, f) for f in functions))
    graph += msg(4, num(1, 1087))
    if signatures is None:
        signatures = signature("serving_default", {"x": "x:0"}, {"y": "y:0"})
    saver = msg(3, msg(3, restore)) if restore else b""
    return num(1, 1) + msg(2, msg(1, b"".join(msg(4, t) for t in tags)) +
                           msg(2, graph) + saver + signatures)


X = node("x", "Placeholder", dtype=typed(1))
W = node("w", "VarHandleOp", dtype=typed(1))
B = node("bias", "VarHandleOp", dtype=typed(1))

TF1 = model([X, node("w", "VariableV2", dtype=typed(1)),
             node("y", "MatMul", ["x", "w", "^gone"], T=typed(1),
                  _class=msg(1, msg(2, "loc:@w")))])

BODY = [node("read", "ReadVariableOp", ["k"], dtype=typed(1)),
        node("mm", "MatMul", ["x", "read:value:0"], T=typed(1)),
        node("rb", "ReadVariableOp", ["b", "^read"], dtype=typed(1)),
        node("add", "BiasAdd", ["mm:product:0", "rb:value:0"], T=typed(1)),
        node("top", "TopKV2", ["add:output:0", "two"], T=typed(1)),
        node("two", "Const", dtype=typed(3),
             value=msg(8, num(1, 3) + msg(2, b"") + num(7, 2)))]
RESTORE = [strings("names", "w", "b"), strings("slices", ""),
           node("r", "RestoreV2", ["prefix", "names:output:0",
                                   "slices:output:0"]),
           node("i", "Identity", ["r:tensors:0"], T=typed(1)),
           node("a0", "AssignVariableOp", ["h0", "i:output:0"]),
           node("a1", "AssignVariableOp", ["h1", "r:tensors:1"])]
TF2_NODES = [X, W, B, node("call", "StatefulPartitionedCall",
                           ["x", "w", "bias"], f=func("serve")),
             node("y", "Identity", ["call:1"], T=typed(1)),
             node("prefix", "Placeholder", dtype=typed(7)),
             node("load", "StatefulPartitionedCall", ["prefix", "w", "bias"],
                  f=func("restore"))]
TF2_FUNCTIONS = [
    function("serve", ["x", "k", "b"], ["values", "indices", "sum"], BODY,
             {"values": "top:indices:0", "indices": "top:values:0",
              "sum": "add:output:0"}),
    function("restore", ["prefix", "h0", "h1"], [], RESTORE, {})]
TF2 = model(TF2_NODES, TF2_FUNCTIONS, restore="load")


def doubling(depth):
    """Each function calls the next twice."""
    out = [function("f0", ["x"], ["y"], [node("n", "Neg", ["x"], T=typed(1))],
                    {"y": "n:y:0"})]
    for i in range(depth):
        call = {"f": func(f"f{i}")}
        out.append(function(
            f"f{i + 1}", ["x"], ["y"],
            [node("a", "PartitionedCall", ["x"], **call),
             node("b", "PartitionedCall", ["a:output:0"], **call)],
            {"y": "b:output:0"}))
    return model([X, node("y", "PartitionedCall", ["x"],
                          f=func(f"f{depth}"))], out)


FILES = {
    "good-tf1": TF1,
    "good-tf2": TF2,
    "good-hub": model([X, node("w", "VariableV2", dtype=typed(1)),
                       node("y", "MatMul", ["x", "w"], T=typed(1))], tags=()),
    "good-constant": model([X, floats("c", 20000),
                            node("y", "AddV2", ["x", "c"], T=typed(1))]),
    "good-fed-inside": model([node("x", "Identity", ["gone"], T=typed(1)),
                              node("y", "Relu", ["x"], T=typed(1))]),
    "good-default": model([X, node("y", "LeakyRelu", ["x"])]),
    "bad-empty": b"",
    "bad-no-node": model([X]),
    "bad-cut": TF2[:-40],
    "bad-two-graphs": num(1, 1) + msg(2, msg(1, msg(4, "serve")) + msg(
        2, msg(1, X)) + msg(2, msg(1, X) + msg(1, W))),
    "bad-arguments": model([X, node("y", "PartitionedCall", [],
                                    f=func("g"))],
                           [function("g", ["x"], ["y"], [], {"y": "x"})]),
    "bad-type": model([X, node("w", "VarHandleOp", dtype=typed(3)),
                       node("y", "ReadVariableOp", ["w"], dtype=typed(3))]),
    "bad-itself": model([X, node("y", "PartitionedCall", ["x"],
                                 f=func("g"))],
                        [function("g", ["x"], ["y"], [
                            node("n", "PartitionedCall", ["x"],
                                 f=func("g"))], {"y": "n:output:0"})]),
    "unsupported-train": model([X, node("y", "Neg", ["x"], T=typed(1))],
                               tags=("train", "serve")),
    "unsupported-loop": model([X, node("y", "Relu", ["z"]),
                               node("z", "Relu", ["y"])]),
    "unsupported-branch": model([X, node("y", "If", ["x"])]),
    "unsupported-table": model([X, node("y", "LookupTableFindV2", ["x"])]),
    "unsupported-output": model(
        [X, node("y", "PartitionedCall", ["x"], f=func("g"))],
        [function("g", ["x"], ["y"], [node("n", "Custom", ["x"])],
                  {"y": "n:second_thing:0"})]),
    "unsupported-variable": model([X, node("v", "VarHandleOp",
                                           dtype=typed(1)),
                                   node("y", "ReadVariableOp", ["v"],
                                        dtype=typed(1))]),
    "unsupported-assign": model([X, W, node("y", "AssignAddVariableOp",
                                            ["w", "x"], dtype=typed(1))]),
}

if __name__ == "__main__":
    for file, data in FILES.items():
        with open(os.path.join(sys.argv[1], file), "wb") as f:
            f.write(data)
