"""The hubs of static files: sizes before the first read, the very bytes,
wrong ones refused, taken up after a kill, and read without a network."""
import errno
import hashlib
import json
import os
import subprocess
import sys
import threading

import lib
from lib import MIB, SRCDIR, check, equal, raises, read, xattr

sys.path.insert(0, os.path.join(SRCDIR, "contrib", "demo"))
import static as demo  # noqa: E402
from static_files import (BASE, PLACE, S3, STORE, Files,  # noqa: E402
                          heads, named)

# What is made of one checkpoint.
MADE = (".onnx", "_external.onnx", "_external.onnx_data", "_fp16.onnx",
        "_int8.onnx", "_skeleton.onnx", "_trainable.onnx")


def make(files):
    """One file of each kind, by a short name."""
    p, big = {}, lib.noise("big", 12 * MIB)
    for n, size in (("small", 5000), ("large", 3 * MIB)):
        for hub in BASE:
            data = lib.noise(hub + n, size)
            if hub == "torchvision":
                path, digest = named(n, data)
            else:
                path, digest = f"d/{n}.{hub}", "-"
            model = "-" if hub == "torchserve" else "net"
            p[hub, n] = files.add(hub, model, path, data, digest)
    md5 = hashlib.md5(lib.noise("md5", 70000)).hexdigest()
    p["md5"] = files.add("keras", "net", "d/md5.h5", lib.noise("md5", 70000),
                         "md5:" + md5)
    p["wrong md5"] = files.add("keras", "net", "d/wrong.h5",
                               lib.noise("x", 70000), "md5:" + md5)
    p["wrong sha"] = files.add("torchvision", "net",
                               "models/wrong-00000000.pth",
                               lib.noise("y", 70000), "sha256:00000000")
    p["missing"] = files.add("torchvision", "net", "models/missing.pth", None)
    p["missing too"] = files.add("keras", "net", "d/missing.h5", None)
    p["mirrored"] = files.add("torchserve", "-", "mar_files/only-s3.mar",
                              lib.noise("mar", 40000), store="torchserve-s3")
    data = demo.resnet18((4, 8, 8, 8)).torch_zip()
    path, digest = named("resnet18", data)
    p["resnet18"] = files.add("torchvision", "resnet18", path, data, digest)
    p["quantized"] = files.add("torchvision", "quantized_net",
                               "models/quantized/net.pth", data)
    p["empty"] = files.add("keras", "net", "d/empty.h5", b"")
    path, digest = named("big", big)
    p["big"] = files.add("torchvision", "net", path, big, digest)
    return p


def sizes_and_bytes(rig, hub, files, p):
    m = rig.mount(hub)
    for hub_name in BASE:
        hub.ctl(reset=True)
        os.listdir(m.path(PLACE[hub_name]))
        equal(hub.log(), [], "requests of ls")
        for n in ("small", "large"):
            at = p[hub_name, n]
            want = files.data[at]
            hub.ctl(reset=True)
            equal(os.stat(m.path(at)).st_size, len(want), at)
            equal(heads(hub), ["HEAD"], at)
            equal(xattr(m.path(at), "state"), "remote")
            equal(read(m.path(at)) == want, True, at)
            equal(hub.content() > 0, True)
            # the same question is not asked again
            equal(heads(hub).count("HEAD"), 1)
    for n in ("md5", "empty", "mirrored"):
        equal(os.stat(m.path(p[n])).st_size, len(files.data[p[n]]), n)
        equal(read(m.path(p[n])) == files.data[p[n]], True, n)
    lib.until(lambda: xattr(m.path(p["torchvision", "large"]), "state") ==
              "verified", what="a digest of eight digits compared")
    # that of which nobody has told a digest but the hub
    lib.until(lambda: xattr(m.path(p["keras", "large"]), "state") ==
              "verified", what="x-goog-hash compared")
    for name, words in (("missing", "403"), ("missing too", "HTTP 404")):
        with raises(errno.ENOENT):
            os.stat(m.path(p[name]))
        told = read(m.path(".omnihub/errors")).decode()
        check(words in told, f"{words!r} is not in", told)
    # what is gone does not hide the rest
    out, = json.loads(rig.run(lib.OMNIHUB, "du", "--json", *m.args,
                              "keras/net"))
    net = [d for at, d in files.data.items() if at.startswith("keras/net/")]
    # one is missing, and what would be made of it and of the wrong one
    made = 1 + len(MADE)
    equal(out["unknown"], net.count(None) * (1 + made) + made, "of keras/net")
    equal(out["bytes"], sum(len(d) for d in net if d is not None))
    m.stop()
    return m.cache


def staged(rig, hub, files, p):
    """The same weights as ONNX."""
    m = rig.mount(hub)
    at, data = p["resnet18"], files.data[p["resnet18"]]
    path = m.path(at[:-4] + ".onnx")
    model = read(path)
    equal(len(model), os.stat(path).st_size)
    check(b"pixel_values" in model and b"layer4.1.bn2.running_var" in model)
    first = demo.resnet18((4, 8, 8, 8)).tensors["conv1.weight"][1]
    check(first in data and first in model, "the first weight")
    for name in ("model", "net"):
        path = m.path(f"pytorch/torchvision/quantized_net/{name}.onnx")
        with raises(errno.ENOTSUP):
            read(path)
        check("quantized weights" in xattr(path, "error"))
    m.stop()


def wrong(rig, hub, files, p):
    m = rig.mount(hub, "--set", "fetch.retries=1")
    for n, words in (("wrong sha", "00000000"), ("wrong md5", "MD5")):
        equal(os.stat(m.path(p[n])).st_size, 70000)
        with raises(errno.EIO):
            read(m.path(p[n]))
        check(words in xattr(m.path(p[n]), "error"), n,
              xattr(m.path(p[n]), "error"))
    hub.ctl(set={"goog_md5": False})
    at = p["md5"]
    hub.spoil("flip", offset=7, match="md5.h5")
    with raises(errno.EIO):
        read(m.path(at))
    hub.clear()
    m.stop()
    m = rig.mount(hub)
    hub.spoil("flip", offset=7, match="md5.h5", times=1)
    try:
        data = read(m.path(at))
    except OSError:
        data = read(m.path(at))
    equal(data == files.data[at], True, "healed")
    hub.clear()
    hub.ctl(set={"goog_md5": True})
    m.stop()


def servers(rig, hub, files, p):
    """Who refuses HEAD, tells no length, knows no ranges."""
    at = p["torchvision", "large"]
    for name, s in (("no HEAD", {"static_head": 405}),
                    ("forbidden HEAD", {"static_head": 403}),
                    ("no length", {"static_length": False}),
                    ("no range", {"static_range": False})):
        hub.ctl(set=s)
        m = rig.mount(hub)
        equal(os.stat(m.path(at)).st_size, 3 * MIB, name)
        equal(read(m.path(at)) == files.data[at], True, name)
        m.stop()
        hub.ctl(set={"static_head": 200, "static_length": True,
                     "static_range": True})
    hub.ctl(set={"static_length": False, "static_range": False})
    m = rig.mount(hub)
    with raises(errno.EIO):
        os.stat(m.path(at))
    check("how long" in read(m.path(".omnihub/errors")).decode())
    hub.ctl(set={"static_length": True, "static_range": True})
    m.stop()


def killed(rig, hub, files, p):
    at, want = p["big"], files.data[p["big"]]
    cache, mnt = rig.dir("cache"), rig.dir("mnt")
    before, kept = hub.sent(), 0

    def here(m):
        return int(xattr(m.path(at), "cached_bytes"))

    # So slow that it does not all come while this process does not look.
    hub.spoil("drip", rate=MIB)
    for _ in range(3):
        m = rig.mount(hub, cache=cache, at=mnt)
        c = subprocess.Popen(["cat", m.path(at)], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
        threading.Thread(target=c.stdout.read, daemon=True).start()
        # chunks in flight may be lost, what was here before may not
        check(here(m) >= kept, here(m), "of", kept, "bytes kept")
        lib.until(lambda: here(m) > kept + MIB, what="bytes to come")
        kept = here(m) - MIB
        m.kill()
        c.wait(10)
    hub.clear()
    m = rig.mount(hub, cache=cache, at=mnt)
    check(here(m) >= kept, here(m), "of", kept, "bytes kept")
    equal(read(m.path(at)) == want, True, "after kills")
    lib.figure("moved / size", (hub.sent() - before) / len(want), "", 1.5)
    m.stop()


def offline(rig, hub, files, p, cache):
    hub.ctl(reset=True)
    m = rig.mount(hub, "--offline", cache=cache)
    check("net" in os.listdir(m.path("keras")), "ls without network")
    for hub_name in BASE:
        at = p[hub_name, "large"]
        equal(read(m.path(at)) == files.data[at], True, at)
    with raises(errno.EHOSTUNREACH):
        read(m.path(p["wrong sha"]))
    equal(hub.log(), [], "requests while offline")
    m.stop()


def more_rows(rig, hub, files, p, cache):
    """A catalogue with a row more leaves what is here what it is."""
    at = files.add("torchvision", "net", "models/later.pth", b"later\n")
    hub.fill(files.disk)
    files.write(rig)
    hub.ctl(reload=True, reset=True)
    m = rig.mount(hub, cache=cache)
    old = p["torchvision", "large"]
    equal(read(m.path(old)) == files.data[old], True)
    equal(hub.log(), [], "requests for what is here")
    check("later.pth" in os.listdir(os.path.dirname(m.path(at))))
    equal(read(m.path(at)), b"later\n")
    m.stop()


def replaced(rig, hub, files, p):
    """Another file lies at the address now: bytes of two files are never
    mixed, and once that is seen the new one is read; what is made of it
    follows, and asking the hub again does the same."""
    m = rig.mount(hub)
    old, at = files.data[p["keras", "large"]], p["keras", "large"]
    new = lib.noise("replaced", len(old) + 12345)
    equal(os.stat(m.path(at)).st_size, len(old))
    other = files.add("keras", "net", "d/large.keras", new)
    equal(other, at)
    hub.fill(files.disk)
    hub.ctl(reload=True, reset=True)
    with raises(errno.EIO):
        read(m.path(at))
    equal(os.stat(m.path(at)).st_size, len(new), "once bytes said so")
    rig.run(lib.OMNIHUB, "ls", "--refresh", os.path.dirname(m.path(at)))
    equal(os.stat(m.path(at)).st_size, len(new), "measured again")
    equal(read(m.path(at)) == new, True)
    equal(os.stat(m.path(p["keras", "small"])).st_size, 5000)
    m.stop()


def everything(rig):
    """Each entry of the shipped catalogues is there, under its real
    address."""
    want, disk = {}, {}
    for name, place in PLACE.items():
        path = os.path.join(SRCDIR, "fetch", "catalogues", name + ".tsv")
        with open(path, encoding="ascii") as f:
            lines = [s.rstrip("\n").split("\t") for s in f if s[0] != "#"]
        for row in (dict(zip(lines[0], s)) for s in lines[1:]):
            url = row["url"]
            base = S3 if url.startswith(S3) else BASE[name]
            store = "torchserve-s3" if base == S3 else STORE[name]
            equal(url.startswith(base), True, url)
            at = os.path.join(place, row.get("model", ""),
                              url.rpartition("/")[2])
            want[at] = (store, url[len(base):])
            disk[f"{store}/{url[len(base):]}"] = b"x" * (1 + len(url))
    equal(len(want), 166 + 176 + 29)
    hub = rig.hub({}, hosts=("static",), files=disk)
    m = rig.mount(hub)
    found, staged = set(), set()
    for name, place in PLACE.items():
        for top, dirs, names in os.walk(m.path(place)):
            at = [os.path.relpath(os.path.join(top, n), m.at) for n in names]
            found.update(p for p in at if p in want)
            staged.update(p for p in at if p not in want)
            if name == "torchserve":
                dirs.clear()        # the members of the archives
    equal(hub.log(), [], "requests of find")
    equal(set(want) - found, set(), "not shown")
    weights = {os.path.splitext(p) for p in want}
    stems = {p for p, kind in weights if kind in (".pth", ".h5")}
    models = {p.rpartition("/")[0] for p, kind in weights if kind == ".pth"}
    equal(staged, {p + n for p in stems for n in (".safetensors", *MADE)} |
          {f"{p}/model{n}" for p in models for n in MADE} |
          {f"{p}/weights.safetensors" for p in models}, "staged")
    for at, (store, path) in want.items():
        equal(xattr(m.path(at), "url"), f"{hub.urls[store]}/{path}")
        equal(os.stat(m.path(at)).st_size, len(disk[f"{store}/{path}"]), at)
    equal(xattr(m.path("pytorch/torchvision/resnet50/resnet50-11ad3fa6.pth"),
                "what"), "ResNet50_Weights.IMAGENET1K_V2 (default)")
    m.stop()


def run(rig):
    everything(rig)
    files = Files()
    p = make(files)
    files.write(rig)
    hub = rig.hub({}, hosts=("static",), files=files.disk)
    cache = sizes_and_bytes(rig, hub, files, p)
    offline(rig, hub, files, p, cache)
    more_rows(rig, hub, files, p, cache)
    staged(rig, hub, files, p)
    wrong(rig, hub, files, p)
    servers(rig, hub, files, p)
    killed(rig, hub, files, p)
    replaced(rig, hub, files, p)


lib.main(run, 75)
