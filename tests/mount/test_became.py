"""Hubs without revisions: a file has become another, while what is in it, or is
made of it, is open. Whoever reads has bytes of one version or an error."""
import errno
import io
import os
import zipfile

import lib
from lib import MIB, check, equal, raises, read, xattr
from static_files import Files, hdf5, mobilenet


class Store:
    """Files that become others."""

    def __init__(self, rig):
        self.rig, self.files, self.hub = rig, Files(), None

    def start(self):
        self.files.write(self.rig)
        self.hub = self.rig.hub({}, hosts=("static",), files=self.files.disk)

    def become(self, path, data):
        self.files.disk[path] = data
        self.hub.fill(self.files.disk)
        self.hub.ctl(reload=True)

    def mount(self, *args, **more):
        return self.rig.mount(self.hub, "--set", "fetch.retries=1",
                              *args, **more)


def refresh(m, place):
    os.getxattr(m.path(place), "user.omnihub.refresh")


H5 = "d/mobilenet_2_5_224_tf.h5"
NET = "keras/MobileNet/mobilenet_2_5_224_tf"


def decoded(store, two):
    """What is decoded for a staged file is of one version, and a refresh is
    enough for the next open to have the newest."""
    store.become("storage/" + H5, two[0])
    m = store.mount()
    made = m.path(NET + ".onnx")
    first = read(made)
    equal(xattr(made, "materialized"), "parts")
    m.stop()
    m = store.mount(cache=m.cache)
    made = m.path(NET + ".onnx")
    with open(made, "rb", buffering=0) as f:
        equal(os.pread(f.fileno(), 100, 0), first[:100])
        store.become("storage/" + H5, two[1])
        refresh(m, "keras")
        os.stat(m.path(NET + ".h5"))
        with raises(errno.EIO):
            os.pread(f.fileno(), 100, MIB)
        with open(made, "rb") as g:
            with raises(errno.EIO):
                os.pread(f.fileno(), 100, 3 * MIB // 2)
            second = g.read()
    equal(len(second), len(first))
    check(second != first, "the old one")
    store.become("storage/" + H5, two[0])
    refresh(m, "keras")
    check(read(made) == first, "not the newest")
    m.stop()


def materialized(store, two):
    """Who has read all of it while it was another does not make the object
    that it is read from."""
    store.become("storage/" + H5, two[0])
    m = store.mount("--set", "stage.materialize=always")
    made = m.path(NET + ".onnx")
    with open(made, "rb", buffering=0) as f:
        first = f.read()
        store.become("storage/" + H5, two[1])
        refresh(m, "keras")
        os.stat(m.path(NET + ".h5"))
        equal(len(read(made, 100)), 100)
    m.until_closed()
    second = read(made)
    check(second != first, "the old one")
    lib.until(lambda: xattr(made, "materialized") == "yes", 20, "an object")
    check(read(made) == second, "the old one as an object")
    m.stop()


STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
MAR = "mar_files/moving.mar"
PART = "mar_files/part.mar"


def packed(members):
    """A zip of {name: (data, how)}."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, (data, how) in members.items():
            z.writestr(name, data, how)
    return out.getvalue()


def listing(m, top):
    """{path: bytes}"""
    return {os.path.relpath(os.path.join(at, n), top):
            read(os.path.join(at, n))
            for at, _, names in os.walk(top) for n in names}


def inside(store, at):
    """What is in an archive is another directory when that is another
    archive; files of before are whole or fail."""
    big = [lib.noise(f"big{n}", 6 * MIB) for n in range(2)]
    small = [b"%d\n" % n * 2000 for n in range(3)]
    lists = [{"big": (big[0], STORED), "small": (small[0], DEFLATED),
              "old/gone": (b"gone", STORED), "was": (b"w" * 99, DEFLATED)},
             {"more": (big[1], STORED), "big": (big[1], STORED),
              "small": (small[1], DEFLATED)},
             {"small": (small[2], DEFLATED), "last": (b"", STORED)}]
    first = packed(lists[0])
    lists[2]["last"] = b"l" * (len(first) - len(packed(lists[2]))), STORED
    want = [{k: d for k, (d, _) in one.items()} for one in lists]
    store.become("torchserve/" + MAR, first)
    m = store.mount()
    top, place = m.path(at[:-4]), "pytorch/torchserve"
    equal(sorted(os.listdir(top)), ["big", "old", "small", "was"])
    was = os.path.join(top, "was")
    with open(os.path.join(top, "big"), "rb", buffering=0) as f, \
            open(os.path.join(top, "small"), "rb", buffering=0) as g:
        equal(os.pread(f.fileno(), 100, 0), big[0][:100])
        here = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
        store.become("torchserve/" + MAR, packed(lists[1]))
        refresh(m, place)
        equal(sorted(os.listdir(top)), ["big", "more", "small"])
        check(listing(m, top) == want[1], "the second")
        with raises(errno.EIO):
            os.pread(f.fileno(), 100, 4 * MIB)
        equal(g.read(), small[0], "an object of its own")
        # Who stands in the old one is not given what is in the new one.
        with raises(errno.EIO):
            os.open("was", os.O_RDONLY, dir_fd=here)
        with raises(errno.EIO):
            os.open("big", os.O_RDONLY, dir_fd=here)
        os.close(here)
        check(listing(m, top) == want[1], "the second again")
    with raises(errno.ENOENT):
        os.stat(was)
    m.until_closed()
    m.stop()
    m = store.mount(cache=m.cache)
    check(listing(m, m.path(at[:-4])) == want[1], "by the next mount")
    m.stop()
    # As long as the first, whose list must not come back.
    store.rig.run(lib.OMNIHUB, "cache", "gc", "--cache", m.cache, "1K")
    store.become("torchserve/" + MAR, packed(lists[2]))
    m = store.mount(cache=m.cache)
    top = m.path(at[:-4])
    refresh(m, place)
    check(listing(m, top) == want[2], "the third")
    m.stop()


def partly(store, at):
    """Of a file without a digest a part is in the cache when it becomes another
    of the same length, and it is opened again by another mount: it is not made
    of two."""
    two = [lib.noise(f"part{n}", 12 * MIB) for n in range(2)]
    store.become("torchserve/" + PART, two[0])
    m = store.mount()
    with open(m.path(at), "rb", buffering=0) as f:
        for off in (0, 5 * MIB, 2 * MIB):
            equal(os.pread(f.fileno(), 100, off), two[0][off:off + 100])
    m.stop()
    store.become("torchserve/" + PART, two[1])
    m = store.mount(cache=m.cache)
    here = int(xattr(m.path(at), "cached_bytes"))
    check(0 < here < 12 * MIB, here, "bytes of the first are here")
    try:
        got = read(m.path(at))
    except OSError as e:
        equal(e.errno, errno.EIO)
        got = read(m.path(at))
    check(got == two[1], "bytes of two versions")
    lib.until(lambda: xattr(m.path(at), "state") == "cached")
    m.until_closed()
    check(read(m.path(at)) == two[1], "the object")
    m.stop()


def killed(store, two, opened, before):
    """The server dies before or after it knew both versions: its successor
    keeps no pages of the first, and who has it open does not go on in the
    second. It is learnt by what is made of it."""
    store.become("storage/" + H5, two[0])
    m = store.mount("--set", "mount.passthrough=no")
    at = m.path(NET + ".h5")
    check(read(at) == two[0], "the first")
    lib.until(lambda: xattr(at, "state") == "verified")
    with open(at, "rb", buffering=0) as f:
        equal(os.pread(f.fileno(), 100, 0), two[0][:100])
        if opened:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            f.close()
            m.until_closed()
        if before:
            m.kill_server()
        store.become("storage/" + H5, two[1])
        refresh(m, "keras")
        equal(len(read(m.path(NET + ".onnx"), 100)), 100)
        if not before:
            m.kill_server()
        if opened:
            with raises(errno.EIO):
                os.pread(f.fileno(), 100, MIB)
        check(read(at) == two[1], "pages of the first", opened, before)
    m.stop()


def run(rig):
    store = Store(rig)
    store.files.add("keras", "MobileNet", H5, b"")
    mar = store.files.add("torchserve", "-", MAR, b"")
    part = store.files.add("torchserve", "-", PART, b"")
    store.start()
    partly(store, part)
    inside(store, mar)
    two = [mobilenet(seed, 4, kind=hdf5.Chunked) for seed in "ab"]
    equal(*map(len, two))
    decoded(store, two)
    two = [mobilenet(seed, 4) for seed in "ab"]
    materialized(store, two)
    for opened in (False, True):
        for before in (False, True):
            killed(store, two, opened, before)


lib.main(run, 75)
