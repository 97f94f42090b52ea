"""What the crash tests stand on: a hub, programs under the shim, and what must
be true of a cache after anything has happened to it."""
import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
SRCDIR = os.environ.get("SRCDIR") or os.path.dirname(os.path.dirname(HERE))
BUILDDIR = os.path.abspath(os.environ.get("BUILDDIR") or
                           os.path.join(SRCDIR, "build"))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(SRCDIR, "tests", "hub"),
                os.path.join(SRCDIR, "tests", "mount")]
import lib  # noqa: E402
import models  # noqa: E402

SHIM = os.path.join(BUILDDIR, "tests", "crash", "shim.so")
READ = os.path.join(BUILDDIR, "tests", "crash", "read-paths")
OMNIHUB = os.path.join(BUILDDIR, "omnihub")
MIB = 1 << 20
OFD_SETLK = 37
CHUNK = 128 << 10
LIMIT = 60      # seconds of one run
HEAD = struct.Struct("<QIIQII32s")
LEAVING = 1 << 63   # in `used`: a file was leaving

HF = "huggingface/org/files/"
BERT = "huggingface/org/bert/"
SMALL, LARGE, OTHER = HF + "small.bin", HF + "large.bin", HF + "other.bin"
STAGED = BERT + "pytorch/model.onnx"
MAR = "pytorch/torchserve/alexnet/"
ZOO = "validated/vision/classification/mnist/model/mnist-8"
TAR = "onnx/" + ZOO + "/"


class Wrong(Exception):
    pass


def check(true, *what):
    if not true:
        raise Wrong(" ".join(map(str, what)))


def sha(data):
    return hashlib.sha256(data).hexdigest()


def bert():
    c = models.bert_config("BertModel", 32, 1, 2, 64, 64)
    w = models.Weights("crash")
    models.bert_layers(w, "", c, False)
    return {"config.json": models.pretty(c),
            "model.safetensors": w.safetensors()}


MEMBERS = {"MAR-INF/MANIFEST.json": b'{"model": {"modelName": "a"}}',
           "weights.pth": lib.noise("member", 300000),
           "words.txt": b"word\n" * 40000}
TARRED = {"in.pb": lib.noise("in", 70000), "out.pb": b"\0" * 5000}


def archive():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in MEMBERS.items():
            z.writestr(name, data)
    return out.getvalue()


def tarball():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as t:
        for name, data in TARRED.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def manifest(model, tar):
    return json.dumps([{
        "model": "mnist-8", "model_path": ZOO + ".onnx",
        "onnx_version": "1.3", "opset_version": 8, "metadata": {
            "model_sha": sha(model), "model_bytes": len(model),
            "tags": [], "io_ports": {"inputs": [], "outputs": []},
            "model_with_data_path": ZOO + ".tar.gz",
            "model_with_data_sha": sha(tar),
            "model_with_data_bytes": len(tar)}}]).encode()


class Desk:
    def __init__(self, top):
        self.top, self.count = top, 0
        self.home, self.share = self.dir("home"), self.shipped()
        files = {"small.bin": lib.noise("small", 200001),
                 "large.bin": lib.noise("large", 5 * MIB + 12345),
                 "other.bin": lib.noise("other", 700000)}
        self.want = {HF + n: sha(d) for n, d in files.items()}
        for n, d in MEMBERS.items():
            self.want[MAR + n] = sha(d)
        for n, d in TARRED.items():
            self.want[TAR + n] = sha(d)
        tar = tarball()
        self.hub = lib.Hub(self, {
            "org/files": {"main": files}, "org/bert": {"main": bert()},
            "onnxmodelzoo/legacy_models": {"main": {
                ZOO + ".onnx": b"onnx", ZOO + ".tar.gz": tar}}},
            hosts=("static", "zoo"), files={
                "torchserve/mar_files/alexnet.mar": archive(),
                "zoo/ONNX_HUB_MANIFEST.json": manifest(b"onnx", tar)})
        self.foreign = self.adoptable(files["other.bin"])
        self.template = {}
        cache = self.dir("first")
        out = self.must(cache, READ, STAGED)
        self.want[STAGED] = out.split()[0]

    def shipped(self):
        """Without a manifest of the zoo: where one ships, it answers for a hub
        that takes 0.7 s, and this machine may."""
        share = self.dir("share")
        catalogues = os.path.join(SRCDIR, "fetch", "catalogues")
        os.mkdir(os.path.join(share, "catalogues"))
        for name in os.listdir(catalogues):
            if name != "onnx.json":
                os.symlink(os.path.join(catalogues, name),
                           os.path.join(share, "catalogues", name))
        os.symlink(os.path.join(SRCDIR, "stage", "blueprints"),
                   os.path.join(share, "blueprints"))
        return share

    def adoptable(self, data):
        """huggingface_hub's cache with one of the hub's files."""
        top = self.dir("hf")
        repo = os.path.join(top, "models--org--files")
        snap = os.path.join(repo, "snapshots", self.hub.commit("org/files"))
        for d in ("blobs", "refs"):
            os.makedirs(os.path.join(repo, d))
        os.makedirs(snap)
        with open(os.path.join(repo, "blobs", sha(data)), "wb") as f:
            f.write(data)
        os.symlink("../../blobs/" + sha(data),
                   os.path.join(snap, "other.bin"))
        with open(os.path.join(repo, "refs", "main"), "w",
                  encoding="ascii") as f:
            f.write(os.path.basename(snap))
        return top

    def dir(self, name):
        self.count += 1
        path = os.path.join(self.top, f"{name}-{self.count}")
        os.mkdir(path)
        return path

    def env(self, more=None):
        keep = ("PATH", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")
        e = {k: os.environ[k] for k in keep if k in os.environ}
        e.update(HOME=self.home, LC_ALL="C.UTF-8",
                 OMNIHUB_DATADIR=self.share)
        e.update(more or {})
        return e

    def argv(self, cache, cmd, *args):
        keys = {**lib.NOWHERE, **self.hub.endpoints, "cache.dir": cache,
                "fetch.chunk": CHUNK, "fetch.retries": 2,
                "fetch.timeout": 20}
        words = cmd.split()
        out = [OMNIHUB, words[0]] if cmd != READ else [READ]
        for k, v in keys.items():
            out += ["--set", f"{k}={v}"]
        return out + words[1:] + list(args)

    def run(self, cache, cmd, *args, env=None):
        p = subprocess.run(self.argv(cache, cmd, *args), check=False,
                           stdin=subprocess.DEVNULL, capture_output=True,
                           env=self.env(env), timeout=LIMIT, cwd=self.top)
        return p.returncode, p.stdout.decode(), p.stderr.decode()

    def must(self, cache, cmd, *args, env=None):
        code, out, err = self.run(cache, cmd, *args, env=env)
        check(code == 0, cmd, *args, "ended with", code, out[-500:],
              err[-500:])
        return out

    def copy(self, template):
        cache = self.dir("cache")
        subprocess.run(["cp", "-a", template + "/.", cache], check=True)
        return cache

    # ---- what must be true ----------------------------------------------------

    def right(self, cache, paths):
        """Everything can be had, and is right."""
        out = self.must(cache, READ, *paths)
        for line in out.splitlines():
            got, _, path = line.partition(" ")
            check(got == self.want[path], path, "has wrong bytes:", got)
        check(len(out.splitlines()) == len(paths), out)

    def sound(self, cache, name="", alone=True):
        """Nothing is wrong, left over or miscounted once gc has run."""
        objects_right(cache)
        out = self.must(cache, "cache verify")
        check("0 bad" in out, name, out)
        self.must(cache, "cache gc")
        if alone:
            tidy(cache)
        check(used(cache) == counted(cache), name, "usage says", used(cache),
              "and there is", counted(cache))


@contextlib.contextmanager
def somebody(cache):
    """Another process that has the cache open: nobody may start anew."""
    fd = os.open(os.path.join(cache, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.fcntl(fd, OFD_SETLK, struct.pack(
            "hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 1, 0))
        yield
    finally:
        os.close(fd)


def objects_right(cache):
    top = os.path.join(cache, "objects", "sha256")
    for at, _, names in os.walk(top):
        for n in names:
            with open(os.path.join(at, n), "rb") as f:
                got = hashlib.file_digest(f, "sha256").hexdigest()
            check(got == os.path.basename(at) + n, "object", n, "is", got)


def tidy(cache):
    tmp = os.path.join(cache, "tmp")
    check(not os.path.isdir(tmp) or not os.listdir(tmp), "left in tmp/:",
          os.path.isdir(tmp) and os.listdir(tmp))
    for at, dirs, names in os.walk(cache):
        for n in names + dirs:
            check(not n.startswith(".tmp-"), "left:", at, n)


def used(cache):
    usage = os.path.join(cache, "usage")
    if not os.path.exists(usage) or os.path.getsize(usage) < 16:
        return 0
    with open(usage, "rb") as f:
        return struct.unpack("<QQ", f.read(16))[1] & ~LEAVING


def counted(cache):
    total = 0
    for room in ("objects", "recipes"):
        for at, _, names in os.walk(os.path.join(cache, room)):
            total += sum(os.lstat(os.path.join(at, n)).st_size for n in names)
    top = os.path.join(cache, "partial")
    for key in os.listdir(top) if os.path.isdir(top) else ():
        if not os.path.exists(os.path.join(top, key, "data")):
            continue
        with open(os.path.join(top, key, "map"), "rb") as f:
            m = f.read()
        _, _, chunk, size, *_ = HEAD.unpack_from(m)
        for i, (h,) in enumerate(struct.iter_unpack("<Q", m[4096:])):
            if h:
                total += min(chunk, size - i * chunk)
    return total
