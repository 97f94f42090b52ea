"""What the mount tests stand on: a local hub, mounts of it, and a clean end.

A test is a function run(rig) given to main(). It runs in a child with its own
session; the parent, which never touches a mount, enforces the wall-clock limit
and always detaches what was mounted below the private directory and ends what
was started in the child's session. Exit 77: no FUSE here.
"""
import array
import contextlib
import ctypes
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse
import urllib.request

SRCDIR = os.environ.get("SRCDIR") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", ".."))
BUILDDIR = os.environ.get("BUILDDIR") or os.path.join(SRCDIR, "build")
MOUNT = os.path.join(BUILDDIR, "omnihub-mount")
OMNIHUB = os.path.join(BUILDDIR, "omnihub")
SKIP = 77
SANITIZERS = (b"ERROR: AddressSanitizer", b"ERROR: LeakSanitizer",
              b"WARNING: ThreadSanitizer", b": runtime error: ")
MIB = 1 << 20

sys.path.insert(0, os.path.join(SRCDIR, "contrib", "demo"))
import models  # noqa: E402

BERT = "google-bert/bert-base-uncased"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SST2 = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"


# ---- saying what is so -------------------------------------------------------

class Wrong(Exception):
    pass


def check(true, *what):
    if not true:
        raise Wrong(" ".join(str(w) for w in what))


def equal(got, want, what=""):
    if got != want:
        raise Wrong(f"{what}: got {got!r:.200}, want {want!r:.200}")


def figure(what, value, unit="", bound=None):
    """A measured figure for the log; with a bound it is checked."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    limit = f" (bound {bound:.4g})" if bound is not None else ""
    print(f"# {what}: {text} {unit}{limit}", flush=True)
    if bound is not None:
        check(value <= bound, f"{what}: {text} {unit} is over {bound:.4g}")


@contextlib.contextmanager
def raises(*numbers):
    """The block must fail with one of these errno."""
    try:
        yield
    except OSError as e:
        if e.errno in numbers:
            return
        raise Wrong(f"{e.filename}: {errno.errorcode.get(e.errno)}, want "
                    + " or ".join(map(errno.errorcode.get, numbers))) from e
    raise Wrong("no error, want "
                + " or ".join(map(errno.errorcode.get, numbers)))


@contextlib.contextmanager
def timed(what, bound=None):
    start = time.monotonic()
    yield
    figure(what, time.monotonic() - start, "s", bound)


def until(fn, seconds=10, what="a condition"):
    end = time.monotonic() + seconds
    while not fn():
        check(time.monotonic() < end, f"waited {seconds} s for {what}")
        time.sleep(0.02)


# ---- files -------------------------------------------------------------------

def read(path, size=-1, off=0):
    with open(path, "rb", buffering=0) as f:
        if size >= 0:
            return os.pread(f.fileno(), size, off)
        out = []
        while True:
            block = os.pread(f.fileno(), MIB, off)
            if not block:
                return b"".join(out)
            out.append(block)
            off += len(block)


def digest(path):
    h = hashlib.sha256()
    with open(path, "rb", buffering=0) as f:
        while True:
            block = f.read(MIB)
            if not block:
                return h.hexdigest()
            h.update(block)


def xattr(path, name):
    return os.getxattr(path, "user.omnihub." + name).decode()


def noise(seed, size):
    """size bytes that do not compress and do not repeat."""
    return random.Random(seed).randbytes(size)


class Bulk(models.Weights):
    """Tensors cut from one block of random numbers: megabytes at no cost."""

    block = None

    def add(self, name, *shape, spread=0.06, around=0.0):
        if Bulk.block is None:
            rnd = random.Random("bulk")
            Bulk.block = array.array("f", (rnd.uniform(-0.1, 0.1) for _ in
                                           range(1 << 18))).tobytes()
        n = 4
        for d in shape:
            n *= d
        at = self.rnd.randrange(len(Bulk.block) // 8) * 4
        loop = Bulk.block[at:] + Bulk.block[:at]
        self.tensors[name] = (
            shape, (loop * (n // len(loop) + 1))[:n])


def bulky_bert(megabytes):
    """A BERT whose weights are about this large."""
    c = models.bert_config("BertModel", 256, 2, 4, 1024, 128)
    w = Bulk("bulky")
    c["vocab_size"] = (megabytes - 7) * MIB // 1024
    models.bert_layers(w, "", c, False)
    return {"config.json": models.pretty(c),
            "README.md": b"bulky\n",
            "model.safetensors": w.safetensors()}


# ---- the hub -----------------------------------------------------------------

# Where a mount must not go by itself: nobody listens here.
NOWHERE = {key: "http://127.0.0.1:9" for key in (
    "onnx.endpoint", "onnx.manifest", "onnx.media", "onnx.lfs",
    "tfhub.endpoint", "kaggle.endpoint",
    "torchvision.endpoint", "torchserve.endpoint",
    "torchserve.s3", "torchhub.endpoint",
    "torchhub.api", "keras.endpoint")}


class Hub:
    """A running hubd.py over a directory that the test fills. hosts: names of
    host_NAME.py; files: what their sites serve, {path below .hosts: bytes}."""

    def __init__(self, rig, repos, settings=None, hosts=(), files=None):
        self.rig = rig
        self.hosts = hosts
        self.root = rig.dir("hub")
        self.fill(files or {})
        for repo, revs in repos.items():
            for rev, files in revs.items():
                self.put(repo, rev, files)
        for repo, s in (settings or {}).items():
            with open(os.path.join(self.root, repo, "hub.json"), "w",
                      encoding="utf-8") as f:
                json.dump(s, f)
        self.proc = None
        self.start()

    def put(self, repo, rev, files):
        """files: {path: bytes, or a function that writes to the path}."""
        top = os.path.join(self.root, repo, urllib.parse.quote(rev, safe=""))
        os.makedirs(top, exist_ok=True)
        self._write(top, files)

    def fill(self, files):
        self._write(os.path.join(self.root, ".hosts"), files)

    @staticmethod
    def _write(top, files):
        for path, data in files.items():
            full = os.path.join(top, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            if callable(data):
                data(full)
                continue
            with open(full, "wb") as f:
                f.write(data)

    def start(self, port=0):
        argv = [sys.executable,
                os.path.join(SRCDIR, "tests", "hub", "hubd.py"),
                "--until-eof", "--port", str(port), self.root]
        for h in self.hosts:
            argv += ["--host", h]
        self.proc = subprocess.Popen(argv, stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        urls = json.loads(self.proc.stdout.readline())
        self.url, self.cdn, self.urls = urls["hub"], urls["cdn"], urls
        self.endpoints = urls["endpoints"]

    def stop(self):
        self.proc.kill()
        self.proc.wait()

    def ctl(self, **asked):
        """POST /_ctl, see hubd.py."""
        r = urllib.request.Request(self.url + "/_ctl",
                                   json.dumps(asked).encode())
        with OPENER.open(r, timeout=30) as a:
            return json.load(a)

    def spoil(self, do, **rule):
        self.ctl(add=[dict(rule, do=do)])

    def clear(self):
        self.ctl(clear=True)

    def log(self):
        with OPENER.open(self.url + "/_ctl/log", timeout=30) as a:
            return json.load(a)

    def sent(self):
        """Body bytes sent so far, by all hosts."""
        return sum(s["sent"] for s in self.ctl()["stats"].values())

    def content(self):
        """Requests for content so far."""
        return sum(s["content"] for s in self.ctl()["stats"].values())

    def commit(self, repo, rev="main"):
        with OPENER.open(f"{self.url}/api/models/{repo}/revision/"
                         f"{urllib.parse.quote(rev, safe='')}") as a:
            return json.load(a)["sha"]


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


# ---- a mount -----------------------------------------------------------------

def server_of(supervisor):
    with open(f"/proc/{supervisor}/task/{supervisor}/children",
              encoding="ascii") as f:
        found = f.read().split()
    return int(found[0]) if found else None


def supervisor_of(at):
    """Of the mount at `at`: the other process that names the mountpoint is its
    child."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            argv = read(f"/proc/{pid}/cmdline").split(b"\0")
            if at.encode() in argv and b"omnihub-mount" in argv[0]:
                stat = read(f"/proc/{pid}/stat").rsplit(b")", 1)[1].split()
                found[int(pid)] = int(stat[1])
        except OSError:
            continue
    for pid, parent in found.items():
        if parent not in found:
            return pid
    raise Wrong("no process of " + at)


def process_state(pid):
    """The letter of /proc/PID/stat; Z when it has ended, also when nobody
    knows of it any more."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def has_ended(pid):
    """With all its threads: the last one to end closes what was open."""
    try:
        return process_state(pid) in "ZX" and \
            len(os.listdir(f"/proc/{pid}/task")) <= 1
    except OSError:
        return True


def kill_both(supervisor):
    """At once, as when the machine kills a whole group: neither the one nor
    the other can unmount."""
    os.kill(supervisor, signal.SIGSTOP)
    # Before it stands still it may yet bury the server and start another.
    until(lambda: process_state(supervisor) in "TZ", 10, "the supervisor")
    server = server_of(supervisor)
    if server:
        os.kill(server, signal.SIGKILL)
        until(lambda: has_ended(server), 10, "the server's end")
    os.kill(supervisor, signal.SIGKILL)


def umount(at, *argv, env=None):
    """By argv, or as others do it. Whoever looks at all mounts of the machine,
    as omnihub doctor does in another test, keeps this one busy meanwhile."""
    argv = argv or (["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"])

    def done():
        p = subprocess.run([*argv, at], stdin=subprocess.DEVNULL, env=env,
                           capture_output=True, timeout=20, check=False)
        said = p.stderr.lower()
        check(p.returncode == 0 or b"busy" in said, argv, at, said)
        return p.returncode == 0

    until(done, 10, f"the end of who looks into {at}")


class Mount:
    """omnihub-mount in the foreground."""

    def __init__(self, rig, hub, args=(), cache=None, at=None, token=None,
                 env=None, program=None):
        self.rig = rig
        self.cache = cache or rig.dir("cache")
        self.at = at or rig.dir("mnt")
        argv = [program or MOUNT, "-f", "--cache", self.cache]
        if hub:
            for key, url in {**NOWHERE, **hub.endpoints}.items():
                argv += ["--set", f"{key}={url}"]
        if token:
            argv += ["--set", "huggingface.token=" + token]
        self.args = argv[4:] + list(args)
        argv += list(args) + [self.at]
        self.log = os.path.join(rig.top, f"log-{len(rig.mounts)}")
        with open(self.log, "w", encoding="utf-8") as f:
            start = time.monotonic()
            self.proc = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                env=rig.env(**(env or {})))
        rig.mounts.append(self)
        while not self.answers():
            if self.proc.poll() is not None:
                raise Wrong(f"omnihub-mount ended with "
                            f"{self.proc.returncode}: {read(self.log)!r}")
            check(time.monotonic() - start < 20, "the mount does not answer")
            time.sleep(0.002)
        self.ready = time.monotonic() - start

    def answers(self):
        try:
            os.listdir(os.path.join(self.at, ".omnihub"))
            return True
        except OSError:
            return False

    def path(self, *parts):
        return os.path.join(self.at, *parts)

    def hf(self, *parts):
        return os.path.join(self.at, "huggingface", *parts)

    def stop(self):
        """As a user would: SIGTERM; the program must end by itself."""
        self.proc.terminate()
        try:
            code = self.proc.wait(20)
        except subprocess.TimeoutExpired:
            raise Wrong("omnihub-mount does not end on SIGTERM") from None
        check(code == 0, f"omnihub-mount ended with {code}",
              read(self.log)[-3000:])
        check(not os.path.ismount(self.at), "still mounted")

    def server(self):
        """The process that serves, which the supervisor has started; None:
        there is none at this moment."""
        return server_of(self.proc.pid)

    def kill(self):
        kill_both(self.proc.pid)
        self.proc.wait()

    def serving(self):
        """As server(), but the next one is waited for when the last has
        ended, buried or not."""
        found = [None]

        def lives():
            found[0] = self.server()
            return found[0] and process_state(found[0]) not in "ZX"
        until(lives, 20, "a server")
        return found[0]

    def kill_server(self):
        """What nobody is to notice. Returns who it was."""
        server = self.serving()
        os.kill(server, signal.SIGKILL)
        return server

    def rss(self):
        """Resident bytes that are the process's own: pages of mapped cache
        files are the kernel's to drop."""
        with open(f"/proc/{self.serving()}/status", encoding="ascii") as f:
            rows = dict(line.split(":", 1) for line in f)
        return {k: int(rows[k].split()[0]) * 1024
                for k in ("VmRSS", "RssAnon", "RssFile", "VmHWM")}

    def open_files(self):
        """Without those of .omnihub."""
        return json.loads(read(self.path(".omnihub/stats.json")))[
            "fs"]["open_files"]

    def until_closed(self):
        """The kernel tells of a close when it comes to it."""
        until(lambda: self.open_files() == 0, 20, "the last close")

    def fds(self):
        return len(os.listdir(f"/proc/{self.serving()}/fd"))


def sanitized():
    body = read(MOUNT)
    return b"__asan_" in body or b"__tsan_" in body


class Rig:
    def __init__(self, top):
        self.top = top
        self.mounts, self.hubs = [], []
        self.count = 0
        self.sanitized = sanitized()

    def dir(self, name):
        self.count += 1
        path = os.path.join(self.top, f"{name}-{self.count}")
        os.mkdir(path)
        return path

    def env(self, **more):
        """What the programs see: nothing of the caller's but the tools."""
        keep = ("PATH", "LANG", "ASAN_OPTIONS", "TSAN_OPTIONS",
                "UBSAN_OPTIONS", "LSAN_OPTIONS", "LD_LIBRARY_PATH")
        e = {k: os.environ[k] for k in keep if k in os.environ}
        e["HOME"] = os.path.join(self.top, "home")
        e["OMNIHUB_DATADIR"] = os.path.join(self.top, "share")
        e.update(more)
        return e

    def hub(self, repos, settings=None, **more):
        h = Hub(self, repos, settings, **more)
        self.hubs.append(h)
        return h

    def mount(self, hub, *args, **more):
        return Mount(self, hub, args, **more)

    def run(self, *argv, code=0, **env):
        """Run a program to its end; returns its standard output."""
        p = subprocess.run(argv, stdin=subprocess.DEVNULL,
                           capture_output=True, env=self.env(**env),
                           timeout=150 if self.sanitized else 50,
                           check=False)
        check(code is None or p.returncode == code, argv, "ended with",
              p.returncode, p.stdout[-500:], p.stderr[-500:])
        return p.stdout.decode("utf-8", "replace")


def share(top):
    """One directory with blueprints/ and demo/, as installed ones have."""
    out = os.path.join(top, "share")
    os.mkdir(out)
    os.symlink(os.path.join(SRCDIR, "stage", "blueprints"),
               os.path.join(out, "blueprints"))
    os.symlink(os.path.join(SRCDIR, "fetch", "catalogues"),
               os.path.join(out, "catalogues"))
    os.symlink(os.path.join(BUILDDIR, "share", "demo"),
               os.path.join(out, "demo"))


# ---- running a test ------------------------------------------------------------

def fuse_here():
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError:
        return False
    if os.geteuid() == 0:       # may still lack the right to mount
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(b"/nonexistent", 0) < 0 and \
                ctypes.get_errno() == errno.EPERM:
            return False
        return True
    return shutil.which("fusermount3") is not None


def mounted_below(top):
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        at = [line.split()[4] for line in f]
    return [a for a in at if a.startswith(top + "/")]


def sweep(top, session):
    """Detach our mounts, end every process of our child's session."""
    for at in reversed(mounted_below(top)):
        subprocess.run(["umount", "-l", at] if os.geteuid() == 0 else
                       ["fusermount3", "-uz", at], check=False,
                       stderr=subprocess.DEVNULL)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(pid)) == session:
                os.kill(int(pid), signal.SIGKILL)
        except OSError:
            pass


def child(run, top):
    try:
        # A shell that starts something behind itself has it ignore SIGINT,
        # and so would all that is started here.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.mkdir(os.path.join(top, "home"))
        share(top)
        rig = Rig(top)
        run(rig)
        for m in rig.mounts:
            if m.proc.poll() is None:
                m.stop()
            log = read(m.log)
            check(not any(w in log for w in SANITIZERS), "sanitizer:", m.log)
        code = 0
    except BaseException:  # noqa: B902 - the child must always say why
        traceback.print_exc()
        for m in rig.mounts if "rig" in locals() else ():
            sys.stderr.write(f"---- {m.log}\n")
            sys.stderr.write(read(m.log)[-16000:].decode("utf-8", "replace"))
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(run, limit=55):
    if not fuse_here():
        print("no FUSE here")
        sys.exit(SKIP)
    if not os.access(MOUNT, os.X_OK):
        sys.exit(f"{MOUNT} is not there")
    if sanitized():
        limit *= 3      # all that computes takes several times as long
    top = tempfile.mkdtemp(prefix="omnihub-test-")
    pid = os.fork()
    if pid == 0:
        os.setsid()
        child(run, top)
    out = []
    t = threading.Thread(target=lambda: out.append(os.waitpid(pid, 0)[1]))
    t.start()
    t.join(limit)
    late = t.is_alive()
    if late:
        sys.stderr.write(f"over the limit of {limit} s\n")
        os.kill(pid, signal.SIGABRT if os.environ.get("VERBOSE") else
                signal.SIGKILL)
    sweep(top, pid)
    t.join()
    if not os.environ.get("KEEP"):
        shutil.rmtree(top, ignore_errors=True)
    sys.exit(1 if late or out[0] != 0 else 0)
