"""Models of Keras in a repository: a graph beside the file, its weights the
very bytes of it, or decoded once where they are packed, and the reason where
there is none."""
import errno
import io
import json
import os
import struct
import subprocess
import zipfile

import lib
from lib import BUILDDIR, check, equal, raises, read, xattr

MAKE = os.path.join(BUILDDIR, "tests/unit/test-stage-keras")


KERNEL = struct.pack("<6f", *range(1, 7))

LAYERS = [
    {"class_name": "InputLayer", "module": "keras.layers",
     "config": {"name": "x", "batch_shape": [None, 2], "dtype": "float32"}},
    {"class_name": "Dense", "module": "keras.layers",
     "config": {"name": "d", "dtype": "float32", "units": 3,
                "activation": "relu", "use_bias": True}}]
CONFIG = json.dumps({"class_name": "Sequential", "module": "keras",
                     "config": {"name": "s", "layers": LAYERS}}).encode()
METADATA = json.dumps({"keras_version": "3.4.1"}).encode()


def made(top):
    """{name: bytes} of what the unit test writes."""
    subprocess.run([MAKE, top], check=True)
    files = {}
    for name in os.listdir(top):
        with open(os.path.join(top, name), "rb") as f:
            files[name] = f.read()
    return files


def packed(how=zipfile.ZIP_STORED, **members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as z:
        for name, data in members.items():
            z.writestr(name.replace("__", "."), data)
    return out.getvalue()


def model(how, weights):
    return packed(how, metadata__json=METADATA, config__json=CONFIG,
                  model__weights__h5=weights)


def objects(m):
    return {os.path.join(base, f) for base, _, files
            in os.walk(os.path.join(m.cache, "objects")) for f in files}


def decoded(rig, hub):
    """Weights in chunks and members that are deflated: the size before they
    are decoded, the same weights, what says so, and once is enough."""
    m = rig.mount(hub)
    for name, source, word in (
            ("model", "model.h5", "no"), ("chunks", "chunks.h5", "parts"),
            ("stored", "stored.keras", "no"),
            ("inner", "inner.keras", "parts"),
            ("deflated", "deflated.keras", "parts"),
            ("both", "both.keras", "parts")):
        at = m.hf("org/p", name + ".onnx")
        size = os.stat(at).st_size
        equal(xattr(at, "materialized"), word, name)
        data = read(at)
        equal(len(data), size, name)
        check(KERNEL in data, name, "the weights")
        equal(xattr(at, "sources"), source, name)
        if word == "parts":
            check(read(m.hf("org/p", name + "_fp16.onnx")), name)
    with raises(errno.ENOTSUP):
        read(m.hf("org/p/foreign.onnx"))
    check("32000" in xattr(m.hf("org/p/foreign.onnx"), "error"))
    with raises(errno.EIO):
        read(m.hf("org/p/cut.onnx"))
    errors = read(m.path(".omnihub", "errors")).decode()
    check("cut short" in errors, errors)
    m.stop()
    # Not before: what has been read may yet be on its way to the disk.
    before = objects(m)
    m = rig.mount(hub, cache=m.cache)
    want = read(m.hf("org/p/both.onnx"))
    equal(objects(m), before, "decoded again")
    m.stop()
    # What had to go is made again.
    for o in before:
        with open(o, "rb") as f:
            if KERNEL in f.read():
                os.unlink(o)
    m = rig.mount(hub, cache=m.cache)
    equal(read(m.hf("org/p/both.onnx")), want, "made again")
    m.stop()


def told(rig, hub):
    """omnihub info of the models themselves."""
    m = rig.mount(hub)

    def info(name):
        out = rig.run("omnihub", "info", "--json", "--cache", m.cache, "--set",
                      "huggingface.endpoint=" + hub.url, m.hf("org/p", name))
        return json.loads(out).get("model")

    for name in ("model.h5", "chunks.h5", "stored.keras", "inner.keras"):
        got = info(name)
        equal(got["format"], "Keras", name)
        new = name.endswith(".keras")
        equal(got["layers"], {"InputLayer": 1, "Dense": 1} if new else
              {"Dense": 1}, name)
        equal(got["inputs"], [{"name": "x" if new else "input",
                               "type": "float32", "shape": [None, 2]}], name)
        equal((got["tensors"], got["parameters"]), (2, 9), name)
    equal(info("deflated.keras"), None, "members that are compressed")
    equal(info("plain.weights.h5")["format"], "checkpoint")
    equal(info("config.keras"), None, "no model")
    m.stop()


def run(rig):
    files = made(rig.dir("made"))
    h5 = files["model.h5"]
    stored, deflated = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
    plain, chunks = (files[k + ".weights.h5"] for k in ("plain", "chunks"))
    hub = rig.hub({"org/p": {"main": {
        **{k: files[k] for k in ("model.h5", "chunks.h5", "foreign.h5",
                                 "cut.h5")},
        "stored.keras": model(stored, plain),
        "inner.keras": model(stored, chunks),
        "deflated.keras": model(deflated, plain),
        "both.keras": model(deflated, chunks),
        "plain.weights.h5": plain,
        "config.keras": packed(config__json=CONFIG)}}})
    decoded(rig, hub)
    told(rig, hub)
    originals(rig, h5)


def originals(rig, h5):
    hub = rig.hub({"org/k": {"main": {
        "model.h5": h5, "sub/weights.h5": h5.replace(
            b"model_config", b"model_nonsense"[:12]),
        "other.keras": packed(config__json=b"{}"),
        "a.weights.h5": h5, "broken.h5": h5[:700] + b"\0" * 900}}})
    m = rig.mount(hub)
    names = os.listdir(m.hf("org/k"))
    for name in ("model.onnx", "other.onnx", "broken.onnx"):
        check(name in names, names)
    check("a.weights.onnx" not in names, names)
    at = m.hf("org/k/model.onnx")
    data = read(at)
    equal(os.stat(at).st_size, len(data))
    check(h5[h5.index(b"\0\0\x80\x3f"):][:24] in data, "the weights")
    equal(xattr(at, "sources"), "model.h5")
    info = rig.run("omnihub", "info", "--cache", m.cache, at)
    for word in ("Relu", "batch_size"):
        check(word in info, info)
    for name in ("other.onnx", "sub/weights.onnx"):
        with raises(errno.ENOTSUP):
            read(m.hf("org/k", name))
    with raises(errno.EIO, errno.ENOTSUP):
        read(m.hf("org/k/broken.onnx"))


lib.main(run)
