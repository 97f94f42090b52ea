"""Programs that people use on files, on cold ones; and every order in which
an inode's ways of being open can follow each other."""
import os
import subprocess

import lib
from lib import MIB, check, equal, read

REPO = "org/tools"
STAGED = "pytorch/model.onnx"
# Each writes the file's bytes to standard output.
WHOLE = [
    ["cat", "%s"], ["dd", "if=%s", "bs=7777"], ["dd", "if=%s", "bs=1M"],
    ["dd", "if=%s", "bs=1M", "iflag=direct"], ["head", "-c", "999999999", "%s"],
    ["tail", "-c", "+1", "%s"], ["sed", "-n", "p", "%s"],
    ["python3", "-c", "import os, sys; f = open(sys.argv[1], 'rb')\n"
     "while os.sendfile(1, f.fileno(), None, 1 << 20): pass", "%s"],
    ["python3", "-c", "import mmap, sys; f = open(sys.argv[1], 'rb'); "
     "sys.stdout.buffer.write(mmap.mmap(f.fileno(), 0, prot=1))", "%s"],
    ["curl", "-s", "file://%s"],
]


def whole(rig, hub, want):
    """A new cache for each: cold from the first byte."""
    for argv in WHOLE:
        if not lib.shutil.which(argv[0]):
            continue
        m = rig.mount(hub)
        for n in ("model.safetensors", STAGED):
            p = subprocess.run([a.replace("%s", m.hf(REPO, n))
                                for a in argv], capture_output=True,
                               check=False, timeout=30)
            equal((p.returncode, p.stdout == want[n]), (0, True),
                  f"{argv} {n}: {p.stderr[:300]}")
        m.stop()


def copies(rig, hub, want):
    m = rig.mount(hub)
    out = rig.dir("out")
    rig.run("cp", "-r", m.hf(REPO), out + "/cp")
    for n, data in want.items():
        equal(read(os.path.join(out, "cp", n)) == data, True, "cp -r " + n)
    if lib.shutil.which("git"):
        size = len(want["config.json"])
        got = rig.run("git", "hash-object", m.hf(REPO, "config.json"))
        equal(got.strip(), lib.hashlib.sha1(
            b"blob %d\0" % size + want["config.json"]).hexdigest())
    got = rig.run("wc", "-c", m.hf(REPO, STAGED)).split()[0]
    equal(int(got), len(want[STAGED]))
    got = rig.run("find", m.hf(REPO), "-type", "f", "-size", "+0")
    check(m.hf(REPO, STAGED) in got.splitlines(), got)
    m.stop()


def open_states(rig, hub, want):
    """Cold, whole, whole and passed through: all at once and in turn."""
    m = rig.mount(hub)
    for n in ("model.safetensors", STAGED):
        path, data = m.hf(REPO, n), want[n]
        cold = os.open(path, os.O_RDONLY)
        equal(os.pread(cold, 5000, 100), data[100:5100])
        equal(read(path) == data, True, "whole beside a cold handle")
        lib.until(lambda p=path: lib.xattr(p, "state") == "verified", 10,
                  "the verdict")
        late = os.open(path, os.O_RDONLY)
        for fd in (cold, late, cold):
            equal(os.pread(fd, MIB, 3 * MIB) == data[3 * MIB:4 * MIB], True,
                  "while both are open")
        os.close(cold)
        equal(os.pread(late, 99, 5 * MIB) == data[5 * MIB:5 * MIB + 99], True)
        os.close(late)
        for _ in range(3):
            with open(path, "rb") as one, open(path, "rb") as two:
                equal(one.read() == data and two.read() == data, True,
                      "opened anew")
    m.stop()


def revision_kept(rig, hub, want):
    """The branch moves: who has the file open stays where he was."""
    m = rig.mount(hub)
    path = m.hf(REPO, "model.safetensors")
    data = want["model.safetensors"]
    with open(path, "rb", buffering=0) as f:
        equal(os.pread(f.fileno(), 1000, 0), data[:1000])
        old = lib.xattr(path, "revision")
        hub.put(REPO, "next", {"config.json": b"{}\n",
                               "model.safetensors": bytes(len(data))})
        with open(os.path.join(hub.root, REPO, "hub.json"), "w",
                  encoding="ascii") as s:
            s.write('{"refs": {"main": "next"}}')
        hub.ctl(reload=True)
        check(hub.commit(REPO) != old, "the branch did not move")
        for off in range(0, len(data), MIB):
            equal(os.pread(f.fileno(), MIB, off) == data[off:off + MIB],
                  True, f"old revision at {off}")
    equal(read(m.hf(f"{REPO}@{old}/model.safetensors")) == data, True,
          "the old commit by its name")
    equal(read(m.hf(f"{REPO}@{hub.commit(REPO)}/config.json")), b"{}\n",
          "the new commit by its name")
    m.stop()


def run(rig):
    files = lib.bulky_bert(12)
    hub = rig.hub({REPO: {"main": files}})
    m = rig.mount(hub)
    want = dict(files)
    want[STAGED] = read(m.hf(REPO, STAGED))
    m.stop()
    whole(rig, hub, want)
    copies(rig, hub, want)
    open_states(rig, hub, want)
    revision_kept(rig, hub, want)


lib.main(run)
