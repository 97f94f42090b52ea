"""Models of Keras in a repository: a graph beside the file, its weights the
very bytes of it, and the reason where there is none."""
import errno
import io
import os
import subprocess
import zipfile

import lib
from lib import BUILDDIR, check, equal, raises, read, xattr

MAKE = os.path.join(BUILDDIR, "tests/unit/test-stage-keras")


def made(top):
    """model.h5 as the unit test writes it."""
    subprocess.run([MAKE, top], check=True)
    with open(os.path.join(top, "model.h5"), "rb") as f:
        return f.read()


def packed(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as z:
        for name, data in members.items():
            z.writestr(name.replace("__", "."), data)
    return out.getvalue()


def run(rig):
    h5 = made(rig.dir("made"))
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
