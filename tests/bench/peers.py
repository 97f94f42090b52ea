"""Who is measured: OmniHub, what it is compared with, and how each is set up.

A program has `fresh(line)` (nothing cached, ready to be read), `again()` (ended
and started, what is on disk stays), `path(repo, file)`, `cached()` (files it
keeps on disk) and `stop()`. `settings` is what README.md and the report say.
`missing()` is None or why it cannot be measured here.
"""
import json
import os
import shutil
import signal
import subprocess
import time

import mirror
from mirror import COMMIT

PYTHON = os.environ.get("BENCH_HF_PYTHON", "")
LIMIT = 120                     # seconds for one measurement


class TooLong(Exception):
    pass


class Failed(Exception):
    pass


def run(argv, stdin=None, timeout=LIMIT, env=None):
    """Runs a measuring program; its line of JSON."""
    try:
        p = subprocess.run(argv, input=stdin, capture_output=True,
                           timeout=timeout, check=False, env=env)
    except subprocess.TimeoutExpired as e:
        raise TooLong(f"over {timeout} s") from e
    if p.returncode:
        raise Failed(p.stderr.decode("utf-8", "replace").strip()[-300:])
    return json.loads(p.stdout)


class Program:
    name, settings = "", ""
    mounts = True               # files appear in a directory
    only = None                 # keys of loads, if not all
    far = True                  # has to do with the line

    def __init__(self, top, hub, tools):
        self.top, self.hub, self.tools = top, hub, tools
        self.line = self.proc = self.warm = None
        self.log = os.path.join(top, f"log-{self.name.replace(' ', '-')}")
        self.at = os.path.join(top, "mnt-" + self.name.replace(" ", "-"))
        self.cache = os.path.join(top, "cache-" + self.name.replace(" ", "-"))

    @classmethod
    def missing(cls, tools):
        return None

    def fresh(self, line):
        self.stop()
        self.line, self.warm = line, None
        shutil.rmtree(self.cache, ignore_errors=True)
        os.makedirs(self.cache)
        self.start()

    def again(self):
        self.stop()
        self.start()

    def start(self):
        os.makedirs(self.at, exist_ok=True)
        with open(self.log, "ab") as f:
            self.proc = subprocess.Popen(
                self.argv(), stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                env=self.env())
        end = time.monotonic() + 30
        while not self.answers():
            if self.proc.poll() is not None or time.monotonic() > end:
                raise Failed(f"{self.name} does not start, see {self.log}")
            time.sleep(0.001)

    def env(self):
        keep = ("PATH", "LANG", "LD_LIBRARY_PATH")
        e = {k: os.environ[k] for k in keep if k in os.environ}
        e["HOME"] = self.top
        return e

    def argv(self):
        raise NotImplementedError

    def answers(self):
        return os.path.ismount(self.at)

    def path(self, repo, *file):
        raise NotImplementedError

    def cached(self):
        out = []
        for base, _, files in os.walk(self.cache):
            out += [os.path.join(base, f) for f in files
                    if os.path.isfile(os.path.join(base, f))]
        return out

    def stop(self):
        if not self.proc:
            return
        self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        self.proc = None
        umount = ["umount", "-l"] if os.geteuid() == 0 else \
            ["fusermount3", "-uz"]
        while os.path.ismount(self.at):
            subprocess.run(umount + [self.at], check=False,
                           stderr=subprocess.DEVNULL)

    # what a reader of a mount does; programs without one do otherwise

    def io(self, what, path, *args, stdin=None):
        return run([self.tools["bench-io"], what, path]
                   + [str(a) for a in args], stdin)


class Native(Program):
    name = "native"
    far = False
    settings = "the same file in the directory of the caches"

    def start(self):
        pass

    def path(self, repo, *file):
        return self.hub.content.file(repo, *file)

    def cached(self):
        return [self.hub.content.file("big", mirror.BIG)]


class Curl(Program):
    """libcurl alone, over one connection or several."""

    mounts = False
    connections = 1
    settings = ("libcurl with buffers of 512 KiB, ranges of 4 MiB over "
                "several connections; nothing written or compared")

    def start(self):
        pass

    def get(self, *more, connections=None):
        c = self.hub.content
        return run([self.tools["bench-curl"], "get",
                    self.hub.url(self.line, "big", mirror.BIG), str(c.size),
                    str(connections or self.connections)] + list(more))

    def head(self, n):
        return run([self.tools["bench-curl"], "head",
                    self.hub.url(self.line, "big", mirror.BIG), str(n)])

    def rand(self, n, seed):
        return run([self.tools["bench-curl"], "rand",
                    self.hub.url(self.line, "big", mirror.BIG), str(n),
                    str(seed), str(self.hub.content.size)])


class Curl1(Curl):
    name = "curl 1"


class CurlN(Curl):
    name = "curl N"
    connections = 4
    only = ("cold", "eight")


class CurlKept(CurlN):
    name = "curl N kept"
    only = ("cold",)
    settings = ("as curl N, written to a file and SHA-256 on a thread that "
                "follows")

    def get(self, *more):
        out = os.path.join(self.cache, "out")
        r = Curl.get(self, out)
        os.unlink(out)
        return r


class Fuse(Program):
    """Another file system; `tool` is the program it is made by."""

    tool = None

    @classmethod
    def missing(cls, tools):
        return cls.absent() if mirror.lib.fuse_here() else "no FUSE here"

    @classmethod
    def absent(cls):
        return None if shutil.which(cls.tool) else \
            f"{cls.tool} is not installed"

    def path(self, repo, *file):
        return os.path.join(self.at, repo, *file)


class OmniHub(Fuse):
    name = "omnihub"
    settings = "as it comes"
    more = ()
    objects = True              # hot staged files become some

    @classmethod
    def absent(cls):
        return None

    def argv(self):
        a = [mirror.lib.MOUNT, "-f", "--cache", self.cache]
        ends = dict(mirror.lib.NOWHERE)
        ends["huggingface.endpoint"] = self.hub.hub(self.line)
        for k, v in ends.items():
            a += ["--set", f"{k}={v}"]
        return a + list(self.more) + [self.at]

    def env(self):
        e = Program.env(self)
        e["OMNIHUB_DATADIR"] = os.path.join(self.top, "share")
        return e

    def answers(self):
        try:
            os.listdir(os.path.join(self.at, ".omnihub"))
            return True
        except OSError:
            return False

    def path(self, repo, *file):
        return os.path.join(self.at, "huggingface", "bench", repo, *file)


class OmniHubPlain(OmniHub):
    name = "omnihub, no passthrough"
    settings = "mount.passthrough = no, as for an unprivileged user"
    more = ("--set", "mount.passthrough=no")
    objects = False
    only = ("disk", "diskmap", "disk4k", "pages", "pagesmap", "pages4k",
            "staged", "gathered", "stagedwarm")


class Rclone(Fuse):
    name = "rclone"
    settings = ("http remote; --vfs-cache-mode full --vfs-read-ahead 128M "
                "--buffer-size 16M --max-read-ahead 1M --attr-timeout 1h "
                "--dir-cache-time 24h --vfs-cache-max-age 24h "
                "--vfs-fast-fingerprint --no-checksum --checkers 64; nothing "
                "compared")

    tool = "rclone"

    def argv(self):
        return ["rclone", "mount", ":http:bench", self.at, "--http-url",
                self.hub.plain(self.line), "--cache-dir", self.cache,
                "--read-only", "--config", "/dev/null",
                "--vfs-cache-mode", "full", "--vfs-read-ahead", "128M",
                "--buffer-size", "16M", "--max-read-ahead", "1M",
                "--attr-timeout", "1h", "--dir-cache-time", "24h",
                "--vfs-cache-max-age", "24h", "--vfs-cache-poll-interval",
                "24h", "--vfs-fast-fingerprint", "--no-checksum",
                "--checkers", "64"]


class HttpDirFs(Fuse):
    name = "httpdirfs"
    settings = ("--cache --dl-seg-size 8 --max-conns 10 --no-range-check "
                "(without the last it ends at the first read of nginx); nothing "
                "compared")

    tool = "httpdirfs"

    def argv(self):
        return ["httpdirfs", "-f", "--cache", "--cache-location", self.cache,
                "--no-range-check", self.hub.plain(self.line) + "/bench/",
                self.at]


class HfMount(Fuse):
    """Hugging Face's own; BENCH_HF_MOUNT names its hf-mount-fuse."""

    name = "hf-mount"
    settings = ("hf-mount-fuse, disk cache on; without Xet, which needs "
                "Hugging Face's own storage, it fetches whole files at open; "
                "nothing compared")

    @classmethod
    def absent(cls):
        if os.access(os.environ.get("BENCH_HF_MOUNT", ""), os.X_OK):
            return None
        return "BENCH_HF_MOUNT names no hf-mount-fuse"

    def argv(self):
        return [os.environ["BENCH_HF_MOUNT"], "--hub-endpoint",
                self.hub.hub(self.line), "--cache-dir", self.cache,
                "--read-only", "--poll-interval-secs", "0",
                "repo", "bench/big", self.at]

    def path(self, repo, *file):
        return os.path.join(self.at, *file)


class HfHub(Program):
    """huggingface_hub in Python: whole files by hf_hub_download, ranges by
    HfFileSystem. The time is taken inside Python, after the imports."""

    name = "huggingface_hub"
    mounts = False
    settings = ("hf_hub_download for whole files, HfFileSystem (blocks of 5 "
                "MiB) for parts; timed without the start of Python; sizes "
                "compared, no digests")

    @classmethod
    def missing(cls, tools):
        if not PYTHON:
            return "BENCH_HF_PYTHON names no Python with huggingface_hub"
        p = subprocess.run([PYTHON, "-c", "import huggingface_hub, fsspec"],
                           check=False, stderr=subprocess.DEVNULL)
        return "huggingface_hub is not there" if p.returncode else None

    def start(self):
        pass

    def env(self):
        return dict(Program.env(self), HF_ENDPOINT=self.hub.hub(self.line),
                    HF_HOME=self.cache, HF_HUB_DISABLE_PROGRESS_BARS="1",
                    HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_XET="1",
                    no_proxy="*")

    def script(self, body, **args):
        text = HF_SCRIPT.format(body=body)
        args.update(commit=COMMIT, big=mirror.BIG)
        return run([PYTHON, "-c", text, json.dumps(args)], env=self.env())

    def get(self):
        return self.script("n = os.path.getsize(huggingface_hub"
                           ".hf_hub_download('bench/big', a['big']))")

    def head(self, n):
        return self.script(HF_OPEN + "n = len(f.read(a['n']))", n=n)

    def rand(self, n, seed):
        return self.script(HF_OPEN + HF_RAND, n=n, seed=seed)

    def small(self):
        return self.script("n = len(os.listdir(huggingface_hub"
                           ".snapshot_download('bench/small')))")


HF_SCRIPT = """
import json, os, sys, time
import huggingface_hub
a = json.loads(sys.argv[1])
each = []
start = time.monotonic()
{body}
out = dict(seconds=time.monotonic() - start, bytes=n)
if each:
    out["each"] = each
print(json.dumps(out))
"""
HF_OPEN = """
f = huggingface_hub.HfFileSystem().open('bench/big/' + a['big'], 'rb')
"""
HF_RAND = """
x, n = (a['seed'] * 0x9e3779b97f4a7c15 + 1) % 2**64, 0
for i in range(a['n']):
    t = time.monotonic()
    x ^= x << 13 & 2**64 - 1
    x ^= x >> 7
    x ^= x << 17 & 2**64 - 1
    f.seek(x % (f.size // 4096) * 4096)
    n += len(f.read(4096))
    each.append(time.monotonic() - t)
"""

ALL = [Native, Curl1, CurlN, CurlKept, OmniHub, OmniHubPlain, Rclone,
       HttpDirFs, HfHub, HfMount]
SMOKE = [p.name for p in (Native, Curl1, CurlKept, OmniHub, OmniHubPlain)]
