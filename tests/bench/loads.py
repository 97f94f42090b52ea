"""What is measured. A load gets a program and says how long it took, in a dict:
seconds, bytes, often each (of every read), sent and requests (of the hub).

`far` loads are run over every line, the others only where the network is no part
of the answer. A load is skipped for a program it has no meaning for (None).
"""
import os
import subprocess
import time

import mirror
import peers

PIECE = 4096
RANDOM = 100


def big(p):
    return p.path("big", mirror.BIG)


def settle(p):
    """The name is known; what is measured is the bytes."""
    os.stat(big(p))
    p.hub.traffic()


def start(p, line):
    p.fresh(line)
    if p.name == "native":
        p.io("drop", big(p))
    elif p.mounts:
        settle(p)
    p.hub.traffic()


def head(n):
    def load(p, line):
        start(p, line)
        if not p.mounts:
            return p.head(n) if hasattr(p, "head") else None
        return p.io("head", big(p), n)
    return load


def first_touch(p, line):
    """Nothing is known of the repository yet."""
    if not p.mounts or p.name == "native":
        return None
    p.fresh(line)
    p.hub.traffic()
    t = time.monotonic()
    r = p.io("head", big(p), PIECE)
    r["seconds"] = time.monotonic() - t
    return r


def cold(p, line):
    start(p, line)
    if not p.mounts:
        return p.get()
    return p.io("seq", big(p))


def eight(p, line):
    start(p, line)
    if p.name == "curl N":
        return p.get(connections=8)
    return p.io("threads", big(p), 8) if p.mounts else None


def rand(p, line):
    start(p, line)
    if not p.mounts:
        r = p.rand(RANDOM, 7) if hasattr(p, "rand") else None
    else:
        r = p.io("rand", big(p), RANDOM, 7)
    if r:
        p.stop()                # what is under way counts
        r["requests"], r["sent"] = p.hub.traffic()
        r["each"].sort()
        r["seconds"] = r["each"][len(r["each"]) // 2]
    return r


def mmap_order(p, line):
    start(p, line)
    if not p.mounts:
        return None
    text = "".join(f"{a} {n}\n" for a, n in p.hub.content.ranges)
    return p.io("ranges", big(p), stdin=text.encode())


# ---- when the bytes are here -------------------------------------------------

def pages(p, path):
    """Its pages are there, and came to be alike for every program: those that
    a download has written may lie otherwise than those that a read made."""
    p.io("drop", path, *p.cached())
    p.io("seq", path)


def warm_up(p, line):
    """The whole file is in the cache; one cache serves all warm loads."""
    if not p.mounts:
        return False
    if getattr(p, "warm", None) != line:
        p.fresh(line)
        p.io("seq", big(p))
        p.again()
        p.io("seq", big(p))
        # A virtual disk reads what was just written several times slower
        # than from then on, and not every program writes in every round.
        pages(p, big(p))
        p.warm = line
    return True


def warm(what, disk, *args):
    def load(p, line):
        if not warm_up(p, line):
            return None
        if disk:
            p.again()
            os.stat(big(p))
            if p.cached():      # last, so that nobody pauses after it
                p.io("drop", *p.cached())
        else:
            pages(p, big(p))
        r = p.io(what, big(p), *args)
        if r.get("each"):
            r["seconds"] = sum(r.pop("each"))
        return r
    return load


def remount(p, line):
    if p.name == "native" or not warm_up(p, line):
        return None
    p.stop()
    t = time.monotonic()
    p.start()
    r = p.io("head", big(p), PIECE)
    r["seconds"] = time.monotonic() - t
    return r


# ---- many names ----------------------------------------------------------------

def ls(n):
    def load(p, line):
        if not p.mounts or p.name == "hf-mount" or n not in \
                p.hub.content.many:
            return None
        p.fresh(line)
        p.hub.traffic()
        t = time.monotonic()
        try:
            out = subprocess.run(["ls", "-lU", p.path(f"ls{n}")],
                                 stdout=subprocess.PIPE, check=True,
                                 timeout=peers.LIMIT).stdout
        except subprocess.TimeoutExpired as e:
            raise peers.TooLong(f"over {peers.LIMIT} s") from e
        seconds = time.monotonic() - t
        lines = out.count(b"\n") - 1
        if lines != n:
            raise peers.Failed(f"{lines} names instead of {n}")
        p.stop()
        requests, sent = p.hub.traffic()
        return {"seconds": seconds, "names": lines, "requests": requests,
                "sent": sent}
    return load


def small(p, line):
    if p.name == "hf-mount":
        return None
    start_small(p, line)
    if not p.mounts:
        return p.small() if hasattr(p, "small") else None
    return p.io("small", p.path("small"), p.hub.content.small)


def start_small(p, line):
    p.fresh(line)
    if p.mounts:
        os.stat(p.path("small"))


def small_again(p, line):
    if not p.mounts or p.name == "hf-mount":
        return None
    start_small(p, line)
    p.io("small", p.path("small"), p.hub.content.small)
    return p.io("small", p.path("small"), p.hub.content.small)


# ---- staged --------------------------------------------------------------------

def staged(p):
    return p.path("big", "pytorch", "model.onnx")


def is_ours(p):
    return isinstance(p, peers.OmniHub)


def staged_cold(p, line):
    if not is_ours(p):
        return None
    p.fresh(line)
    os.stat(staged(p))
    return p.io("seq", staged(p))


def gathered(p, line):
    """Its sources are here, and nobody has read it before."""
    if not is_ours(p):
        return None
    p.warm = None
    warm_up(p, line)
    os.stat(staged(p))
    return p.io("seq", staged(p))


def staged_warm(p, line):
    """It was read again and again, so it is a file of its own in the cache,
    where the kernel could read that itself."""
    if not is_ours(p) or not warm_up(p, line):
        return None
    for _ in range(10):
        if not p.objects or \
                mirror.lib.xattr(staged(p), "materialized") == "yes":
            break
        p.io("seq", staged(p))
        p.again()
    else:
        raise peers.Failed("the staged file does not become an object")
    pages(p, staged(p))
    return p.io("seq", staged(p))


def plan(p, line):
    """The first stat of a staged file in a repository that is known."""
    if not is_ours(p):
        return None
    p.fresh(line)
    os.stat(big(p))
    time.sleep(0.02)
    p.hub.traffic()
    t = time.monotonic()
    os.stat(staged(p))
    seconds = time.monotonic() - t
    p.stop()
    requests, sent = p.hub.traffic()
    return {"seconds": seconds, "requests": requests, "sent": sent}


def plan_again(p, line):
    """The same after a remount: the plan is kept."""
    if not is_ours(p):
        return None
    p.fresh(line)
    os.stat(staged(p))
    p.again()
    t = time.monotonic()
    os.stat(staged(p))
    return {"seconds": time.monotonic() - t}


class Load:
    def __init__(self, key, words, run, unit, far=False):
        self.key, self.words, self.run = key, words, run
        self.unit, self.far = unit, far     # "ms" or "MB/s"
        # What the local file system may be compared with.
        self.local = not far or key.startswith("ls")


ALL = [
    Load("touch", "nothing known: first 4 KiB", first_touch, "ms", True),
    Load("head4k", "open + first 4 KiB", head(PIECE), "ms", True),
    Load("head1m", "open + first MiB", head(mirror.MIB), "ms", True),
    Load("cold", "cold sequential", cold, "MB/s", True),
    Load("eight", "8 disjoint readers, cold", eight, "MB/s", True),
    Load("rand100", "100 random 4 KiB, cold: median", rand, "ms", True),
    Load("order", "mmap in safetensors order, cold", mmap_order, "MB/s",
         True),
    Load("disk", "warm disk, sequential", warm("seq", True), "MB/s"),
    Load("diskmap", "warm disk, mmap", warm("mmap", True), "MB/s"),
    Load("disk4k", "warm disk, random 4 KiB", warm("rand", True, 500, 3),
         "MB/s"),
    Load("pages", "warm pages, sequential", warm("seq", False), "MB/s"),
    Load("pagesmap", "warm pages, mmap", warm("mmap", False), "MB/s"),
    Load("pages4k", "warm pages, random 4 KiB",
         warm("rand", False, 50000, 3), "MB/s"),
    Load("remount", "remount to first 4 KiB", remount, "ms"),
    Load("ls1000", "ls -l of 1,000 files", ls(1000), "ms", True),
    Load("ls100000", "ls -l of 100,000 files", ls(100000), "ms"),
    Load("small", "10,000 files of 1 KiB, cold", small, "ms"),
    Load("small2", "10,000 files of 1 KiB, again", small_again, "ms"),
    Load("staged", "staged ONNX, cold sequential", staged_cold, "MB/s",
         True),
    Load("gathered", "staged ONNX, of sources that are here", gathered,
         "MB/s"),
    Load("stagedwarm", "staged ONNX, warm pages", staged_warm,
         "MB/s"),
    Load("plan", "planning: first stat of staged ONNX", plan, "ms", True),
    Load("plan2", "the same after a remount", plan_again, "ms"),
]
