"""What cache.verify hands out before the digest was compared, and what the
attributes say meanwhile."""
import errno
import os
import threading
import time

import lib
from lib import MIB, check, equal, raises, xattr

SIZE = 12 * MIB
REPO = "org/large"
FAST = ("--set", "fetch.retries=1")


class Reader(threading.Thread):
    """The first 4 KiB, on a thread of its own."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.got = path, None
        self.start()

    def run(self):
        try:
            self.got = lib.read(self.path, 4096)
        except OSError as e:
            self.got = e.errno


def state(path):
    return xattr(path, "state"), int(xattr(path, "cached_bytes"))


def verified(path, data):
    equal(state(path), ("verified", SIZE))
    equal(xattr(path, "sha256"), lib.hashlib.sha256(data).hexdigest())


def right_bytes(rig, hub, data, how):
    """The hub stops before the end: who may read the beginning?"""
    m = rig.mount(hub, *FAST, "--set", "cache.verify=" + how)
    path = m.hf(REPO, "w.bin")
    equal(state(path), ("remote", 0))
    # However it is asked for: nothing behind the fifth MiB comes.
    hub.ctl(add=[{"do": "stall", "at": 0, "from": 2 * MIB, "match": "w.bin"},
                 {"do": "stall", "at": 3 * MIB, "content": True,
                  "match": "w.bin"}])
    first = Reader(path)
    if how == "complete":
        first.join(30)
        check(first.got == data[:4096], "the beginning", first.got)
        lib.until(lambda: state(path)[1] > 0, 30, "the end of a chunk")
    else:
        # Sent and kept, but not handed out.
        whole = threading.Thread(target=lambda: lib.read(path), daemon=True)
        whole.start()
        lib.until(lambda: state(path)[1] > 0, 30, "bytes on the disk")
        first.join(1)
        equal(first.got, None, "bytes that nobody compared")
    s, here = state(path)
    equal(s, "partial")
    check(0 < here < SIZE, here)
    hub.clear()
    first.join(30)
    check(first.got == data[:4096], "the beginning", first.got)
    check(lib.read(path) == data, "the whole")
    lib.until(lambda: state(path)[0] == "verified", 10, "the verdict")
    verified(path, data)
    m.stop()


def wrong_bytes(rig, hub, data, how):
    """The last byte is wrong, each time it is sent."""
    m = rig.mount(hub, *FAST, "--set", "cache.verify=" + how)
    path = m.hf(REPO, "w.bin")
    hub.spoil("flip", offset=SIZE - 5, match="w.bin")
    fd = os.open(path, os.O_RDONLY)
    if how == "complete":
        check(os.pread(fd, 4096, 0) == data[:4096], "the beginning")
        # The kernel may cut one read short before it tells of the error.
        with raises(errno.EIO):
            at = 0
            while at < SIZE:
                at += len(os.pread(fd, MIB, at))
        # Who may have seen it is told so, whatever is read, once the kernel
        # has dropped its pages.
        lib.until(lambda: fails(fd), 10, "the handle to fail")
    else:
        with raises(errno.EIO):
            os.pread(fd, 4096, 0)
    os.close(fd)
    s, _ = state(path)
    check(s in ("remote", "partial"), s)
    check("sha256" in xattr(path, "error"), xattr(path, "error"))
    hub.clear()
    # The refusal is remembered for a while; the file is not lost.
    lib.until(lambda: reads(path, data), 30, "the right bytes")
    check(lib.read(path) == data, "the whole")
    lib.until(lambda: state(path)[0] == "verified", 10, "the verdict")
    verified(path, data)
    m.stop()


def fails(fd):
    try:
        os.pread(fd, 4096, 0)
    except OSError as e:
        equal(e.errno, errno.EIO)
        return True
    return False


def reads(path, data):
    try:
        return lib.read(path, 4096) == data[:4096]
    except OSError:
        time.sleep(0.5)
        return False


def run(rig):
    data = lib.noise("verify", SIZE)
    hub = rig.hub({REPO: {"main": {"w.bin": data}}})
    for how in ("complete", "before-read"):
        right_bytes(rig, hub, data, how)
        wrong_bytes(rig, hub, data, how)


lib.main(run, 120)
