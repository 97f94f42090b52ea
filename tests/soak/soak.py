#!/usr/bin/env python3
"""A week in minutes: two daemons and ten runs of omnihub on one small cache,
random reads, evictions, refreshes, moved branches, faults of the hub, and
kill -9 of everything. No byte is ever wrong, the budget is never exceeded, no
process grows, and at the end the cache is as it should be.

    soak.py [SECONDS] [SEED]
"""
import contextlib
import errno
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "mount"))
import lib  # noqa: E402
from lib import MIB, check, equal, figure  # noqa: E402

WARM = 300          # reads of each mount, in at most …
GROWING = 60        # … so many seconds
SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 180
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else os.getpid()
BUDGET = 24 * MIB
RUNS = 10               # of omnihub at once
MEMORY = 64             # MiB
# What a reader may be told instead of bytes.
FAIR = {errno.ENOSPC, errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH,
        errno.EINTR, errno.ENOENT}
FAULTS = [dict(do="status", code=503, times=2),
          dict(do="cut", at=50000, times=2),
          dict(do="reset", at=30000, times=1), dict(do="drip", rate=MIB),
          # of a file that nothing is given out of before its verdict
          dict(do="flip", offset=70000, times=1, match="org/r[012]/"),
          dict(do="status", code=429, times=1)]
SIZES = [100, 9000, 70000, 300000, MIB, 3 * MIB, 5 * MIB, 9 * MIB]
HUGE = 30 * MIB         # more than the budget


class Soak:
    def __init__(self, rig):
        self.rig, self.rnd = rig, random.Random(SEED)
        self.files = {f"org/r{i}/d/w{j}.bin": lib.noise(f"{i}/{j}", SIZES[
            (i + j) % len(SIZES)] + 7 * i) for i in range(6)
            for j in range(4)}
        self.files["org/huge/w.bin"] = lib.noise("huge", HUGE)
        repos = {}
        for path, data in self.files.items():
            repo, inner = "/".join(path.split("/")[:2]), "/".join(
                path.split("/")[2:])
            repos.setdefault(repo, {"main": {}})["main"][inner] = data
        self.moves, self.served = 0, [0, 0]
        repos["org/moves"] = {"at-0": {"x/y.bin": self.moved(0)}}
        self.hub = rig.hub(repos, {"org/moves": {"refs": {"main": "at-0"}}})
        self.cache = rig.dir("cache")
        self.ends = time.monotonic() + SECONDS + GROWING
        self.calm = time.monotonic() + SECONDS * 2 / 3
        self.wrong, self.counts = [], {}
        self.lock = threading.Lock()
        self.most = {"du": 0, "used": 0, "rss": 0}

    @staticmethod
    def moved(n):
        return b"%08d" % n * 5000

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def going(self):
        return time.monotonic() < self.ends and not self.wrong

    def stormy(self):
        return time.monotonic() < self.calm and not self.wrong

    def fail(self, *what):
        self.wrong.append(" ".join(map(str, what)))

    # ---- what goes on ------------------------------------------------------------

    def read_one(self, rnd, m):
        path = rnd.choice(list(self.files))
        data = self.files[path]
        with open(m.hf(path), "rb", buffering=0) as f:
            for _ in range(rnd.choice((1, 1, 5))):
                off = rnd.choice((0, rnd.randrange(len(data))))
                size = rnd.choice((10, 4096, 200000, len(data)))
                while size > 0 and off < len(data):
                    got = os.pread(f.fileno(), min(size, MIB), off)
                    if not got or got != data[off:off + len(got)]:
                        self.fail(path, "has wrong bytes at", off, len(got))
                        return
                    off += len(got)
                    size -= len(got)
        self.count("reads")

    def read_moving(self, m):
        with open(m.hf("org/moves/x/y.bin"), "rb", buffering=0) as f:
            got = f.read()
        n = int(got[:8] or b"-1")
        if got != self.moved(n) or n > self.moves:
            self.fail("a moving file is of no revision:", got[:20], len(got))
        self.count("reads of what moves")

    def reader(self, k):
        rnd = random.Random(SEED * 100 + k)
        while self.going():
            m = self.mounts[k % 2]
            try:
                if rnd.random() < 0.1:
                    self.read_moving(m)
                else:
                    self.read_one(rnd, m)
                self.served[k % 2] += 1
            except OSError as e:
                self.count(errno.errorcode[e.errno])
                if e.errno not in FAIR:
                    self.fail("a reader got", e)

    def runner(self, k):
        rnd = random.Random(SEED * 1000 + k)
        keys = []
        for key, url in {**lib.NOWHERE, **self.hub.endpoints,
                         "cache.dir": self.cache, "fetch.retries": 2,
                         "cache.size": BUDGET}.items():
            keys += ["--set", f"{key}={url}"]
        while self.going():
            file = "huggingface/" + rnd.choice(list(self.files))
            words = rnd.choice((["get", file], ["get", file], ["info", file],
                                ["cache", "gc"], ["cache", "verify"],
                                ["cache", "gc", "12M"], ["cache", "stat"],
                                ["ls", "--refresh", "huggingface/org/moves"],
                                ["cache", "pin", "huggingface/org/r1"],
                                ["cache", "unpin", "huggingface/org/r1"]))
            p = subprocess.Popen(
                [lib.OMNIHUB, words[0], *keys, *words[1:]],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, env=self.rig.env())
            if self.stormy() and rnd.random() < 0.3:
                time.sleep(rnd.uniform(0, 0.2))
                p.kill()
            out = p.communicate()[0].decode("utf-8", "replace")
            if p.returncode not in (0, 1, -signal.SIGKILL):
                self.fail(words, "ended with", p.returncode, out)
            if words[1] == "verify" and p.returncode == 1 and \
                    " 0 bad" not in out:
                self.fail("verify:", out)
            self.count("runs" if p.returncode != -9 else "runs killed")

    def storm(self):
        """Kills of servers, moves of the branch, faults of the hub."""
        rnd = random.Random(SEED + 1)
        while self.stormy():
            time.sleep(rnd.uniform(0.2, 0.8))
            what = rnd.random()
            if what < 0.3:
                rnd.choice(self.mounts).kill_server()
                self.count("servers killed")
            elif what < 0.6:
                self.moves += 1
                rev = f"at-{self.moves}"
                self.hub.put("org/moves", rev,
                             {"x/y.bin": self.moved(self.moves)})
                with open(os.path.join(self.hub.root, "org/moves/hub.json"),
                          "w", encoding="ascii") as f:
                    json.dump({"refs": {"main": rev}}, f)
                self.hub.ctl(reload=True)
                self.count("moves")
            elif what < 0.9:
                rule = dict(rnd.choice(FAULTS))
                self.hub.spoil(rule.pop("do"), **rule)
                self.count("faults")
            else:
                self.hub.clear()
        self.hub.clear()

    def sample(self):
        while self.going():
            du = 0
            for sub in ("objects", "partial", "tmp"):
                for at, _, names in os.walk(os.path.join(self.cache, sub)):
                    for n in names:
                        try:
                            du += os.lstat(os.path.join(at, n)).st_blocks
                        except OSError:
                            pass
            with open(os.path.join(self.cache, "usage"), "rb") as f:
                # the highest bit says that a file is being removed
                used = int.from_bytes(f.read(16)[8:], "little") & ~(1 << 63)
            self.most["du"] = max(self.most["du"], du * 512)
            self.most["used"] = max(self.most["used"], used)
            for m in self.mounts:
                try:
                    self.most["rss"] = max(self.most["rss"],
                                           m.rss()["RssAnon"])
                except (OSError, KeyError):
                    pass        # between two servers
            time.sleep(0.1)

    def grown(self):
        """One that was just killed, or waited for a hub that stalled, has to
        grow to its size first: what it is then counts."""
        warm = 0 if self.rig.sanitized else WARM
        want = [n + warm for n in self.served]
        lib.until(lambda: self.wrong or all(
            n >= w for n, w in zip(self.served, want)), GROWING - 10,
            "some reads of each mount")
        self.ends = time.monotonic() + SECONDS / 3

    def most_until(self, end):
        """The memory and descriptors that each server has at most."""
        most = [(0, 0) for _ in self.mounts]
        while self.going() and time.monotonic() < end:
            for i, m in enumerate(self.mounts):
                with contextlib.suppress(OSError, KeyError):
                    most[i] = (max(most[i][0], m.rss()["RssAnon"]),
                               max(most[i][1], m.fds()))
            time.sleep(0.1)
        return most

    def drift(self):
        """Of what killed processes had on its way nothing counts any more,
        though nobody has had the cache alone since; what they were removing
        does, until somebody has."""
        self.rig.run(lib.OMNIHUB, "cache", "gc", "--cache", self.cache)
        said = json.loads(self.rig.run(lib.OMNIHUB, "cache", "stat", "--json",
                                       "--cache", self.cache))
        there = sum(said[k]["bytes"] for k in ("objects", "partial",
                                               "recipes"))

        def usage():
            with open(os.path.join(self.cache, "usage"), "rb") as f:
                _, used, *flying = struct.unpack("<258Q", f.read(2064))
            return used, sum(flying)
        # What the living still have on its way comes.
        lib.until(lambda: not usage()[1], 10, "what is on its way")
        used, _ = usage()
        figure("counted though it is not there", (used - there) / MIB, "MiB")

    # ---- the week ---------------------------------------------------------------------

    def run(self):
        print(f"# seed {SEED}, {SECONDS} s")
        self.mounts = [self.rig.mount(
            self.hub, "--cache-size", str(BUDGET), "--set", "cache.fresh=1",
            "--set", "fetch.retries=2", cache=self.cache) for _ in range(2)]
        threads = [threading.Thread(target=self.reader, args=(k,))
                   for k in range(6)]
        threads += [threading.Thread(target=self.runner, args=(k,))
                    for k in range(RUNS if SECONDS > 20 else 3)]
        storm = threading.Thread(target=self.storm)
        threads += [storm, threading.Thread(target=self.sample)]
        for t in threads:
            t.start()
        storm.join()        # its last kill may come after the storm
        self.grown()
        before = self.most_until((time.monotonic() + self.ends) / 2)
        after = self.most_until(self.ends)
        for t in threads:
            t.join()
        check(not self.wrong, "\n".join(self.wrong[:10]))
        for what, n in sorted(self.counts.items()):
            print(f"# {what}: {n}")
        figure("cache at most, as du", self.most["du"] / MIB, "MiB",
               BUDGET * 1.1 / MIB)
        figure("cache at most, as counted", self.most["used"] / MIB, "MiB")
        if not self.rig.sanitized:
            figure("memory at most", self.most["rss"] / MIB, "MiB", MEMORY)
            for (rss, fds), (rss_now, fds_now) in zip(before, after):
                figure("memory more, in the calm", (rss_now - rss) / MIB,
                       "MiB", 16)
                figure("descriptors more, in the calm", fds_now - fds, "", 60)
        for path in list(self.files)[:8]:
            for m in self.mounts:
                equal(lib.read(m.hf(path)) == self.files[path], True, path)
        self.drift()
        for m in self.mounts:
            m.stop()
        self.rig.run(lib.OMNIHUB, "cache", "verify", "--cache", self.cache)
        self.rig.run(lib.OMNIHUB, "cache", "gc", "--cache", self.cache)
        equal(os.listdir(os.path.join(self.cache, "tmp")), [], "tmp/")


lib.main(lambda rig: Soak(rig).run(), SECONDS + 120)
