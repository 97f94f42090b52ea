"""Hubs that speak HTTP/2 over TLS: questions are streams of one connection,
downloads are too if they are to be, and a stream or a connection that ends
costs nobody else anything."""
import errno
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse

import lib
from lib import MIB, check, equal, read

FRONT = os.path.join(lib.SRCDIR, "tests", "hub", "front.py")
SIZE = MIB
MANY = 6
PARTS = [i * 4 * MIB for i in range(4)]
FILES = 600             # of a listing that takes a while
# What happens, at which byte, and how often; a connection that ends by and by
# is no failure.
ENDS = (("reset", 150, 2), ("refuse", 0, 2), ("goaway", 150, 1),
        ("leave", 150, 2), ("reset", 0, 2))


def interpreter():
    """One that has python3-h2, which Debian's has."""
    for p in (sys.executable, "/usr/bin/python3"):
        if os.access(p, os.X_OK) and subprocess.run(
                [p, "-c", "import h2"], stderr=subprocess.DEVNULL,
                check=False).returncode == 0:
            return p
    return None


def certificate(rig):
    """Signed by itself, with its key in the same file."""
    pem = os.path.join(rig.dir("tls"), "pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=front", "-addext", "subjectAltName=IP:127.0.0.1,IP:127.0.0.2",
         "-keyout", pem + ".key", "-out", pem], check=True,
        capture_output=True)
    with open(pem, "ab") as f:
        f.write(read(pem + ".key"))
    return pem


class Front:
    """front.py before both hosts of a hub."""

    def __init__(self, hub, pem, alpn):
        self.pem = pem
        self.hub, self.cdn = hub.url, hub.cdn
        self.proc = subprocess.Popen(
            [interpreter(), FRONT, "--pem", self.pem, "--alpn", alpn,
             "127.0.0.1=" + hub.url, "127.0.0.2=" + hub.cdn],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.names = json.loads(self.proc.stdout.readline())

    def ctl(self, **asked):
        self.proc.stdin.write(json.dumps(asked) + "\n")
        self.proc.stdin.flush()
        return json.loads(self.proc.stdout.readline())

    def spoil(self, do, match, **more):
        self.ctl(clear=True, add=[dict(more, do=do, match=match)])

    def clear(self):
        self.ctl(clear=True)

    def log(self, **want):
        """The requests of which all this is so; path: a part of it."""
        return [e for e in self.ctl()["requests"]
                if want.get("path", "") in e["path"] and
                all(e[k] == v for k, v in want.items() if k != "path")]

    def mount(self, rig, *args, **more):
        return rig.mount(None, "--set", "huggingface.endpoint="
                         + self.names[self.hub], *args,
                         *[a for k, v in lib.NOWHERE.items()
                           for a in ("--set", f"{k}={v}")],
                         env={"SSL_CERT_FILE": self.pem}, **more)

    def stop(self):
        self.proc.stdin.close()
        self.proc.wait(20)


class Job(threading.Thread):
    """A call on a thread of its own, and what came of it."""

    def __init__(self, fn, *args):
        super().__init__(daemon=True)
        self.fn, self.args, self.got = fn, args, None
        self.start()

    def run(self):
        try:
            self.got = self.fn(*self.args)
        except OSError as e:
            self.got = e

    def end(self):
        self.join(60)
        check(not self.is_alive(), self.args, "has not ended")
        return self.got


def data_of(name):
    return lib.noise(name, SIZE)


def large_data():
    block = lib.noise("large", MIB - 8)
    return b"".join(b"%08d" % i + block for i in range(16))


def place(hub, name):
    """Where the CDN has it."""
    at = urllib.parse.urlsplit(hub.url)
    c = http.client.HTTPConnection(at.hostname, at.port, timeout=30)
    c.request("HEAD", f"/org/{name}/resolve/main/w.bin")
    to = c.getresponse().headers["Location"]
    c.close()
    return urllib.parse.urlsplit(to).path


def names_of(m, repo):
    return sorted(os.listdir(m.hf("org", repo)))


def conns(rows):
    return {e["conn"] for e in rows}


def held(front, path, fns):
    """Runs them while what they ask for stands still, until it has all been
    asked. Returns the requests and the jobs."""
    front.spoil("stall", re.escape(path), at=1)
    jobs = [Job(*f) for f in fns]
    rows = []

    def all_there():
        rows[:] = [e for e in front.log(path=path, end=None) if e["sent"]]
        return len(rows) >= len(fns)

    lib.until(all_there, 30, f"{len(fns)} requests")
    front.clear()
    return rows, jobs


# ---- what is the same for questions and for downloads --------------------------

def ends(front, paths, fn, want):
    """A stream or its connection ends in the middle, twice: right all the
    same."""
    for i, (do, at, times) in enumerate(ENDS):
        path = paths(i)
        before = len(front.log(path=path))
        front.spoil(do, re.escape(path), times=times, at=at)
        check(fn(i) == want(i), do, "other bytes")
        equal(front.ctl()["rules"][0]["hits"], times, f"{do}: met")
        rows = front.log(path=path)[before:]
        check({e["http"] for e in rows} == {"2"}, do, rows)
        front.clear()


def alone(rig, front, args, fn, paths, fine):
    """Of two streams of one connection one stands still: only that one fails,
    the other one goes on for as long as that takes. fn(mount, name) is asked for
    "dead" and "slow"; fine: what it says of "slow"."""
    m = front.mount(rig, "--set", "fetch.timeout=5", "--set",
                    "fetch.retries=0", *args)
    paths = paths(m)
    front.ctl(clear=True, add=[
        {"do": "stall", "at": 150, "match": re.escape(paths["dead"])},
        {"do": "drip", "at": 150, "match": re.escape(paths["slow"])}])
    before = len(front.log())
    slow = Job(fn, m, "slow")

    def streams(name):
        return [e for e in front.log()[before:] if paths[name] in e["path"]]

    lib.until(lambda: any(e["sent"] > 150 for e in streams("slow")), 30,
              "the beginning of the slow one")
    dead = Job(fn, m, "dead").end()
    check(isinstance(dead, OSError) and dead.errno == errno.ETIMEDOUT,
          "what stands still:", dead)
    check(slow.is_alive(), "the slow one has ended", slow.got)
    front.clear()
    equal(slow.end(), fine, "the slow one")
    equal(len(streams("dead")), 1, "tries")
    rows = streams("dead") + streams("slow")
    equal(len(conns(rows)), 1, f"connections of {rows}")
    equal({e["end"] for e in streams("slow")}, {"done"})
    # The failure is remembered for a while.
    lib.until(lambda: not isinstance(Job(fn, m, "dead").end(), OSError), 30,
              "the dead one's return")
    m.stop()


# ---- the tests ------------------------------------------------------------------

def questions(rig, front):
    """By default: questions over HTTP/2, downloads with a connection each."""
    m = front.mount(rig)
    equal(names_of(m, "warm"), ["w.bin"])
    check(read(m.hf("org/warm/w.bin")) == data_of("warm"), "bytes")
    asked = front.log(path="/api/models/")
    check(asked and {e["http"] for e in asked} == {"2"}, asked)
    equal(len(conns(asked)), 1, "connections of the questions")
    # A renamed repository: 307 and on, by the same connection.
    equal(names_of(m, "older"), ["w.bin"])
    asked = front.log(path="/api/models/")
    check(307 in [e["status"] for e in asked], asked)
    equal(len(conns(asked)), 1, "connections of the questions")
    for url in (front.hub, front.cdn):
        rows = front.log(url=url, path="/org/warm/resolve" if
                         url == front.hub else "/xet-bridge")
        check(rows and {e["http"] for e in rows} == {"1.1"}, url, rows)
        equal(len(conns(rows)), len(rows))

    rows, jobs = held(front, "/api/models/org/q", [
        (names_of, m, f"q{i}") for i in range(MANY)])
    equal(conns(rows), conns(asked), "where questions at once are asked")
    for j in jobs:
        equal(j.end(), ["w.bin"])
    # What streams were asked by is used again for what is none.
    jobs = [Job(read, m.hf(f"org/q{i}/w.bin")) for i in range(MANY)]
    for i, j in enumerate(jobs):
        check(j.end() == data_of(f"q{i}"), i, j.got)
    ends(front, lambda i: f"/api/models/org/e{i}/tree",
         lambda i: names_of(m, f"e{i}"), lambda i: ["w.bin"])
    # Who was told to leave asks elsewhere.
    left = front.log(path="/api/models/org/e2/tree")
    check(not conns(left) & conns(front.log(path="/api/models/org/e3/")),
          "a connection that ends is used again", left)
    m.stop()

    def listings(m):
        names_of(m, "warm")
        return {n: f"/api/models/org/{n}-listing/tree" for n in
                ("dead", "slow")}

    alone(rig, front, (), lambda m, name: names_of(m, name + "-listing"),
          listings, [f"f{i:03}" for i in range(FILES)])


def downloads(rig, hub, front):
    """Over a hub that speaks nothing else, as fetch.http has it."""
    args = ("--set", "fetch.http=2")
    m = front.mount(rig, *args)

    def first(name):
        return read(m.hf("org", name, "w.bin"), 4096)

    check(first("warm") == data_of("warm")[:4096], "the first bytes")
    check(302 in [e["status"] for e in front.log(url=front.hub)], "no hop")
    large = large_data()
    rows, jobs = held(front, "/xet-bridge", [
        (read, m.hf("org/large/w.bin"), 4096, off) for off in PARTS])
    for off, j in zip(PARTS, jobs):
        check(j.end() == large[off:off + 4096], "bytes at", off)
    equal(lib.digest(m.hf("org/large/w.bin")),
          lib.hashlib.sha256(large).hexdigest())
    rows = front.log(path="/xet-bridge")
    equal({e["http"] for e in rows}, {"2"})
    equal(len(conns(rows)), 1, "connections of the ranges")
    equal(len({e["stream"] for e in rows}), len(rows), "streams")

    many, jobs = held(front, "/xet-bridge", [
        (first, f"q{i}") for i in range(MANY)])
    equal(conns(many), conns(rows), "where ranges at once are asked for")
    for i, j in enumerate(jobs):
        check(j.end() == data_of(f"q{i}")[:4096], i)
    ends(front, lambda i: place(hub, f"e{i}"),
         lambda i: read(m.hf(f"org/e{i}/w.bin")), lambda i: data_of(f"e{i}"))
    m.stop()

    def files(m):
        read(m.hf("org/warm/w.bin"), 4096)
        return {n: place(hub, n) for n in ("dead", "slow")}

    alone(rig, front, args, lambda m, name: read(m.hf("org", name, "w.bin")),
          files, data_of("slow"))


def run(rig):
    names = ["warm", "dead", "slow"]
    names += [f"q{i}" for i in range(MANY)]
    names += [f"e{i}" for i in range(len(ENDS))]
    repos = {f"org/{n}": {"main": {"w.bin": data_of(n)}} for n in names}
    for n in ("dead", "slow"):
        repos[f"org/{n}-listing"] = {"main": {
            f"f{i:03}": b"%d" % i for i in range(FILES)}}
    repos["org/large"] = {"main": {"w.bin": large_data()}}
    hub = rig.hub(repos, {"org/warm": {"renamed": ["org/older"]}})
    pem = certificate(rig)
    for alpn, play in (("h2,http/1.1", lambda f: questions(rig, f)),
                       ("h2", lambda f: downloads(rig, hub, f))):
        front = Front(hub, pem, alpn)
        play(front)
        front.stop()


if not interpreter():
    print("no python3-h2 here")
    sys.exit(lib.SKIP)
if not shutil.which("openssl"):
    print("no openssl here")
    sys.exit(lib.SKIP)
lib.main(run, 240)
