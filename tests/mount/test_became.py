"""Hubs without revisions: a file has become another, while what is in it, or is
made of it, is open. Whoever reads has bytes of one version or an error."""
import errno
import os

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


def run(rig):
    store = Store(rig)
    store.files.add("keras", "MobileNet", H5, b"")
    store.start()
    two = [mobilenet(seed, 4, kind=hdf5.Chunked) for seed in "ab"]
    equal(*map(len, two))
    decoded(store, two)
    two = [mobilenet(seed, 4) for seed in "ab"]
    materialized(store, two)


lib.main(run, 75)
