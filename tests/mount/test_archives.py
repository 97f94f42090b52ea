"""What is in archives, through the mount: TorchServe's, made of zip (members
stored and deflated), and the zoo's test data, as tar.gz."""
import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile

import lib
from lib import MIB, check, equal, figure, raises, read

sys.path.insert(0, os.path.join(lib.SRCDIR, "tests", "stage"))
import archives  # noqa: E402

QUICK = ("--set", "fetch.retries=2", "--set", "fetch.timeout=5")
STEM = "mnist-8"
TOP = "validated/vision/classification/mnist/model/"
BIG = 24 * MIB


def sha(data):
    return hashlib.sha256(data).hexdigest()


def zipped(files, how):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as z:
        for path, data in files.items():
            z.writestr(path, data)
    return out.getvalue()


def tarred(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as t:
        for path, data in files.items():
            info = tarfile.TarInfo("./" + path)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


MAR = {"MAR-INF/MANIFEST.json": b'{"model": {"modelName": "alexnet"}}',
       "alexnet.pth": lib.noise("weights", 9 * MIB),
       "index_to_name.json": b'{"0": "cat"}\n' * 3000}
DATA = {"test_data_set_0/input_0.pb": lib.noise("in", 300000),
        "test_data_set_0/output_0.pb": b"\0" * 4000, "mnist-8.onnx": b"onnx"}
ROWS = []
CROWD = {f"f{n}": b"%d" % n if n % 2 else b"" for n in range(6000)}
LARGE = {"a/large.bin": lib.noise("large", BIG), "b/small": b"small"}


def make(rig):
    hostile = archives.make()
    data, model = tarred(DATA), lib.noise("model", 10000)
    large, crowd = tarred(LARGE), tarred(CROWD)
    rows = ROWS
    for stem, tar in ((STEM, data), ("large-1", large),
                      ("crowd-1", crowd)):
        rows.append({
            "model": stem, "model_path": f"{TOP}{stem}.onnx",
            "onnx_version": "1.3", "opset_version": 8, "metadata": {
                "model_sha": sha(model), "model_bytes": len(model),
                "tags": [], "io_ports": {"inputs": [], "outputs": []},
                "model_with_data_path": f"{TOP}{stem}.tar.gz",
                "model_with_data_sha": sha(tar),
                "model_with_data_bytes": len(tar)}})
    files = {
        "torchserve/mar_files/alexnet.mar":
            zipped(MAR, zipfile.ZIP_DEFLATED),
        "torchserve/mar_files/densenet161.mar":
            zipped(MAR, zipfile.ZIP_STORED),
        "torchserve/mar_files/vgg16.mar": hostile["good-zip-names"][0],
        "torchserve/mar_files/resnet-18.mar": hostile["good-zip-lies"][0],
        "torchserve/mar_files/mnist_v2.mar": hostile["bad-zip-cut"][0],
        "zoo/ONNX_HUB_MANIFEST.json": json.dumps(rows).encode(),
    }
    legacy = {f"{TOP}{STEM}.onnx": model, f"{TOP}{STEM}.tar.gz": data,
              f"{TOP}large-1.tar.gz": large,
              f"{TOP}crowd-1.tar.gz": crowd}
    return rig.hub({"onnxmodelzoo/legacy_models": {"main": legacy}},
                   hosts=("static", "zoo"), files=files)


def served(m, *parts):
    return m.path("pytorch", "torchserve", *parts)


def fail(error):
    raise error


def same(top, files):
    seen = {}
    for where, _, names in os.walk(top, onerror=fail):
        for n in names:
            p = os.path.join(where, n)
            seen[os.path.relpath(p, top)] = os.stat(p).st_size
    for path, data in files.items():
        equal(seen.get(path), len(data), path)
    for path, data in files.items():
        equal(read(os.path.join(top, path)) == data, True, path)


def mar(hub, m):
    """Deflated members are inflated once; the size is right before that."""
    top = served(m, "alexnet")
    same(top, MAR)
    hub.ctl(reset=True)
    p = os.path.join(top, "alexnet.pth")
    equal(lib.xattr(p, "sha256"), sha(MAR["alexnet.pth"]))
    equal(lib.xattr(p, "state"), "verified")
    equal(lib.xattr(p, "sources"), "alexnet.mar")
    equal(lib.xattr(p, "cached_bytes"), str(9 * MIB))
    check(lib.xattr(p, "url").endswith("/mar_files/alexnet.mar"))
    equal(read(p) == MAR["alexnet.pth"], True)
    equal(hub.content(), 0, "requests for what is here")


def stored(hub, m):
    """Of stored members only what is read is fetched."""
    hub.ctl(reset=True)
    top = served(m, "densenet161")
    p = os.path.join(top, "alexnet.pth")
    equal(os.stat(p).st_size, 9 * MIB)
    equal(lib.xattr(p, "state"), "partial")  # its ends came with the list
    equal(read(p, 4096, 5 * MIB), MAR["alexnet.pth"][5 * MIB:5 * MIB + 4096])
    check(hub.sent() < 4 * MIB, "bytes sent", hub.sent())
    equal(lib.xattr(p, "state"), "partial")
    same(top, MAR)
    equal(lib.xattr(p, "state"), "cached")


def crowded(hub, m):
    """Of very many members a part is kept at once: ls need not wait until each
    is safely on the disk. The others come when they are opened."""
    before = objects(m.cache)
    top = m.path("onnx", TOP + "crowd-1")
    equal(len(os.listdir(top)), len(CROWD))
    figure("objects made by ls", objects(m.cache) - before, "", 300)
    hub.ctl(reset=True)
    for n in (0, 2999, 3001, 5999):
        p = os.path.join(top, f"f{n}")
        equal(os.stat(p).st_size, len(CROWD[f"f{n}"]), p)
        equal(read(p), CROWD[f"f{n}"], p)
    equal(hub.content(), 0)


def objects(cache):
    return sum(len(names) for _, _, names in
               os.walk(os.path.join(cache, "objects")))


def hostile(hub, m):
    top = served(m, "vgg16")
    equal(sorted(os.listdir(top)), ["file", "ok"])
    equal(read(os.path.join(top, "ok")), b"10")
    errors = read(m.path(".omnihub", "errors")).decode()
    for say in ("vgg16.mar/../up: not a name", "vgg16.mar//abs",
                "comes twice", "below a member that is a file"):
        check(say.split(": ")[-1] in errors, say, errors)
    top = served(m, "resnet-18")
    for name in ("crc", "cut", "header", "longer", "more", "other",
                 "shorter"):
        with raises(errno.EIO):
            read(os.path.join(top, name))
        why = lib.xattr(os.path.join(top, name), "error")
        check(why.startswith(f"{name} in resnet-18.mar: "), why)
    with raises(errno.EIO):
        os.listdir(served(m, "mnist_v2"))
    check("cut short" in read(m.path(".omnihub", "errors")).decode())
    with raises(errno.ENOENT):
        os.listdir(served(m, "none"))


def tar(hub, m):
    """Listed in one pass, which also unpacks it."""
    hub.ctl(reset=True)
    top = m.path("onnx", TOP + STEM)
    same(top, DATA)
    equal(len([r for r in hub.log() if r["path"].endswith(".tar.gz")]), 1)
    hub.ctl(reset=True)
    p = os.path.join(top, "test_data_set_0", "input_0.pb")
    equal(lib.xattr(p, "sha256"), sha(DATA["test_data_set_0/input_0.pb"]))
    equal(lib.xattr(p, "state"), "verified")
    equal(os.stat(p).st_mtime, os.stat(top).st_mtime)
    equal(hub.content(), 0)


def offline(rig, hub, cache):
    """A second mount needs neither the hub nor the archive's bytes."""
    m = rig.mount(hub, "--offline", cache=cache)
    same(m.path("onnx", TOP + STEM), DATA)
    same(served(m, "alexnet"), MAR)
    m.stop()


def again(rig, hub, m):
    """What was evicted is unpacked again."""
    p = m.path("onnx", TOP + STEM, "test_data_set_0", "output_0.pb")
    rig.run("omnihub", "cache", "gc", "--cache", m.cache, "1K")
    equal(lib.xattr(p, "state"), "remote")
    equal(read(p), DATA["test_data_set_0/output_0.pb"])


def interrupted(rig, hub, m):
    """Ctrl-C ends a listing that waits, and others go on meanwhile. Who waited
    for the stall would wait for a minute."""
    top = m.path("onnx", TOP + "large-1")
    hub.spoil("stall", at=MIB, match=r"large-1\.tar\.gz")
    p = subprocess.Popen(["ls", top], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    lib.until(lambda: hub.ctl()["rules"][0]["hits"], 20, "the stall")
    with lib.timed("reading another while one stalls", 20):
        equal(read(served(m, "densenet161", "index_to_name.json")) ==
              MAR["index_to_name.json"], True)
    equal(p.poll(), None, "the one that stalls has ended before")
    p.send_signal(signal.SIGINT)
    with lib.timed("Ctrl-C", 20):
        equal(p.wait(30), -signal.SIGINT)
    hub.clear()


def killed(rig, hub):
    """Two daemons unpack one archive, one is killed: the other's bytes are
    right, and what is left of it goes with gc."""
    cache = rig.dir("shared")
    one = rig.mount(hub, *QUICK, cache=cache)
    two = rig.mount(hub, *QUICK, cache=cache)
    hub.spoil("drip", rate=8 * MIB, match=r"large-1\.tar\.gz")
    readers = [subprocess.Popen(["ls", x.path("onnx", TOP + "large-1")],
                                stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
               for x in (one, two)]
    tmp = os.path.join(cache, "tmp")
    lib.until(lambda: any(n.startswith("put-") for n in os.listdir(tmp)),
              what="a member that is being unpacked")
    one.kill()
    hub.clear()
    for r in readers:
        r.wait(60)
    same(two.path("onnx", TOP + "large-1"), LARGE)
    rig.run("omnihub", "cache", "gc", "--cache", cache, "1G")
    equal([n for n in os.listdir(tmp) if n.startswith("put-")], [])
    rig.run("omnihub", "cache", "verify", "--cache", cache)
    two.stop()


def command(rig, m):
    """The command line sees members as files, mounted or not. It is told of
    the same hubs: once its answers are old, another zoo's are not used."""
    where = ("--offline", "--cache", m.cache, *m.args)
    at = f"onnx/{TOP}{STEM}"
    one = at + "/test_data_set_0/input_0.pb"
    check("test_data_set_0" in rig.run("omnihub", "ls", *where, at))
    info = rig.run("omnihub", "info", *where, one)
    check("verified" in info and sha(DATA["test_data_set_0/input_0.pb"]) in
          info, info)
    rig.run("omnihub", "get", *where, one)
    rig.run("omnihub", "get", *where, at)
    out = rig.run("omnihub", "du", "--json", *where, at)
    check(str(sum(len(d) for d in DATA.values())) in out, out)
    # Beside its archive it is not counted again.
    out = rig.run("omnihub", "du", "--json", *where, "onnx")
    want = sum(r["metadata"]["model_bytes"] +
               r["metadata"]["model_with_data_bytes"] for r in ROWS)
    check(str(want) in out, want, out)


def run(rig):
    hub = make(rig)
    m = rig.mount(hub, *QUICK)
    mar(hub, m)
    stored(hub, m)
    tar(hub, m)
    crowded(hub, m)
    hostile(hub, m)
    m.stop()
    offline(rig, hub, m.cache)
    command(rig, m)
    m = rig.mount(hub, "--set", "fetch.timeout=60", cache=m.cache)
    again(rig, hub, m)
    interrupted(rig, hub, m)
    m.kill()
    killed(rig, hub)
    hub.stop()


lib.main(run, 110)
