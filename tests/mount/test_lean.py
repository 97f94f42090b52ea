"""What the program needs: memory, descriptors, time to be ready."""
import contextlib
import os
import resource

import lib
from lib import MIB, check, equal, figure, models, read

BIG = 2 << 30
BIG_UNDER_SANITIZER = 256 << 20
STEP = 1 << 20
MANY = 50


def make_big(path):
    """2 GiB of mostly holes, with a mark at each 64 MiB."""
    with open(path, "wb") as f:
        f.truncate(BIG)
        for off in range(0, BIG, 64 * MIB):
            f.seek(off)
            f.write(b"mark %d" % off)


def memory(rig, hub):
    """Serve 2 GiB. The cache holds it sparse, so the disk is not filled."""
    m = rig.mount(hub)
    size = BIG_UNDER_SANITIZER if rig.sanitized else BIG
    with open(m.hf("org/big/weights.bin"), "rb", buffering=0) as f:
        equal(os.fstat(f.fileno()).st_size, BIG)
        peak, off = 0, 0
        while off < size:
            block = os.pread(f.fileno(), STEP, off)
            equal(len(block), STEP, f"at {off}")
            if off % (64 * MIB) == 0:
                want = b"mark %d" % off
                equal(block[:len(want)], want, f"at {off}")
                r = m.rss()
                peak = max(peak, r["RssAnon"])
            off += STEP
    top = m.rss()["VmHWM"]
    if rig.sanitized:
        return
    figure("resident, own pages", peak / MIB, "MiB", 64)
    figure("resident at most, with pages of cache files", top / MIB, "MiB", 64)
    m.stop()


def opens(rig, hub):
    m = rig.mount(hub)
    paths = [m.hf("org/small", n) for n in
             ("config.json", "model.safetensors", "pytorch/model.onnx")]
    for p in paths:
        read(p)

    def some(n):
        for i in range(n):
            path = paths[i % 3]
            fd = os.open(path, os.O_RDONLY)
            os.pread(fd, 100, i)
            os.close(fd)
            if i % 10 == 0:
                os.stat(path)
                os.listdir(m.hf("org/small"))
                os.getxattr(path, "user.omnihub.state")
                try:
                    os.stat(m.hf(f"org/small/none{i}"))
                except FileNotFoundError:
                    pass

    some(1000)
    m.until_closed()
    fds, rss = m.fds(), m.rss()["RssAnon"]
    with lib.timed("10,000 opens"):
        some(10000)
    m.until_closed()
    grown = m.rss()["RssAnon"] - rss
    figure("descriptors more after 10,000 opens", m.fds() - fds, "", 4)
    if not rig.sanitized:
        figure("memory more after 10,000 opens", grown / 1024, "KiB", 2048)
    m.stop()


def many(rig, hub):
    """More files open at once than the soft limit of descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (96, hard))
    m = rig.mount(hub)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with contextlib.ExitStack() as stack:
        for i in range(MANY):
            f = stack.enter_context(
                open(m.hf(f"org/many/{i}.bin"), "rb", buffering=0))
            equal(os.pread(f.fileno(), 8, 0), b"%08d" % i, i)
    m.stop()


def ready(rig, hub):
    """From exec to an answer. The bound is generous, the figure is not."""
    cache = rig.dir("cache")
    best = 9.0
    for _ in range(5):
        m = rig.mount(hub, cache=cache)
        best = min(best, m.ready)
        m.stop()
    figure("ready (best of 5)", best * 1000, "ms", 2000)


def run(rig):
    small = models.minilm("org/small")
    hub = rig.hub({"org/big": {"main": {"weights.bin": make_big}},
                   "org/small": {"main": small},
                   "org/many": {"main": {
                       f"{i}.bin": b"%08d" % i + bytes(4 * MIB)
                       for i in range(MANY)}}})
    many(rig, hub)
    ready(rig, hub)
    opens(rig, hub)
    memory(rig, hub)
    check(hub.proc.poll() is None, "the hub ended")


# Two GiB are sent, hashed and read: minutes where a core is shared.
lib.main(run, 170)
