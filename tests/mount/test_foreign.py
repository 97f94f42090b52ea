"""Other tools' caches through a mount, laid out by hand: what is right is read
with no content from the hub; what is in the way, wrong or changing never is,
and nothing waits for it. With the real clients: oracle/test_foreign_caches.py.
"""
import errno
import hashlib
import json
import os
import threading

import lib
from lib import check, equal, figure, raises, read

FILES = {n: lib.noise(n, 200000 + i) for i, n in enumerate((
    "good", "loose", "fifo", "link", "short", "wrong", "none"))}


def digest(name):
    """loose and what stands in for it have none: the size must do."""
    data = FILES[name]
    return "-" if name in ("loose", "link", "fifo") else \
        "md5:" + hashlib.md5(data).hexdigest()


def make(rig):
    """A Keras hub of our own files: its catalogue is the user's."""
    hub = rig.hub({}, hosts=("static",), files={
        f"storage/tensorflow/keras-applications/x/{n}.h5": d
        for n, d in FILES.items()})
    hub.ctl(set={"goog_md5": False})
    config = rig.dir("config")
    os.makedirs(os.path.join(config, "omnihub", "catalogues"))
    with open(os.path.join(config, "omnihub", "catalogues", "keras.tsv"), "w",
              encoding="ascii") as f:
        f.write("model\turl\tdigest\n")
        for n in FILES:
            f.write("X\thttps://storage.googleapis.com/tensorflow/"
                    f"keras-applications/x/{n}.h5\t{digest(n)}\n")
    return hub, config


def fill(home):
    top = os.path.join(home, "models")
    os.makedirs(top)
    for n in ("good", "loose", "short", "wrong"):
        data = FILES[n]
        if n == "short":
            data = data[:-1]
        if n == "wrong":
            data = data[:99999] + bytes([data[99999] ^ 1]) + data[100000:]
        with open(os.path.join(top, n + ".h5"), "wb") as f:
            f.write(data)
    os.mkfifo(os.path.join(top, "fifo.h5"))
    outside = os.path.join(home, "outside")
    with open(outside, "wb") as f:
        f.write(lib.noise("something else", len(FILES["link"])))
    os.symlink(outside, os.path.join(top, "link.h5"))
    return top


def run(rig):
    hub, config = make(rig)
    home = rig.dir("keras")
    top = fill(home)
    env = {"KERAS_HOME": home, "XDG_CONFIG_HOME": config}
    m = rig.mount(hub, env=env)

    def at(name):
        return m.path("keras/X", name + ".h5")

    hub.ctl(reset=True)
    for n in ("good", "loose"):
        equal(read(at(n)) == FILES[n], True, n)
    figure("content requests for what is there", hub.content(), "", 0)
    equal([lib.xattr(at(n), "state") for n in ("good", "loose")],
          ["verified", "cached"])
    for n in ("fifo", "link", "short", "wrong", "none"):
        before = hub.content()
        with lib.timed("read of " + n, 20):
            equal(read(at(n)) == FILES[n], True, n)
        check(hub.content() > before, n, "came from nowhere")

    out = json.loads(rig.run(lib.OMNIHUB, "cache", "adopt", "--json",
                             "--cache", m.cache, *m.args, **env))
    equal({r["path"]: r["state"] for r in out},
          {"good.h5": "verified", "loose.h5": "size", "short.h5": "differs",
           "wrong.h5": "differs"}, "adopt")

    # Without the network a digest tells how long the file must be; nothing
    # tells that of the other.
    m.stop()
    m = rig.mount(hub, "--offline", env=env)
    equal(os.stat(at("good")).st_size, len(FILES["good"]))
    equal(read(at("good")) == FILES["good"], True, "offline")
    for n in ("loose", "wrong", "none"):
        with raises(errno.EHOSTUNREACH):
            read(at(n))

    # Written to, cut and written anew while it is read: right or an error.
    m.stop()
    m = rig.mount(hub, env=env)
    stop = threading.Event()
    file = os.path.join(top, "good.h5")

    def meddle():
        while not stop.wait(0.01):
            with open(file, "r+b") as f:
                f.seek(1000)
                f.write(os.urandom(5000))
                f.truncate(100000)
            with open(file, "wb") as f:
                f.write(FILES["good"])

    t = threading.Thread(target=meddle)
    t.start()
    try:
        for _ in range(20):
            fd = os.open(at("good"), os.O_RDONLY)
            for off in range(0, len(FILES["good"]), 65536):
                got = os.pread(fd, 65536, off)
                equal(got == FILES["good"][off:off + 65536], True, off)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
    finally:
        stop.set()
        t.join()
    m.stop()


lib.main(run)
