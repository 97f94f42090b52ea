#!/usr/bin/env python3
"""saved_model.pb files: variables, functions, signatures; and hostile ones."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "..", "contrib", "demo"))
from wire import field, varint  # noqa: E402

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


def types(*t):
    """list(type)"""
    return msg(1, msg(6, b"".join(varint(v) for v in t)))


def loop(cond, body, inputs, t=1):
    return node("y", "While", inputs, T=types(*[t] * len(inputs)),
                cond=func(cond), body=func(body))


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


LESS = function("less", ["a"], ["c"], [
    node("limit", "Const", dtype=typed(1),
         value=msg(8, num(1, 1) + msg(2, b"") + msg(5, bytes(4)))),
    node("l", "Less", ["a", "limit:output:0"], T=typed(1))], {"c": "l:z:0"})
MORE = function("more", ["a"], ["b"], [
    node("n", "AddV2", ["a", "a"], T=typed(1))], {"b": "n:z:0"})
SAME = function("same", ["a"], ["b"], [], {"b": "a"})
READ = function("read", ["a", "h"], ["b"], [
    node("r", "ReadVariableOp", ["h"], dtype=typed(1)),
    node("n", "MatMul", ["a", "r:value:0"], T=typed(1))],
    {"b": "n:product:0"})
# A body that loops over itself, and a branch that branches on itself.
AGAIN = function("again", ["a"], ["b"], [
    node("n", "While", ["a"], T=types(1), cond=func("less"),
         body=func("again"))], {"b": "n:output:0"})
BRANCHES = function("branches", ["a"], ["b"], [
    node("p", "Const", dtype=typed(10)),
    node("n", "If", ["p:output:0", "a"], Tcond=typed(10), Tin=types(1),
         Tout=types(1), then_branch=func("branches"),
         else_branch=func("branches"))], {"b": "n:output:0"})
# TF1's frame with its cycle, and one whose cycle is closed by nothing.
FRAME = [X, node("e", "Enter", ["x"], T=typed(1), frame_name=msg(2, "f")),
         node("m", "Merge", ["e", "n"], T=typed(1), N=num(3, 2)),
         node("k", "Const", ["^m"], dtype=typed(1)),
         node("l", "Less", ["m", "k"], T=typed(1)),
         node("c", "LoopCond", ["l"]),
         node("s", "Switch", ["m", "c"], T=typed(1)),
         node("a", "AddV2", ["s:1", "k"], T=typed(1)),
         node("n", "NextIteration", ["a"], T=typed(1)),
         node("y", "Exit", ["s"], T=typed(1))]
# The same in a function, where references name outputs.
FRAME_FUNCTION = function("frame", ["x"], ["r"], [
    node("e", "Enter", ["x"], T=typed(1), frame_name=msg(2, "f")),
    node("m", "Merge", ["e:output:0", "n:output:0"], T=typed(1), N=num(3, 2)),
    node("k", "Const", ["^m"], dtype=typed(1)),
    node("l", "Less", ["m:output:0", "k:output:0"], T=typed(1)),
    node("c", "LoopCond", ["l:z:0"]),
    node("s", "Switch", ["m:output:0", "c:output:0"], T=typed(1)),
    node("a", "AddV2", ["s:output_true:0", "k:output:0"], T=typed(1)),
    node("n", "NextIteration", ["a:z:0"], T=typed(1)),
    node("o", "Exit", ["s:output_false:0"], T=typed(1))],
    {"r": "o:output:0"})
PRED = node("p", "Const", dtype=typed(10))
BRANCH = dict(Tcond=typed(10), Tin=types(1), Tout=types(1))

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
    "good-while": model([X, loop("less", "more", ["x"])], [LESS, MORE]),
    "good-frame": model(FRAME),
    "good-frame-function": model(
        [X, node("y", "PartitionedCall", ["x"], f=func("frame"))],
        [FRAME_FUNCTION]),
    "good-while-call": model([X, loop("less", "calls", ["x"])], [
        LESS, FRAME_FUNCTION, function("calls", ["a"], ["b"], [
            node("f", "PartitionedCall", ["a"], f=func("frame"))],
            {"b": "f:output:0"})]),
    "good-if": model([X, PRED, node(
        "y", "If", ["p", "x"], then_branch=func("more"),
        else_branch=func("same"), **BRANCH)], [MORE, SAME]),
    "good-if-variable": model([X, W, PRED, node(
        "y", "If", ["p", "x", "w"], Tcond=typed(10), Tin=types(1, 20),
        Tout=types(1), then_branch=func("read"), else_branch=func("read"))],
        [READ]),
    "good-case": model([X, node("p", "Const", dtype=typed(3)), node(
        "y", "Case", ["p", "x"], Tin=types(1), Tout=types(1),
        branches=msg(1, msg(9, msg(1, "more")) * 3))], [MORE]),
    "bad-loop": model([X, node("y", "Relu", ["z"]),
                       node("z", "Relu", ["y"])]),
    "bad-if": model([X, node("y", "If", ["x"])]),
    "bad-if-types": model([X, PRED, node(
        "y", "If", ["p", "x", "x"], then_branch=func("more"),
        else_branch=func("more"), **BRANCH)], [MORE]),
    "bad-while-again": model([X, loop("less", "again", ["x"])],
                             [LESS, AGAIN]),
    "bad-branches": model([X, PRED, node(
        "y", "If", ["p", "x"], then_branch=func("branches"),
        else_branch=func("branches"), **BRANCH)], [BRANCHES]),
    "bad-while-gone": model([X, loop("less", "gone", ["x"])], [LESS]),
    "bad-frame": model(FRAME[:-2] + FRAME[-1:]),
    "bad-frame-cycle": model(FRAME[:-3] + [
        node("a", "AddV2", ["s:1", "b"], T=typed(1)),
        node("b", "Neg", ["a"], T=typed(1))] + FRAME[-2:]),
    "bad-case-none": model([X, node("p", "Const", dtype=typed(3)), node(
        "y", "Case", ["p", "x"], Tin=types(1), Tout=types(1),
        branches=msg(1, b""))]),
    "unsupported-while-strings": model([X, loop("less", "more", ["x"], 7)],
                                       [LESS, MORE]),
    "unsupported-while-variables": model(
        [X, W, loop("less", "same", ["w"], 20)], [LESS, SAME]),
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
