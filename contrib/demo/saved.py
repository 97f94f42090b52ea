"""A SavedModel of the demo, x / 2 + 2, written field by field; and the mirrors
of Kaggle and TensorFlow Hub that hold it (fetch/README.md says what a mirror
needs). Deterministic."""
import gzip
import io
import struct
import tarfile

from wire import field, masked, varint

OWNER, MODEL, FRAMEWORK, VARIATION = "demo", "half-plus-two", "tensorFlow2", \
    "default"
DATE = "2024-01-01T00:00:00.000Z"
FLOAT = 1


def entry(number, key, value):
    return field(number, field(1, key) + field(2, value))


def node(name, op, inputs=(), **attrs):
    return field(1, field(1, name) + field(2, op) +
                 b"".join(field(3, i) for i in inputs) +
                 b"".join(entry(5, k, v) for k, v in sorted(attrs.items())))


SHAPE = field(2, field(1, (1 << 64) - 1))       # [-1]
TYPE = field(6, FLOAT)


def const(name, value):
    tensor = field(1, FLOAT) + field(2, b"") + \
        field(4, struct.pack("<f", value))
    return node(name, "Const", dtype=TYPE, value=field(8, tensor))


def saved_model():
    graph = node("x", "Placeholder", dtype=TYPE, shape=field(7, SHAPE)) + \
        const("half", 0.5) + const("two", 2.0) + \
        node("scaled", "Mul", ("x", "half"), T=TYPE) + \
        node("y", "AddV2", ("scaled", "two"), T=TYPE) + \
        field(4, field(1, 1087))
    signature = b"".join(
        entry(n, name,
              field(1, name + ":0") + field(2, FLOAT) + field(3, SHAPE))
        for n, name in ((1, "x"), (2, "y"))) + \
        field(3, "tensorflow/serving/predict")
    return field(1, 1) + field(2, field(1, field(4, "serve")) +
                               field(2, graph) +
                               entry(5, "serving_default", signature))


def index():
    """variables.index of no variable: a table of one row, the bundle's
    header (key "", num_shards 1)."""
    table, handles = b"", []

    def block(rows):
        nonlocal table
        data = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v
                        for k, v in rows) + struct.pack("<II", 0, 1)
        handles.append(varint(len(table)) + varint(len(data)))
        table += data + b"\0" + struct.pack("<I", masked(data + b"\0"))

    block([(b"", field(1, 1))])
    block([])
    block([(b"", handles[0])])
    footer = handles[1] + handles[2]
    return table + footer + bytes(40 - len(footer)) + \
        struct.pack("<Q", 0xDB4775248B80FB57)


FILES = {"saved_model.pb": saved_model(),
         "variables/variables.index": index(),
         "variables/variables.data-00000-of-00001": b"",
         "assets/words.txt": b"half\nplus\ntwo\n"}


def archive():
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as t:
        for name, data in sorted(FILES.items()):
            i = tarfile.TarInfo("./" + name)
            i.size, i.mtime = len(data), 1704067200
            t.addfile(i, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def mirrors():
    """(path below the demo's directory, bytes or what JSON it is)"""
    name = f"{OWNER}/{MODEL}/{FRAMEWORK}/{VARIATION}"
    api = "kaggle/api/v1/models/"
    instance = {"id": 1, "slug": VARIATION, "framework":
                "MODEL_FRAMEWORK_TENSOR_FLOW_2", "versionNumber": 1}
    yield api + "list", {"models": [
        {"id": 1, "ref": f"{OWNER}/{MODEL}", "slug": MODEL, "title": MODEL}]}
    yield f"{api}{OWNER}/{MODEL}/list", {"instances": [instance]}
    yield f"{api}{name}/get", instance
    yield f"{api}{name}/list", {"versionList": {"versions": [
        {"id": 1, "versionNumber": 1, "variationSlug": VARIATION}]}}
    yield f"{api}{name}/1/files", {"files": [
        {"name": n, "size": len(d), "creationDate": DATE}
        for n, d in sorted(FILES.items())]}
    for n, d in FILES.items():
        yield f"{api}{name}/1/download/{n}", d
    yield f"{api}{name}/1/download/index.json", archive()
    led = {"location": f"/models/{name}/1"}
    yield f"tfhub/{OWNER}/{MODEL}/index.json", led
    yield f"tfhub/{OWNER}/{MODEL}/1", led
