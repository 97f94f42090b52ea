#!/usr/bin/env python3
"""omnihub get and its like against a local hub, without a mount: what is
fetched, what is said, what a terminal sees, what an interruption leaves."""
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SRCDIR = os.environ["SRCDIR"]
BUILDDIR = os.environ["BUILDDIR"]
sys.path.insert(0, os.path.join(SRCDIR, "tests", "mount"))
sys.path.insert(0, os.path.join(SRCDIR, "tests", "hub"))
sys.path.insert(0, os.path.join(SRCDIR, "contrib", "demo"))
import lib  # noqa: E402
from lib import check, equal, noise  # noqa: E402
from wire import field  # noqa: E402

OMNIHUB = os.path.join(BUILDDIR, "omnihub")
MIB = 1 << 20
# What a terminal may take for a command: its title, a colour, a line feed,
# the one-byte form of ESC [ in UTF-8.
ODD = "a\x1b]0;b\x07\x1b[31m\n\r\x7f\u009b5n"
SAFE = "a?]0;b??[31m????5n"
REPO = "someone/files"
TREE = "huggingface/" + REPO


def odd_onnx():
    """A model whose every name is ODD."""
    kind = field(2, field(1, field(1, 1) + field(2, field(1, field(
        2, ODD)))))
    value = field(1, ODD) + kind
    graph = field(1, field(1, ODD) + field(2, ODD + "y") + field(4, ODD))
    graph += field(2, "g") + field(11, value) + field(12, field(
        1, ODD + "y") + kind)
    return field(1, 8) + field(7, graph) + field(8, field(2, 17)) + field(
        14, field(1, ODD) + field(2, ODD))


class Desk:
    """A private directory, a hub, and omnihub with a cache of its own."""

    def __init__(self, top):
        self.top, self.count = top, 0
        os.mkdir(os.path.join(top, "home"))
        self.big = noise("big", 24 * MIB)
        self.hub = lib.Hub(self, {
            REPO: {"main": {"big.bin": self.big, "a/small.txt": b"small\n",
                            "empty": b""}},
            "someone/odd": {"main": {"model.onnx": odd_onnx()}},
            "someone/gated": {"main": {"x.bin": noise("x", MIB)}},
        }, {"someone/gated": {"gated": "manual"}})
        self.cache = self.dir("cache")

    def dir(self, name):
        self.count += 1
        path = os.path.join(self.top, f"{name}-{self.count}")
        os.mkdir(path)
        return path

    def env(self):
        keep = ("PATH", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS",
                "LSAN_OPTIONS")
        e = {k: os.environ[k] for k in keep if k in os.environ}
        e["HOME"] = os.path.join(self.top, "home")
        e["LC_ALL"] = "C.UTF-8"
        e["OMNIHUB_DATADIR"] = os.path.join(BUILDDIR, "share")
        return e

    def argv(self, cmd, *args):
        return [OMNIHUB, cmd, "--cache", self.cache, "--set",
                "huggingface.endpoint=" + self.hub.url, *args]

    def run(self, cmd, *args, code=0):
        p = subprocess.run(self.argv(cmd, *args), stdin=subprocess.DEVNULL,
                           capture_output=True, env=self.env(), timeout=60,
                           check=False)
        out, err = p.stdout.decode(), p.stderr.decode()
        check(p.returncode == code, cmd, args, "ended with", p.returncode,
              out, err)
        return out if code == 0 else err


def plain(d):
    """Lines without a terminal; the second time nothing is fetched."""
    out = d.run("get", TREE)
    equal(sorted(out.splitlines()), [
        TREE + "/a/small.txt  6 B  verified",
        TREE + "/big.bin  24.0 MiB  verified",
        TREE + "/empty  0 B  cached"], "get of a directory")
    sent = d.hub.sent()
    check(sent >= len(d.big), "sent", sent)
    before = d.hub.content()
    equal(d.run("get", "-q", TREE), "", "get --quiet")
    equal(d.hub.content() - before, 0, "requests for content of a second get")
    got = json.loads(d.run("ls", "--json", TREE))
    big = [e for e in got if e["name"] == "big.bin"][0]
    equal((big["size"], big["cached_bytes"], big["state"]),
          (len(d.big), len(d.big), "verified"), "ls --json")
    use = json.loads(d.run("du", "--json", TREE))
    equal([(u["bytes"], u["cached_bytes"], u["files"]) for u in use],
          [(len(d.big) + 6, len(d.big) + 6, 3)], "du --json")


def failures(d):
    """One line with path, errno word and reason; the rest is done."""
    err = d.run("get", "huggingface/someone/gated/x.bin",
                TREE + "/a/small.txt", TREE + "/none", code=1)
    lines = err.splitlines()
    equal(len(lines), 2, "failures: " + err)
    check(lines[0].startswith(
        f"omnihub: get: {TREE}/none: ENOENT: ") or lines[1].startswith(
        f"omnihub: get: {TREE}/none: ENOENT: "), err)
    check("gated/x.bin: EACCES: " in err, err)
    err = d.run("get", "huggingface", code=2)
    check("name one in it" in err, err)


def broken(d):
    """A hub that always sends one wrong byte."""
    d.cache = d.dir("cache")
    d.hub.spoil("flip", match="big.bin", offset=5 * MIB)
    err = d.run("get", TREE + "/big.bin", code=1)
    check(err.startswith(f"omnihub: get: {TREE}/big.bin: EIO: "), err)
    check(len(err.split("EIO: ")[1].strip()) > 20, "no reason:", err)
    d.hub.clear()
    d.run("get", TREE + "/big.bin")
    # And one whose listings make no sense: said of the commit.
    d.cache = d.dir("cache")
    d.hub.spoil("html", match="GET /api/models/[^?]*/tree/")
    for name in (TREE, TREE + "@main", TREE + "/a/small.txt"):
        err = d.run("ls", name, code=1)
        check(err.startswith(f"omnihub: ls: {name}: EIO: "), err)
        check("HTML" in err, "no reason:", err)
    d.hub.clear()


def odd(d):
    """What a model says of itself does nothing to a terminal."""
    path = "huggingface/someone/odd/model.onnx"
    out = d.run("info", path)
    for row in (f"inputs        {SAFE}  ", f"outputs       {SAFE}y  ",
                f"metadata      {SAFE} = {SAFE}\n",
                f"operators     {SAFE}×1\n"):
        check(row in out, repr(row), "is not in", repr(out))
    check(not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", out), repr(out))
    got = json.loads(d.run("info", "--json", path))["model"]
    equal(got["metadata"], {ODD: ODD}, "as it is, to programs")


FULL = """
o()
{
    what=$1; shift
    "$OMNIHUB" "$what" --cache "$0" --set "huggingface.endpoint=$HUB" "$@"
}
mount -t tmpfs -o size=1m none "$0" && o get -q "$1/a/small.txt" || exit 77
cat /dev/zero >"$0/fill" 2>&-
o get "$1/a/small.txt"; echo $?
o get "$2"; echo $?
o cache gc 0; echo $?
o ls -l "$1/a"; echo $?
"""


def full(d):
    """Not a byte is left on the disk: that is what is said, what is here is
    told all the same, and room can be made."""
    if not shutil.which("unshare"):
        return
    d.cache = d.dir("cache")
    env = {**d.env(), "OMNIHUB": OMNIHUB, "HUB": d.hub.url}
    p = subprocess.run(["unshare", "-m", "sh", "-c", FULL, d.cache, TREE,
                        "huggingface/someone/odd/model.onnx"],
                       stdin=subprocess.DEVNULL, capture_output=True, env=env,
                       timeout=60, text=True, check=False)
    if p.returncode == 77 or p.stderr.startswith("unshare: "):
        print("# no tmpfs of our own")
        return
    out = p.stdout.splitlines()
    check(" ENOSPC: " in p.stderr, p)
    equal(out[0], f"{TREE}/a/small.txt  6 B  verified", p)
    equal([s for s in out if s.isdigit()], ["0", "1", "0", "0"], p)
    check("freed 6 B" in out, p)


def offline(d):
    d.cache = d.dir("cache")
    err = d.run("get", "--offline", TREE + "/big.bin", code=1)
    check("EHOSTUNREACH" in err, err)


def cut(d, how, **more):
    """A slow get that is told to end; what it was and what it said."""
    d.cache = d.dir("cache")
    d.hub.spoil("drip", match="big.bin", rate=4 * MIB)
    start = d.hub.sent()
    p = subprocess.Popen(d.argv("get", TREE + "/big.bin"), env=d.env(),
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, **more)
    lib.until(lambda: d.hub.sent() - start > 6 * MIB, 30, "6 MiB")
    p.send_signal(how)
    return p


def interrupted(d):
    """Ctrl-C keeps what came; the same command goes on from there. Whoever
    waits is told of the signal: a loop of a shell ends by it, too."""
    for how in (signal.SIGTERM, signal.SIGINT):
        p = cut(d, how)
        asked = time.monotonic()
        out, err = p.communicate(timeout=20)
        lib.figure(f"end after {how.name}", time.monotonic() - asked, "s", 2)
        equal(p.returncode, -how, "status after " + how.name)
        check(b"kept" in err and not out, out, err)
        equal(len(err.splitlines()), 1, err)
        d.hub.clear()
    use = json.loads(d.run("du", "--json", TREE + "/big.bin"))[0]
    check(use["cached_bytes"] >= 4 * MIB, "kept only", use)
    start = d.hub.sent()
    d.run("get", TREE + "/big.bin")
    lib.figure("bytes fetched after the interruption", d.hub.sent() - start,
               "", len(d.big) - 4 * MIB)


def undisturbed(d):
    """What a shell starts in the background or nohup has started goes on."""
    p = cut(d, signal.SIGINT, preexec_fn=lambda: signal.signal(
        signal.SIGINT, signal.SIG_IGN))
    d.hub.clear()
    out, err = p.communicate(timeout=40)
    equal((p.returncode, err), (0, b""), "with SIGINT ignored")
    check(b"verified" in out, out)


def terminal(d):
    """On a terminal a bar with percent, bytes, rate and time left."""
    d.cache = d.dir("cache")
    d.hub.spoil("drip", match="big.bin", rate=8 * MIB)
    pid, fd = pty.fork()
    if pid == 0:
        argv = d.argv("get", TREE + "/big.bin")
        os.execve(argv[0], argv, d.env())
    seen = b""
    while True:
        try:
            block = os.read(fd, 65536)
        except OSError:
            break
        if not block:
            break
        seen += block
    _, status = os.waitpid(pid, 0)
    d.hub.clear()
    text = seen.decode()
    equal(os.waitstatus_to_exitcode(status), 0, text)
    lines = text.split("\r\x1b[K")[0].split("\r") + text.split("\r")
    bar = re.compile(r"big\.bin +(\d+)% \[[#.]{10,20}\] [\d.]+ [KM]?i?B of "
                     r"24\.0 MiB  [\d.]+ [KM]?i?B/s  [\d:-]+ left")
    percents = [int(m.group(1)) for m in map(bar.search, lines) if m]
    check(len(set(percents)) > 3, "bars:", text[-2000:])
    check(f"{TREE}/big.bin  24.0 MiB  verified" in text, text[-500:])


def main():
    # A shell that starts something behind itself has it ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    top = tempfile.mkdtemp(prefix="omnihub-get-")
    hubs = []
    try:
        d = Desk(top)
        hubs.append(d.hub)
        for test in (plain, failures, broken, odd, full, offline, interrupted,
                     undisturbed, terminal):
            print("#", test.__name__, flush=True)
            test(d)
    finally:
        for h in hubs:
            h.stop()
        shutil.rmtree(top, ignore_errors=True)


main()
