"""Static hubs tell a length before there are bytes: a wrong one is believed until
bytes contradict it, and then asked for again."""
import errno
import io
import os
import subprocess
import sys
import zipfile

import lib
from lib import MIB, SRCDIR, check, equal, raises, read, xattr

sys.path.insert(0, os.path.join(SRCDIR, "contrib", "demo"))
import static as demo  # noqa: E402
from static_files import Files, heads, mobilenet, named  # noqa: E402


def make(files):
    p = {}
    for hub in ("torchvision", "keras", "torchserve"):
        data = lib.noise(hub + "large", 3 * MIB)
        path, digest = f"d/large.{hub}", "-"
        if hub == "torchvision":
            path, digest = named("large", data)
        model = "-" if hub == "torchserve" else "net"
        p[hub] = files.add(hub, model, path, data, digest)
    return p


def at_each_open(rig, hub, files, p):
    """A length that HEAD tells wrong is believed until bytes contradict it,
    and then asked for again: at each open, once, until it is right."""
    for name, do in (("keras", "length"), ("torchvision", "extra"),
                     ("torchserve", "length")):
        for by in (10, -10, 200000) if do == "length" else (10,):
            lies(rig, hub, files, p[name], do, by)


def lies(rig, hub, files, at, do, by):
    want, n = files.data[at], at.rpartition("/")[2]
    hub.ctl(reset=True)
    hub.spoil(do, by=by, content=False, match=f"HEAD.*{n}")
    m = rig.mount(hub, "--set", "fetch.retries=1")
    equal(os.stat(m.path(at)).st_size, len(want) + by, at)
    for asked in (1, 2, 3):
        with raises(errno.EIO):
            read(m.path(at))
        equal(heads(hub).count("HEAD"), asked, at)
        words = f"has {len(want)} bytes there; the hub had said " \
            f"{len(want) + by}"
        check(words in xattr(m.path(at), "error"),
              xattr(m.path(at), "error"))
    equal(os.stat(m.path(at)).st_size, len(want) + by, "it is still said")
    with raises(errno.EIO):
        read(m.path(at))
    hub.clear()
    hub.ctl(reset=True)
    # Nobody has to say that it is to be asked for again.
    equal(os.stat(m.path(at)).st_size, len(want), at)
    equal(read(m.path(at)) == want, True, at)
    equal(heads(hub).count("HEAD"), 1, at)
    equal(os.stat(m.path(at)).st_size, len(want), at)
    m.stop()
    equal(os.listdir(os.path.join(m.cache, "partial")), [], "left over")
    hub.ctl(reset=True)
    m = rig.mount(hub, "--offline", cache=m.cache)
    equal(read(m.path(at)) == want, True, "offline")
    m.stop()


def first_of_two(rig, hub, files, at):
    """What one process learns the next one knows; and open() alone asks, of
    who has looked at nothing since the contradiction."""
    want, n = files.data[at], at.rpartition("/")[2]
    hub.spoil("length", by=-10, content=False, match=f"HEAD.*{n}")
    m = rig.mount(hub, "--set", "fetch.retries=1")
    with open(m.path(at), "rb", buffering=0) as f:
        with raises(errno.EIO):
            f.read(100)
        hub.clear()
        hub.ctl(reset=True)
        with open(m.path(at), "rb") as g:
            # The kernel has one size and one set of pages for both.
            with raises(errno.EIO):
                os.pread(f.fileno(), 100, len(want) - 50000)
            equal(g.read() == want, True, "opened again")
    equal(heads(hub).count("HEAD"), 1, "of two opens")
    m.stop()
    cache = rig.dir("cache")
    hub.spoil("length", by=10, content=False, match=f"HEAD.*{n}")
    for says in ("bytes there", ""):
        got = subprocess.run(
            [lib.OMNIHUB, "get", "--cache", cache, *m.args, at],
            env=rig.env(), capture_output=True, text=True, check=False)
        equal(got.returncode, int(bool(says)), got.stderr)
        check(says in got.stderr, got.stderr)
        hub.clear()


def of_one_length(rig, hub, files, at):
    """Another file lies there by now, as long as the one of before, which is
    open: its digest tells, and bytes of two are never mixed."""
    old, path = files.data[at], "storage/d/twin.keras"
    new = lib.noise("the other", len(old))
    m = rig.mount(hub, "--set", "fetch.retries=1")
    with open(m.path(at), "rb", buffering=0) as f:
        equal(f.read(100), old[:100])
        files.data[at] = files.disk[path] = new
        hub.fill(files.disk)
        hub.ctl(reload=True)
        with raises(errno.EIO):
            os.pread(f.fileno(), 100, len(old) - 50000)
        with open(m.path(at), "rb") as g:
            # What it has would be in the pages that both are read from.
            with raises(errno.EIO):
                os.pread(f.fileno(), 100, 0)
            equal(g.read() == new, True, "opened again")
    m.stop()


def made_of_one_length(rig, hub, files):
    """What is made of such a file is as long, too."""
    path = "d/mobilenet_1_0_224_tf.h5"
    at = files.add("keras", "MobileNet", path, mobilenet("a"))
    hub.fill(files.disk)
    files.write(rig)
    hub.ctl(reload=True)
    m = rig.mount(hub, "--set", "fetch.retries=1", "--set",
                  "stage.materialize=never")
    made = m.path(at[:-3] + ".onnx")
    with open(made, "rb", buffering=0) as f:
        size = os.stat(made).st_size
        equal(len(os.pread(f.fileno(), 100, 1 << 16)), 100)
        files.data[at] = files.disk["storage/" + path] = mobilenet("b")
        hub.fill(files.disk)
        hub.ctl(reload=True)
        with raises(errno.EIO):
            os.pread(f.fileno(), 100, size // 2)
        with open(made, "rb") as g:
            with raises(errno.EIO):
                os.pread(f.fileno(), 100, 1 << 16)
            second = g.read()
    m.stop()
    m = rig.mount(hub)
    check(read(m.path(at[:-3] + ".onnx")) == second, "bytes of two")
    m.stop()


def made_of_lies(rig, hub, files):
    """What is made of such a file, and what is in it."""
    nets = [demo.resnet18(c).torch_zip() for c in ((64, 64, 128, 240),
                                                   (64, 64, 128, 256))]
    at = files.add("torchvision", "resnet18", "models/resnet18-moving.pth",
                   nets[0])
    mar = io.BytesIO()
    with zipfile.ZipFile(mar, "w") as z:
        z.writestr("stored.txt", b"stored\n" * 100)
        z.writestr("deflated.txt", b"deflated\n" * 100, zipfile.ZIP_DEFLATED)
    arc = files.add("torchserve", "-", "mar_files/lied.mar", mar.getvalue())
    hub.fill(files.disk)
    files.write(rig)
    for by in (10, -10):
        hub.ctl(reload=True, reset=True)
        m = rig.mount(hub, "--set", "fetch.retries=1")
        made = m.path(at[:-4] + ".onnx")
        inside = m.path(arc[:-4])
        hub.spoil("length", by=by, content=False, match="HEAD")
        for _ in range(2):
            with raises(errno.EIO):
                read(made)
            with raises(errno.EIO):
                os.listdir(inside)
        hub.clear()
        first = read(made)
        equal(os.stat(made).st_size, len(first))
        equal(read(inside + "/stored.txt"), b"stored\n" * 100)
        equal(read(inside + "/deflated.txt"), b"deflated\n" * 100)
        m.stop()
    # The file of which it was made becomes another, while it is open.
    m = rig.mount(hub, "--set", "fetch.retries=1", "--set",
                  "stage.materialize=never")
    made = m.path(at[:-4] + ".onnx")
    with open(made, "rb", buffering=0) as f:
        equal(os.stat(made).st_size, len(first))
        equal(f.read(100), first[:100])
        files.data[at] = files.disk["torchvision/models/resnet18-moving"
                                    ".pth"] = nets[1]
        hub.fill(files.disk)
        hub.ctl(reload=True)
        with raises(errno.EIO):
            os.pread(f.fileno(), 100, len(first) // 2)
        with open(made, "rb") as g:
            second = g.read()
        equal(os.stat(made).st_size, len(second))
        check(len(second) > len(first), "not made of the new one")
        at_end = os.pread(f.fileno(), 100, len(second) - 100)
        check(at_end in (b"", second[-100:]), "bytes of two")
    m.stop()
    m = rig.mount(hub)
    equal(read(m.path(at[:-4] + ".onnx")) == second, True, "by another one")
    m.stop()


def run(rig):
    files = Files()
    p = make(files)
    twin = files.add("keras", "net", "d/twin.keras",
                     lib.noise("twin", 12 * MIB))
    files.write(rig)
    hub = rig.hub({}, hosts=("static",), files=files.disk)
    at_each_open(rig, hub, files, p)
    first_of_two(rig, hub, files, p["keras"])
    of_one_length(rig, hub, files, twin)
    made_of_one_length(rig, hub, files)
    made_of_lies(rig, hub, files)


lib.main(run, 75)
