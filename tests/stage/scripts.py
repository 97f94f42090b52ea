"""Archives as torch writes them, of the standard library alone: the pickle of
a module M with a weight w, a bias b and a number n, its code, its storages."""
import json
import struct
import zipfile

W = [((i * 7) % 11 - 5) / 8 for i in range(108)]
B = [0.5, -1.0, 0.25, 2.0]


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


def number(n):
    return b"J" + struct.pack("<i", n)


def numbers(*v):
    return b"(" + b"".join(number(n) for n in v) + b"t"


def tensor(key, dims, count, strides=None):
    row = [1]
    for d in reversed(dims[1:]):
        row.insert(0, row[0] * d)
    return (b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") +
            b"ctorch\nFloatStorage\n" + text(key) + text("cpu") +
            number(count) + b"tQ" + number(0) + numbers(*dims) +
            numbers(*(strides or row)) + b"\x89}tR")


def module(extra=b"", cls=b"__torch__.m\nM\n", w=None):
    return (b"\x80\x02c" + cls + b")\x81}(" + text("w") +
            (w or tensor("0", (4, 3, 3, 3), 108)) + text("b") +
            tensor("1", (4,), 4) + text("n") + number(2) +
            text("training") + b"\x89" + extra + b"ub.")


def floats(v):
    return struct.pack(f"<{len(v)}f", *v)


def write(path, members, deflate=(".py", ".json")):
    with zipfile.ZipFile(path, "w") as z:
        for name, data in members.items():
            z.writestr(name, data, zipfile.ZIP_DEFLATED if name.endswith(
                deflate) else zipfile.ZIP_STORED)


def script(code, data=None, root="m"):
    return {f"{root}/data.pkl": data or module(),
            f"{root}/code/__torch__/m.py": code,
            f"{root}/constants.pkl": b"\x80\x02).",
            f"{root}/data/0": floats(W), f"{root}/data/1": floats(B),
            f"{root}/byteorder": b"little", f"{root}/version": b"3\n"}


def export(program, weight="weight_0"):
    meta = {"dtype": 7, "sizes": [{"as_int": d} for d in (4, 3, 3, 3)],
            "strides": [{"as_int": d} for d in (27, 9, 3, 1)],
            "storage_offset": {"as_int": 0}}
    config = {"config": {"w": {"path_name": weight, "use_pickle": False,
                               "tensor_meta": meta}}}
    return {"m/archive_format": b"pt2", "m/models/model.json": program,
            "m/data/weights/model_weights_config.json": json.dumps(config),
            "m/data/weights/weight_0": floats(W), "m/byteorder": b"little"}


def damaged(path, at, data):
    """Writes data over what is `at` bytes behind the first local header of a
    .py member."""
    with open(path, "r+b") as f:
        whole = f.read()
        f.seek(whole.index(b"m.py") + at)
        f.write(data)

