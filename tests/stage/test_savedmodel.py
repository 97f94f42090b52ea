#!/usr/bin/env python3
"""SavedModels made by hand, frozen by stage-dir: what the graph is, and why
there is none. Every seed of the fuzz target is one case, and the checkpoints
beside them are whole, in shards, in parts, packed, and broken."""
import os
import struct
import subprocess
import sys
import tempfile

TOP = os.environ["SRCDIR"]
sys.path[:0] = [os.path.join(TOP, "tests/fuzz"),
                os.path.join(TOP, "tests/stage")]
import importlib  # noqa: E402
from messages import fields  # noqa: E402

saved = importlib.import_module("seeds-savedmodel")
sst = importlib.import_module("seeds-sstable")
STAGE_DIR = os.path.join(os.environ["BUILDDIR"], "tests/oracle/stage-dir")
FLOATS = struct.pack("<9f", *[i + 0.5 for i in range(9)])


def shape(*dims):
    return saved.msg(2, b"".join(saved.msg(2, saved.num(1, d)) for d in dims))


def tensor(dims, off, size, dtype=1, shard=0, slices=b""):
    return saved.num(1, dtype) + shape(*dims) + saved.num(3, shard) + \
        saved.num(4, off) + saved.num(5, size) + slices


HEADER = (b"", b"\x08\x01")
WHOLE = [HEADER, (b"b", tensor([3], 24, 12)), (b"w", tensor([2, 3], 0, 24))]


def part(start, length):
    """A row range's TensorSliceProto, and the key its bytes are under."""
    extent = saved.num(1, start) if start else b""
    proto = saved.msg(7, saved.msg(1, extent + saved.num(2, length)) +
                      saved.msg(1, b""))
    return proto, b"\0w\0\1\1\2" + bytes([128 + start, 128 + length, 128, 127])


FIRST, SECOND = part(0, 1), part(1, 1)
PARTS = [HEADER, (FIRST[1], tensor([1, 3], 12, 12)),
         (SECOND[1], tensor([1, 3], 0, 12)), (b"b", tensor([3], 24, 12)),
         (b"w", tensor([2, 3], 0, 0, slices=FIRST[0] + SECOND[0]))]
SHARDS = [(b"", b"\x08\x02"), (b"b", tensor([3], 0, 12, shard=1)),
          (b"w", tensor([2, 3], 0, 24))]


def stage(model, index=None, data=(FLOATS,), base=""):
    with tempfile.TemporaryDirectory() as top:
        repo, out = os.path.join(top, "repo"), os.path.join(top, "out")
        where = os.path.join(repo, base, "variables")
        os.makedirs(where)
        files = {"../saved_model.pb": model, "variables.index":
                 sst.table([WHOLE]) if index is None else index}
        for i, d in enumerate(data):
            files[f"variables.data-{i:05}-of-{len(data):05}"] = d
        for name, content in files.items():
            with open(os.path.join(where, name), "wb") as f:
                f.write(content)
        done = subprocess.run([STAGE_DIR, repo, "13", out], text=True,
                              capture_output=True, check=False)
        if done.returncode:
            return done.returncode, done.stderr.strip()
        name = os.path.join(base, "frozen/serving_default.pb") if base else \
            "tensorflow/model.pb"
        with open(os.path.join(out, name), "rb") as f:
            return 0, f.read()


def nodes(graph):
    """name -> (op, inputs, {attribute: AttrValue})"""
    out = {}
    for number, value in fields(graph):
        if number != 1:
            assert number == 2 or (number, value) == (4, saved.num(1, 1087))
            continue
        f = list(fields(value))
        name, op = (next(v for n, v in f if n == k).decode() for k in (1, 2))
        attrs = {dict(fields(v))[1].decode(): dict(fields(v))[2]
                 for n, v in f if n == 5}
        assert name not in out
        assert list(attrs) == sorted(attrs)
        out[name] = op, [v.decode() for n, v in f if n == 3], attrs
    return out


def content(node):
    assert node[0] == "Const"
    return dict(fields(dict(fields(node[2]["value"]))[8]))[4]


def good(name, **kw):
    code, data = stage(saved.FILES[name], **kw)
    assert not code, (name, data)
    return nodes(data)


def test_tf1():
    n = good("good-tf1")
    assert list(n) == ["x", "w", "y"], n
    assert n["y"][:2] == ("MatMul", ["x", "w"])
    assert n["y"][2] == {"T": b"\x30\x01", "transpose_a": b"\x28\x00",
                         "transpose_b": b"\x28\x00"}
    assert content(n["w"]) == FLOATS[:24]
    assert good("good-hub")["y"] == n["y"]


def check_tf2(n, w=FLOATS[:24]):
    assert n["call/mm"][1] == ["x", "call/read"], n
    assert n["call/read"][:2] == ("Identity", ["w"])
    assert n["call/top"][1] == ["call/add", "call/two"]
    # serve's second result is the first of TopKV2, by their names.
    assert n["y"][1] == ["call/top"], n["y"]
    assert content(n["w"]) == w
    assert content(n["bias"]) == FLOATS[24:]
    assert "load" not in n and "prefix" not in n


def test_tf2():
    check_tf2(good("good-tf2"))
    check_tf2(good("good-tf2", base="deep/er"))


def test_checkpoints():
    check_tf2(good("good-tf2", index=sst.table([WHOLE], pack=1)))
    check_tf2(good("good-tf2", index=sst.table([WHOLE[:1], WHOLE[1:]])))
    check_tf2(good("good-tf2", index=sst.table([SHARDS]),
                   data=(FLOATS[:24], FLOATS[24:])))
    check_tf2(good("good-tf2", index=sst.table([PARTS])),
              FLOATS[12:24] + FLOATS[:12])


def test_bad_checkpoints():
    for word, index in {
            "checksum": sst.table([WHOLE], crc=1),
            "no table": sst.table([WHOLE], magic=1),
            "order": sst.table([WHOLE[:1] + WHOLE[:0:-1]]),
            "header": sst.table([WHOLE[1:]]),
            "shape and type": sst.table([[HEADER, (b"w", tensor(
                [2, 3], 0, 20))]]),
            "outside": sst.table([[HEADER, (b"w", tensor([2, 3], 16, 24))]]),
            "of type": sst.table([[HEADER, WHOLE[1], (b"w", tensor(
                [2, 3], 0, 24, dtype=3))]]),
            "too large": sst.table([[HEADER, (b"w", tensor(
                [1 << 40, 1 << 40], 0, 24))]]),
            "a part of it": sst.table([PARTS[:1] + PARTS[2:]]),
            "is missing": sst.table([SHARDS])}.items():
        code, why = stage(saved.FILES["good-tf2"], index=index)
        assert code == 1 and word in why, (word, code, why)
    for word, index in {
            "big-endian": sst.table([[(b"", b"\x08\x01\x10\x01")]]),
            "compression": sst.table([WHOLE], pack=4),
            "parts that are not": sst.table([PARTS[:4] + [(b"w", tensor(
                [2, 3], 0, 0, slices=SECOND[0] + FIRST[0]))]])}.items():
        code, why = stage(saved.FILES["good-tf2"], index=index)
        assert code == 3 and word in why, (word, code, why)


def test_others():
    n = good("good-constant")
    want = dict(fields(dict(fields(next(
        v for k, v in fields(saved.floats("c", 20000)) if k == 5 and
        v.startswith(b"\n\x05value"))))[2]))[8]
    assert content(n["c"]) == dict(fields(want))[4]
    n = good("good-fed-inside")
    assert n["x"][:2] == ("Placeholder", []) and "gone" not in n
    n = good("good-default")
    assert n["y"][2]["alpha"] == b"\x25" + struct.pack("<f", 0.2)


def test_flow():
    n = good("good-while")
    ops = sorted(v[0] for v in n.values())
    assert ops == sorted(["AddV2", "Const", "Enter", "Exit", "Identity",
                          "Identity", "Less", "LoopCond", "Merge",
                          "NextIteration", "Placeholder", "Switch"]), ops
    assert n["y/Merge"][1] == ["y/Enter", "y/NextIteration"]
    assert n["y/Enter"][2]["frame_name"] == b"\x12\x01y"
    assert n["y/cond/limit"][1] == ["^y/pivot_0"]
    assert n["y/pivot_0"][1] == ["y/Merge"]
    assert n["y/NextIteration"][1] == ["y/body/n"]
    assert n["y/body/n"][1] == ["y/Switch_0:1"] * 2
    assert n["y"][:2] == ("Identity", ["y/Exit_0"])
    n = good("good-frame")
    assert n["m"][1] == ["e", "n"] and n["k"][1] == ["^m"], n
    assert n["n"][1] == ["a"] and n["y"][1] == ["s"]
    n = good("good-frame-function")
    assert n["y/m"][1] == ["y/e", "y/n"] and n["y/k"][1] == ["^y/m"], n
    assert n["y/a"][1] == ["y/s:1", "y/k"]
    n = good("good-if")
    assert n["y/Merge"][1] == ["y/Switch_0", "y/then/n"], n
    n = good("good-if-variable")
    assert n["y/Switch_1"][1] == ["w", "p"] and content(n["w"])
    assert n["y/then/r"][:2] == ("Identity", ["y/Switch_1:1"])
    n = good("good-case")
    assert len(n["y/Merge"][1]) == 3
    assert n["y/is_1"][1] == ["p", "y/index_1"]
    assert n["y/last_2"][:2] == ("LogicalNot", ["y/any_1"])


def functions(graph):
    """{name: (arguments, results, {name: node}, what is returned)}"""
    found = {}
    library = (v for k, v in fields(graph) if k == 2)
    for body in (v for lib in library for k, v in fields(lib) if k == 1):
        parts = list(fields(body))
        sign = list(fields(next(v for k, v in parts if k == 1)))
        name = next(v for k, v in sign if k == 1).decode()
        args, outs = ([(a[1].decode(), a[3]) for a in (
            dict(fields(v)) for k, v in sign if k == which)]
            for which in (2, 3))
        found[name] = (args, outs, nodes(b"".join(
            saved.msg(1, v) for k, v in parts if k == 3)), {
                r[1].decode(): r[2].decode() for r in (
                    dict(fields(v)) for k, v in parts if k == 4)})
    return found


def kept(name):
    os.environ["OMNIHUB_STAGE_FLOW"] = "functions"
    code, data = stage(saved.FILES[name])
    del os.environ["OMNIHUB_STAGE_FLOW"]
    assert not code, (name, data)
    return nodes(data), functions(data)


def test_functions():
    n, f = kept("good-while")
    assert n["y"][:2] == ("While", ["x"]) and set(n) == {"x", "y"}, n
    args, outs, inside, ret = f["more"]
    assert (args, outs) == ([("a", 1)], [("b", 1)]), (args, outs)
    assert inside["n"][1] == ["a", "a"] and ret == {"b": "n:z:0"}
    assert f["less"][1] == [("c", 10)]
    # A variable goes in as what it holds.
    n, f = kept("good-if-variable")
    call = next(v for v in n.values() if v[0] == "If")
    assert call[1] == ["p", "x", "w"] and content(n["w"]), call
    assert call[2]["Tin"] == b"\x0a\x04\x32\x02\x01\x01", call
    assert sorted(f) == ["read", "read_1"]
    args, outs, inside, ret = f["read_1"]
    assert args == [("a", 1), ("h", 1)]
    assert inside["r"][:2] == ("Identity", ["h"])
    assert inside["n"][1] == ["a", "r:output:0"]
    n, f = kept("good-case")
    assert sorted(f) == ["more", "more_1", "more_2"]
    # Calls in bodies are inlined.
    n, f = kept("good-while-call")
    args, outs, inside, ret = f["calls"]
    assert inside["f/m"][1] == ["f/e:output:0", "f/n:output:0"]
    assert inside["f/k"][1] == ["^f/m"] and ret == {"b": "f/o:output:0"}
    n = good("good-while-call")
    assert n["y/body/f/m"][1] == ["y/body/f/e", "y/body/f/n"]


def test_refusals():
    words = {"unsupported-train": "serve", "unsupported-table": "table",
             "unsupported-while-strings": "strings",
             "unsupported-while-variables": "nothing but variables",
             "bad-loop": "depends on itself", "bad-if": "y (If)",
             "bad-if-types": "inputs", "bad-while-gone": "not there",
             "bad-while-again": "deep", "bad-branches": "deep",
             "bad-frame": "node n", "bad-frame-cycle": "depends on itself",
             "bad-case-none": "branches",
             "unsupported-output": "second_thing",
             "unsupported-variable": "variable v",
             "unsupported-assign": "variable", "bad-empty": "empty",
             "bad-no-node": "node y", "bad-cut": "", "bad-type": "type",
             "bad-two-graphs": "two graphs", "bad-arguments": "arguments",
             "bad-itself": "deep", "bad-doubling": "large"}
    files = {**saved.FILES, "bad-doubling": saved.doubling(40)}
    for name, model in files.items():
        if name.startswith("good-"):
            continue
        code, why = stage(model)
        assert code == (3 if name.startswith("unsup") else 1), (name, why)
        assert words.pop(name) in why, (name, why)
    assert not words, words


if __name__ == "__main__":
    for key, test in list(globals().items()):
        if key.startswith("test_"):
            test()
            print("ok", key)
