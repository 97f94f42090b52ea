#!/usr/bin/env python3
"""Every kind of torch checkpoint, good and bad, through the reader.

The name is the assertion: what is called good- is read and compared tensor by
tensor, bad- is EBADMSG, unsupported- is ENOTSUP
(which Linux calls EOPNOTSUPP), large- is EFBIG.
"""
import collections
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checkpoints import (Call, ELEMENT, FROM_TYPE, REBUILD, SIZE,  # noqa: E402
                         SUBCLASS, Storage, Tensor, Zip, contents, dump, fake,
                         members, torch_legacy, torch_zip)

PROGRAM = os.path.join(os.environ.get("BUILDDIR", "."),
                       "tests/unit/stage-tensors")
ANSWER = {"bad": "EBADMSG", "unsupported": "EOPNOTSUPP", "large": "EFBIG"}
F = collections.OrderedDict


def line(name, t):
    dims = ",".join(str(d) for d in t.shape)
    return (f"{name} {ELEMENT[t.kind][0]} [{dims}] "
            f"{hashlib.sha256(t.bytes).hexdigest()}")


def lines(tensors):
    """What the program prints for {name: Tensor}."""
    return [line(k, v) for k, v in sorted(
        tensors.items(), key=lambda kv: kv[0].encode())]


def plain():
    """A model of every element type, with a scalar and an empty tensor."""
    model = F((f"layer.{k}", Tensor(k, [3, 4])) for k in ELEMENT)
    model["num_batches_tracked"] = Tensor("Long", [])
    model["nothing"] = Tensor("Float", [0, 5])
    model["gewicht.größe"] = Tensor("Float", [2, 1, 7])
    return model


def shared():
    """Tied weights, and views that are row-major slices of one storage."""
    s = Storage("Float", contents(4 * 60, 5))
    return {"tied": Tensor("Float", [6, 10], storage=s),
            "again": Tensor("Float", [6, 10], storage=s),
            "rows": Tensor("Float", [2, 10], storage=s, offset=20),
            # Dimensions of one element may have any stride.
            "ones": Tensor("Float", [1, 10, 1], storage=s, offset=50,
                           stride=[999, 1, 77])}


def with_metadata(model):
    class Ordered(collections.OrderedDict):
        def __reduce__(self):
            return (collections.OrderedDict, (), {"_metadata": F(
                [("", {"version": 1})])}, None, iter(self.items()))
    return Ordered(model)


GOOD = {}           # name: (bytes, {tensor name: Tensor})
REFUSED = {}        # name: bytes


def good_files():
    for protocol in (1, 2, 3, 4, 5):
        m = plain()
        GOOD[f"good-protocol{protocol}.pth"] = (
            torch_zip(m, protocol=protocol), m)
        if protocol < 2:
            continue
        GOOD[f"good-legacy{protocol}.pth"] = (
            torch_legacy(m, protocol=protocol), m)
    m = plain()
    GOOD["good-metadata.bin"] = (torch_zip(with_metadata(m)), m)
    for name, wrap in {
            "state_dict": lambda m: {"epoch": 3, "state_dict": m,
                                     "optimizer": {"state": {0: {
                                         "exp_avg": Tensor("Float", [2])}}}},
            "model": lambda m: {"model": {"state_dict": m}, "args": None},
            "params": lambda m: {"params": m},
            "any": lambda m: {"some.word": m, "iteration": 17},
    }.items():
        GOOD[f"good-in-{name}.pth"] = (torch_zip(wrap(m)), m)
    m = shared()
    GOOD["good-shared.pth"] = (torch_zip(m), m)
    GOOD["good-shared-legacy.pth"] = (torch_legacy(m), m)
    t = Tensor("Float", [4, 5])
    GOOD["good-parameters.pth"] = (torch_zip({
        "a": Call(REBUILD["parameter"], t, True, F()),
        "b": Call(FROM_TYPE, t.function, SUBCLASS, t.args, {}),
        "c": t, "note": "words", "n": 5, "_extra_state": None,
        "odd": Call(SUBCLASS, 1)}), {"a": t, "b": t, "c": t})
    GOOD["good-old-rebuild.pth"] = (torch_zip({"a": Tensor(
        "Float", [2], how="tensor")}), {"a": Tensor("Float", [2])})
    v3 = Tensor("Half", [3, 2])
    typed = Call(REBUILD["tensor_v3"], Storage("Untyped", v3.bytes), 0,
                 (3, 2), (2, 1), False, F(), fake("torch", "float16"))
    GOOD["good-untyped.pth"] = (torch_zip({"a": typed}), {"a": v3})
    size = Tensor("Float", [2, 2])
    GOOD["good-size-object.pth"] = (torch_zip({"a": Call(
        REBUILD["tensor_v2"], size.storage, 0, Call(SIZE, (2, 2)),
        Call(SIZE, (2, 1)), False, F())}), {"a": size})


def good_containers():
    m = shared()
    GOOD["good-unaligned.pth"] = (torch_zip(m, z=Zip(align=0)), m)
    GOOD["good-no-descriptor.pth"] = (torch_zip(m, z=Zip(
        descriptor=False)), m)
    GOOD["good-other-alignment.pth"] = (torch_zip(m, z=Zip(align=8)), m)
    GOOD["good-no-zip64.pth"] = (torch_zip_with(m, zip64=False), m)
    GOOD["good-comment.pth"] = (torch_zip_with(m, comment=b"PK\5\6" * 50), m)
    GOOD["good-no-byteorder.pth"] = (torch_zip(m, order=None), m)
    z = members(m, z=Zip(align=256)).add("archive/.storage_alignment", b"256")
    GOOD["good-named-alignment.pth"] = (z.end(), m)
    many = F((f"l.{i}", Tensor("Float", [i % 7 + 1])) for i in range(2500))
    GOOD["good-many.pth"] = (torch_zip(many), many)
    GOOD["good-many-legacy.pth"] = (torch_legacy(many), many)
    # A view of a storage, as the first legacy files had them.
    whole = contents(80, 3)
    part = Tensor("Float", [5], storage=Storage("Float", whole[20:40]))
    view = Storage("Float", whole, key="k", view=("v", 5, 5))
    GOOD["good-legacy-view.pth"] = (torch_legacy({"a": Call(
        REBUILD["tensor"], view, 0, (5,), (1,))}), {"a": part})


def torch_zip_with(value, **attributes):
    z = members(value)
    for k, v in attributes.items():
        setattr(z, k, v)
    return z.end()


def rebuilt(*args, how="tensor_v2"):
    return {"a": Call(REBUILD[how], *args)}


def refused_tensors():
    s = Storage("Float", contents(48, 1))
    for name, call in {
            "bad-outside": (s, 8, (2, 4), (4, 1), False, F()),
            "bad-offset": (s, 1 << 62, (1,), (1,), False, F()),
            "bad-negative": (s, -1, (2,), (1,), False, F()),
            "bad-overflow": (s, 0, (1 << 32, 1 << 32), (1 << 32, 1), False,
                             F()),
            "bad-rank": (s, 0, (2, 2), (1,), False, F()),
            "bad-shape": (s, 0, "four", (1,), False, F()),
            "bad-storage": (7, 0, (1,), (1,), False, F()),
            "bad-nothing": (),
            "unsupported-transposed": (s, 0, (3, 4), (1, 3), False, F()),
            "unsupported-strided": (s, 0, (6,), (2,), False, F()),
            "unsupported-expanded": (s, 0, (4, 3), (0, 1), False, F()),
            "large-rank": (s, 0, (1,) * 9, (1,) * 9, False, F()),
    }.items():
        REFUSED[name + ".pth"] = torch_zip(rebuilt(*call))
    for how in ("qtensor", "sparse_tensor", "meta_tensor_no_storage"):
        REFUSED[f"unsupported-{how}.pth"] = torch_zip(rebuilt(
            s, 0, (2,), (1,), how=how))
    REFUSED["unsupported-quantized.pth"] = torch_zip(
        {"a": Tensor("QInt8", [3])})
    REFUSED["bad-no-storage.pth"] = Zip().add("x/data.pkl", dump(
        {"a": Tensor("Float", [2])})).end()
    z = Zip().add("x/data.pkl", dump({"a": Tensor("Float", [2])}))
    REFUSED["bad-storage-short.pth"] = z.add("x/data/0", b"1234567").end()
    REFUSED["unsupported-compressed.pth"] = Zip().add("x/data.pkl", dump(
        {"a": Tensor("Float", [2])})).add("x/data/0", b"12", 8,
                                          size=8).end()
    REFUSED["bad-name.pth"] = torch_zip({"": Tensor("Float", [2])})
    REFUSED["bad-parameter.pth"] = torch_zip(
        {"a": Call(REBUILD["parameter"], 5, True, F())})
    REFUSED["unsupported-number-key.pth"] = torch_zip(
        {"a": Tensor("Float", [2]), 3: Tensor("Float", [2])})
    REFUSED["unsupported-two-models.pth"] = torch_zip(
        {"generator": {"a": Tensor("Float", [2])},
         "critic": {"a": Tensor("Float", [2])}})
    REFUSED["unsupported-no-tensors.pth"] = torch_zip({"a": 1})
    REFUSED["unsupported-number.pth"] = torch_zip(5)
    REFUSED["unsupported-module.pth"] = torch_zip(Call(
        SUBCLASS, state={"_parameters": {"w": Tensor("Float", [2])}}))
    REFUSED["unsupported-big-endian.pth"] = torch_zip(plain(), order="big")
    REFUSED["unsupported-script.pth"] = members(plain()).add(
        "archive/constants.pkl", dump(())).end()


def refused_pickles():
    def data(pkl):
        return Zip().add("x/data.pkl", pkl).end()
    deep = []
    for _ in range(3000):
        deep = [deep]
    loop = {}
    loop["model"] = loop["a"] = loop
    sys.setrecursionlimit(40000)
    for name, pkl in {
            "bad-empty": b"", "bad-no-stop": b"\x80\2}",
            "bad-stack": b"\x80\2R.", "bad-no-mark": b"\x80\2t.",
            "bad-memo": b"\x80\2h\5.", "bad-odd": b"\x80\2}(K\1u.",
            "bad-long-string": b"\x80\2X\xff\xff\xff\x7fabc.",
            "bad-memo-index": b"\x80\2Nr\xff\xff\xff\x7f.",
            "bad-items": b"\x80\2K\1(K\1K\2u.",
            "unsupported-opcode": b"\x80\2\xfe.",
            "unsupported-extension": b"\x80\2\x82\1.",
            "large-marks": b"\x80\2" + b"(" * 2000,
            "unsupported-deep": dump(deep),
            "unsupported-loop": dump(loop),
            "unsupported-system": b"cos\nsystem\n(S'echo no'\ntR.",
    }.items():
        REFUSED[name + ".pth"] = data(pkl)
    # Dictionaries that hold the same dictionary a thousand times, and that
    # one the next.
    wide = {f"k{i}": i for i in range(3000)}
    for _ in range(3):
        wide = {f"k{i}": wide for i in range(3000)}
    REFUSED["large-wide.pth"] = data(dump(wide))


def refused_archives():
    m = plain()
    whole = torch_zip(m)
    for n in (3, 21, 22, 100, len(whole) // 2, len(whole) - 1):
        REFUSED[f"bad-cut-{n}.pth"] = whole[:n] if n > 3 else b"PK\3\4"
    for name, attributes in {
            "bad-count-high": {"count": 99}, "bad-count-low": {"count": 3},
            "bad-count-huge": {"count": 300000},
            "large-count": {"count": 1 << 40},
            "bad-dir-off": {"dir_off": 1 << 50},
            "bad-dir-len": {"dir_len": 46},
            "bad-dir-huge": {"dir_len": 1 << 40, "dir_off": 0},
            "bad-garbage": {"extra_entry": b"junk"}}.items():
        REFUSED[name + ".pth"] = torch_zip_with(m, **attributes)
    REFUSED["bad-twice.pth"] = members(m).add("archive/data/0", b"x").end()
    REFUSED["bad-two-roots.pth"] = members(m).add("other/data.pkl",
                                                  b"N.").end()
    REFUSED["bad-local-name.pth"] = Zip().add(
        "x/data.pkl", dump(m), local_name="x/data.pkx").end()
    z = members(m)
    z.members[2] = z.members[2][:3] + (10 ** 6, 10 ** 6) + z.members[2][5:]
    REFUSED["bad-overlap.pth"] = z.end()
    z = members(m)
    z.members[2] = z.members[2][:5] + (1 << 31,)
    REFUSED["bad-header-off.pth"] = z.end()
    z = members(m)
    z.members[2] = z.members[2][:3] + (5, 6) + z.members[2][5:]
    REFUSED["bad-stored-sizes.pth"] = z.end()
    z = members(m)
    z.members[0] = (b"archive\0data.pkl",) + z.members[0][1:]
    REFUSED["bad-name-nul.pth"] = z.end()
    REFUSED["unsupported-zip.pth"] = Zip().add("readme", b"hello").end()
    REFUSED["unsupported-format.pth"] = b"GGUF" + bytes(100)
    REFUSED["bad-hdf5.pth"] = b"\x89HDF\r\n\x1a\n" + bytes(100)
    REFUSED["unsupported-nothing.pth"] = b""


def refused_legacy():
    m = plain()
    whole = torch_legacy(m)
    for n in (40, 300, len(whole) - 1):
        REFUSED[f"bad-legacy-cut-{n}.pth"] = whole[:n]
    REFUSED["bad-legacy-tail.pth"] = torch_legacy(m, tail=b"x")
    REFUSED["bad-legacy-keys.pth"] = torch_legacy(m, keys=["0", "0"])
    REFUSED["bad-legacy-unknown-key.pth"] = torch_legacy(m, keys=["zz"])
    REFUSED["unsupported-legacy-big.pth"] = torch_legacy(m, little=False)
    REFUSED["unsupported-legacy-version.pth"] = torch_legacy(m, version=1002)
    REFUSED["bad-legacy-huge.pth"] = torch_legacy({"a": Tensor(
        "Float", [2], storage=Storage("Float", bytes(8), numel=1 << 61))})
    REFUSED["bad-legacy-view.pth"] = torch_legacy({"a": Call(
        REBUILD["tensor"], Storage("Float", bytes(80), view=("v", 18, 5)), 0,
        (5,), (1,))})


def run(*args, text=""):
    p = subprocess.run([PROGRAM, *args], input=text, text=True, timeout=60,
                       stdout=subprocess.PIPE)
    if p.returncode not in (0, 1):
        sys.exit(f"{args}: exit {p.returncode}\n{p.stdout}")
    return p.returncode, p.stdout.splitlines()


def check_files(top):
    wrong = 0
    for name, data in {**{k: v[0] for k, v in GOOD.items()},
                       **REFUSED}.items():
        path = os.path.join(top, name)
        with open(path, "wb") as f:
            f.write(data)
        code, out = run(path)
        if name in GOOD:
            ok = code == 0 and out == lines(GOOD[name][1])
        else:
            ok = code == 1 and len(out) == 1 and \
                out[0].split()[0] == ANSWER[name.split("-")[0]]
        if not ok:
            wrong += 1
            print(f"{name}: exit {code}\n" + "\n".join(out[:5]))
    return wrong


# ---- sharded ---------------------------------------------------------------

def safetensors(model):
    header, data = {}, b""
    for name, t in model.items():
        header[name] = {"dtype": {"f32": "F32", "i64": "I64"}[
            ELEMENT[t.kind][0]], "shape": t.shape,
            "data_offsets": [len(data), len(data) + len(t.bytes)]}
        data += t.bytes
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def check_sharded(top):
    a = {"emb.weight": Tensor("Float", [5, 4]), "n": Tensor("Long", [1])}
    b = {"out.weight": Tensor("Float", [4, 3])}
    both = lines({**a, **b})
    wrong = 0
    for name, write, ending in (("st", safetensors, "safetensors"),
                                ("pt", torch_zip, "bin")):
        shards = [f"m-{i}-of-2.{ending}" for i in (1, 2)]
        for shard, model in zip(shards, (a, b)):
            with open(os.path.join(top, name, shard), "wb") as f:
                f.write(write(model))
        rel = [f"{name}/{s}" for s in shards]
        right = {**{k: shards[0] for k in a}, **{k: shards[1] for k in b}}
        for what, weights, there, answer in (
                ("good", right, rel, both),
                ("good-unnamed", {"n": shards[0], "out.weight": shards[1]},
                 rel, both),
                ("bad-other-shard", {**right, "n": shards[1]}, rel,
                 "EBADMSG"),
                ("bad-unknown", {**right, "zz": shards[1]}, rel, "EBADMSG"),
                ("bad-path", {**right, "n": "../" + shards[0]}, rel,
                 "EBADMSG"),
                ("bad-number", {**right, "n": 5}, rel, "EBADMSG"),
                ("bad-none", {}, rel, "EBADMSG"),
                ("missing", right, rel[:1], "ENOENT")):
            index = f"{name}/{what}.index.json"
            with open(os.path.join(top, index), "w") as f:
                json.dump({"metadata": {}, "weight_map": weights}, f)
            code, out = run(top, index, text="\n".join(there + [index]))
            if out != answer and out[0].split()[0] != answer:
                wrong += 1
                print(index, code, out)
    return wrong


def main():
    for make in (good_files, good_containers, refused_tensors,
                 refused_pickles, refused_archives, refused_legacy):
        make()
    with tempfile.TemporaryDirectory() as top:
        os.mkdir(os.path.join(top, "st"))
        os.mkdir(os.path.join(top, "pt"))
        wrong = check_files(top) + check_sharded(top)
    print(f"{len(GOOD)} good, {len(REFUSED)} refused, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
