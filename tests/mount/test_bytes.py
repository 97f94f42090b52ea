"""How many bytes move, and that they are the right ones."""
import json
import mmap
import os
import random
import subprocess
import threading

import lib
from lib import MIB, check, equal, figure, read

REPO = "org/bulky"


def listing_is_cheap(rig, hub, m):
    before = hub.sent()
    rig.run("ls", "-lR", m.hf(REPO))
    size = os.stat(m.hf(REPO, "pytorch/model.onnx")).st_size
    figure("bytes moved by ls -lR and stat", hub.sent() - before, "bytes",
           MIB)
    return size


def start_is_cheap(hub, m, size):
    before = hub.sent()
    head = read(m.hf(REPO, "pytorch/model.onnx"), 65536)
    equal(len(head), 65536)
    figure("bytes moved by the first 64 KiB", hub.sent() - before, "bytes",
           2 * MIB)
    cached = int(lib.xattr(m.hf(REPO, "pytorch/model.onnx"), "cached_bytes"))
    figure("cached_bytes then", cached, "bytes")
    check(65536 <= cached < size, f"cached_bytes {cached} of {size}")
    equal(lib.xattr(m.hf(REPO, "pytorch/model.onnx"), "state"), "partial")
    return head


def many_readers(hub, m, size):
    """64 at once, each the whole file, starting anywhere."""
    path = m.hf(REPO, "pytorch/model.onnx")
    got, before = [None] * 64, hub.sent()

    def reader(i):
        start = random.Random(i).randrange(size // MIB) * MIB if i % 2 else 0
        tail = read(path, off=start)
        got[i] = lib.hashlib.sha256(
            read(path, start) + tail if start < 4 * MIB else
            b"".join(read(path, min(MIB, start - o), o)
                     for o in range(0, start, MIB)) + tail).hexdigest()

    threads = [threading.Thread(target=reader, args=(i,)) for i in range(64)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(len(set(got)), 1, "readers disagree")
    moved = hub.sent() - before
    figure("64 readers: bytes moved / size", moved / size, "", 1.05)
    return got[0]


def second_mount(rig, hub, m, sha, size):
    cache = m.cache
    equal(lib.xattr(m.hf(REPO, "pytorch/model.onnx"), "cached_bytes"),
          str(size), "cached_bytes of the whole file")
    m.stop()
    before = hub.content()
    m = rig.mount(hub, cache=cache)
    equal(lib.digest(m.hf(REPO, "pytorch/model.onnx")), sha)
    figure("requests for content by a second mount", hub.content() - before,
           "", 0)
    return m


def usage(rig, hub, m, size):
    """omnihub du, with and without the mount."""
    args = ["--cache", m.cache, "--set", "huggingface.endpoint=" + hub.url]
    out = rig.run(lib.OMNIHUB, "du", "--json", *args,
                  m.hf(REPO, "pytorch/model.onnx"))
    text = json.dumps(json.loads(out))
    check(str(size) in text, "du:", out)


def archives(rig, hub):
    """tar -S and cp --sparse read files that are not here yet."""
    want = read(os.path.join(hub.root, REPO, "main/model.safetensors"))
    m = rig.mount(hub)
    top = m.hf(REPO)
    out = rig.dir("out")
    rig.run("tar", "-S", "-C", top, "-cf", out + "/t.tar",
            "model.safetensors", "pytorch/model.onnx")
    rig.run("tar", "-C", out, "-xf", out + "/t.tar")
    equal(read(out + "/model.safetensors") == want, True, "tar -S")
    staged = lib.digest(out + "/pytorch/model.onnx")
    m.stop()
    m = rig.mount(hub)
    top = m.hf(REPO)
    for n in ("model.safetensors", "pytorch/model.onnx"):
        rig.run("cp", "--sparse=always", os.path.join(top, n), out + "/copy")
        equal(lib.digest(out + "/copy"),
              lib.digest(os.path.join(out, n)), "cp --sparse " + n)
    m.stop()
    return staged


def anywhere(rig, hub, sha):
    """Random reads of a cold file, by pread and by mmap."""
    m = rig.mount(hub)
    path = m.hf(REPO, "model.safetensors")
    want = read(os.path.join(hub.root, REPO, "main/model.safetensors"))
    rnd, size = random.Random(1), len(want)
    for _ in range(60):
        off = rnd.randrange(size)
        n = rnd.randrange(1, 200000)
        equal(read(path, n, off) == want[off:off + n], True,
              f"{n} bytes at {off}")
    equal(read(path, 100, size), b"", "at the end")
    equal(read(path, 100, size - 3), want[-3:], "over the end")
    with open(path, "rb") as f, mmap.mmap(
            f.fileno(), 0, prot=mmap.PROT_READ) as mm:
        for _ in range(40):
            off = rnd.randrange(size)
            equal(mm[off:off + 5000], want[off:off + 5000], f"mmap {off}")
    p = subprocess.run(["cmp", path, os.path.join(
        hub.root, REPO, "main/model.safetensors")], check=False)
    equal(p.returncode, 0, "cmp")
    equal(lib.digest(m.hf(REPO, "pytorch/model.onnx")), sha)
    m.stop()


def run(rig):
    hub = rig.hub({REPO: {"main": lib.bulky_bert(24)}})
    m = rig.mount(hub)
    size = listing_is_cheap(rig, hub, m)
    figure("pytorch/model.onnx", size, "bytes")
    head = start_is_cheap(hub, m, size)
    sha = many_readers(hub, m, size)
    equal(read(m.hf(REPO, "pytorch/model.onnx"), 65536), head)
    m = second_mount(rig, hub, m, sha, size)
    usage(rig, hub, m, size)
    m.stop()
    equal(archives(rig, hub), sha, "tar -S of the staged file")
    anywhere(rig, hub, sha)


lib.main(run)
