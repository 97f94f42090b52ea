#!/usr/bin/env python3
"""Many at once: cold reads, stalled transfers, open handles. In full with the
word "all"; `make check` plays the small numbers."""
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "mount"))
import lib  # noqa: E402
from lib import MIB, check, equal, figure  # noqa: E402

ALL = "all" in sys.argv[1:]
LOAD = os.path.join(lib.BUILDDIR, "tests", "soak", "load")
READS = 10000 if ALL else 500
SIZE = (96 if ALL else 12) * MIB
STALLED = 1000 if ALL else 60
HANDLES = 100000 if ALL else 5000
PROCESSES = 10 if ALL else 1
MEMORY = 64             # MiB
CONNECTIONS = 16 * 16   # of silent ones LIMIT_BULK, LIMIT_LENT times over


# What is here, in one mount and another by turns: what the machine does meanwhile
# it does to both.
PROBE = """
import os, statistics, sys, time
def look(top):
    here = os.path.join(top, "huggingface/org/small/f0")
    start = time.monotonic()
    fd = os.open(here, os.O_RDONLY)
    assert os.pread(fd, 10, 0) == b"0"
    os.close(fd)
    os.stat(os.path.dirname(here))
    os.getxattr(here, "user.omnihub.state")
    os.listdir(os.path.join(top, ".omnihub"))
    return time.monotonic() - start
rows = [[look(top) for top in sys.argv[1:]] for _ in range(100)]
for took in zip(*rows):
    print(statistics.median(took), max(took))
"""


def watch(m, seen, stop):
    while not stop.wait(0.05):
        try:
            r = m.rss()
            seen.append((r["RssAnon"] / MIB, m.fds()))
        except (OSError, KeyError):
            pass


def held(m):
    """The server's descriptors: of files that are not whole, of connections,
    and others."""
    out = {"partial": 0, "socket": 0, "other": 0}
    top = f"/proc/{m.serving()}/fd"
    for n in os.listdir(top):
        try:
            to = os.readlink(os.path.join(top, n))
        except FileNotFoundError:
            continue        # closed meanwhile
        out["partial" if "/partial/" in to else
            "socket" if to.startswith("socket:") else "other"] += 1
    return out


class Watched:
    """The most memory and descriptors of the server while a block runs."""

    def __init__(self, m, what, fds=400):
        self.m, self.what, self.fds = m, what, fds
        self.seen = [(m.rss()["RssAnon"] / MIB, m.fds())]
        self.stop = threading.Event()

    def __enter__(self):
        self.t = threading.Thread(target=watch, args=(
            self.m, self.seen, self.stop))
        self.t.start()
        self.from_ = time.monotonic()

    def __exit__(self, kind, *rest):
        self.stop.set()
        self.t.join()
        if kind:
            return
        figure(self.what, time.monotonic() - self.from_, "s")
        if self.m.rig.sanitized:
            return
        figure("  memory at most", max(s[0] for s in self.seen), "MiB",
               MEMORY)
        figure("  descriptors at most", max(s[1] for s in self.seen), "",
               self.fds)


def reads(rig, hub):
    m = rig.mount(hub, "--set", "fetch.chunk=65536")
    with Watched(m, f"{READS} cold reads at once"):
        p = subprocess.run([LOAD, "reads", m.hf("org/many/w.bin"),
                            os.path.join(hub.root, "org/many/main/w.bin"),
                            str(READS)], capture_output=True, check=False)
    print("#", p.stdout.decode().strip(), p.stderr.decode().strip())
    if p.returncode != 77:
        equal(p.returncode, 0, "reads")
    m.stop()


def undisturbed(rig, m, calm):
    """What is here comes from one mount as it does from the other. Whatever
    else runs disturbs now the one, now the other: most of five times decide. By
    a process of its own: a thousand threads are slow in here."""
    fair = []
    while max(fair.count(True), fair.count(False)) < 3:
        said = rig.run(sys.executable, "-c", PROBE, m.at, calm.at).split()
        usual, worst, calm_usual, calm_worst = map(float, said)
        figure("  what is here, usually", 1000 * usual, "ms")
        figure("    without stalls", 1000 * calm_usual, "ms")
        figure("  what is here, at worst", worst, "s")
        figure("    without stalls", calm_worst, "s")
        fair.append(usual <= 3 * calm_usual and worst <= 1 + calm_worst)
    check(fair.count(True) == 3, "stalls hold up who needs nothing of them:",
          fair)


def stalled(rig, hub):
    """None of them may hold up a file that is here, or ls, or stat."""
    m, calm = rig.mount(hub), rig.mount(hub)
    for x in m, calm:
        equal(lib.read(x.hf("org/small/f0")), b"0")
        os.listdir(x.hf("org/stalls"))
    hub.spoil("stall", at=0, match="stalls")
    ended = []

    def one(i):
        try:
            with open(m.hf(f"org/stalls/f{i}"), "rb", buffering=0) as f:
                ended.append(os.pread(f.fileno(), 10, 0))
        except OSError as e:
            ended.append(e.errno)

    threading.stack_size(128 * 1024)
    # A file that is not whole has one, which holds the locks on what is being
    # fetched; the others are connections, and what the probe has open.
    idle, was = m.fds(), held(m)
    with Watched(m, f"{STALLED} stalled transfers",
                 idle + STALLED + min(STALLED, CONNECTIONS) + 4):
        threads = [threading.Thread(target=one, args=(i,), daemon=True)
                   for i in range(STALLED)]
        for t in threads:
            t.start()
        lib.until(lambda: held(m)["partial"] >= STALLED, 40, "all to be open")
        undisturbed(rig, m, calm)
        now = held(m)
        equal(now["partial"], STALLED, "descriptors of files")
        figure("  connections", now["socket"] - was["socket"], "",
               min(STALLED, CONNECTIONS))
        figure("  other descriptors", now["other"] - was["other"], "", 2)
        equal(ended, [], "reads that ended")
        hub.clear()
        m.kill()        # the readers get an error, at once
        for t in threads:
            t.join(20)
            check(not t.is_alive(), "a reader waits for ever")
        calm.stop()
    threading.stack_size(0)


def handles(rig, hub):
    m = rig.mount(hub)
    paths = [m.hf(f"org/stalls/f{i}") for i in range(50)] + [
        m.hf("org/many/w.bin")]
    for p in paths[:-1]:
        lib.read(p)
    before = m.rss()["RssAnon"] / MIB, m.fds()
    with Watched(m, f"{HANDLES} open handles"):
        procs = [subprocess.Popen(
            [LOAD, "opens", str(HANDLES // PROCESSES), *paths],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(PROCESSES)]
        said = [p.stdout.readline() for p in procs]
        if all(p.poll() == 77 for p in procs if not p.stdout.closed) and \
                not any(said):
            print("# not so many here")
            return
        equal(said, [b"ready\n"] * PROCESSES, "opens")
        equal([p.stdout.readline() for p in procs], [b"read\n"] * PROCESSES)
        if ALL:
            m.kill_server()     # and the next one serves them all
            equal(lib.read(paths[0], 5), lib.noise("s0", 9000)[:5])
        for p in procs:
            p.stdin.close()
        equal([p.wait() for p in procs], [0] * PROCESSES, "closes")
    lib.until(lambda: m.fds() <= before[1] + 8, 20, "descriptors to go back")
    if not rig.sanitized:
        figure("  memory more afterwards",
               m.rss()["RssAnon"] / MIB - before[0], "MiB", 16)
    m.stop()


def run(rig):
    hub = rig.hub({
        "org/many": {"main": {"w.bin": lib.noise("many", SIZE)}},
        "org/small": {"main": {"f0": b"0"}},
        "org/stalls": {"main": {f"f{i}": lib.noise(f"s{i}", 9000)
                                for i in range(max(STALLED, 50))}}})
    handles(rig, hub)
    reads(rig, hub)
    stalled(rig, hub)


lib.main(run, 600 if ALL else 60)
