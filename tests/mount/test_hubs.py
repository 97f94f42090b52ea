"""Every hub: its names, sizes before a byte was read, its very bytes; how few
questions that takes, and what is known when the hub is gone."""
import errno
import json
import os
import subprocess
import time

import lib
from lib import check, equal, figure, raises, read

KIB = 1024


def of(name, kib=40):
    return lib.noise(name, kib * KIB + len(name))


REPO = {"branches": {"main": "t1", "dev": "t2"}, "tags": {"v1": "t2"}}
# Below .hosts of the server.
FILES = {
    "torchserve/mar_files/alexnet.mar": of("alexnet.mar"),
    "kaggle/ann/flowers/tensorFlow2/small/1/saved_model.pb": of("k1"),
    "kaggle/ann/flowers/tensorFlow2/small/1/variables/variables.index":
        of("k1i", 1),
    "kaggle/ann/flowers/tensorFlow2/small/2/saved_model.pb": of("k2"),
    "kaggle/ann/flowers/pyTorch/large/7/model.pth": of("k7"),
    "tfhub/handles.json": json.dumps({
        "ann/deep/flowers": "ann/flowers/tensorFlow2/small",
        "ann/deep/flowers/1": "ann/flowers/tensorFlow2/small/1",
        "ann/deep/flowers/2": "ann/flowers/tensorFlow2/small/2",
        "ann/gone/1": None}).encode(),
    "github/acme/nets/repo.json": json.dumps(REPO).encode(),
    "github/acme/nets/t1/hubconf.py": b"dependencies = []\n",
    "github/acme/nets/t1/deep/er.txt": of("er", 2),
    "github/acme/nets/t2/hubconf.py": b"dependencies = ['torch']\n",
}
TIMM = {"timm/resnet18.a1_in1k": {"main": {"config.json": b"{}\n",
                                           "model.bin": of("timm")}},
        "org/many": {"main": {f"f{i:04}.bin": b"%d" % i
                              for i in range(1000)}}}
FLOWERS = "kaggle/ann/flowers/tensorFlow2/small"


def first_without_digest(kind):
    """(model, bucket and object, name) of a catalogue's row."""
    with open(os.path.join(lib.SRCDIR, "fetch", "catalogues",
                           kind + ".tsv"), encoding="utf-8") as f:
        rows = [r.rstrip("\n").split("\t") for r in f
                if not r.startswith("#")]
    model, url, digest = (rows[0].index(c) for c in ("model", "url",
                                                     "digest"))
    for r in rows[1:]:
        if r[digest] == "-":
            return r[model], r[url].split("/", 3)[3], \
                r[url].rpartition("/")[2]
    raise lib.Wrong(f"{kind}: every row has a digest")


def make(rig):
    """The hub, and what is expected: {path in the mount: bytes}."""
    files, want = dict(FILES), {}
    for kind, host, place in (("torchvision", "torchvision",
                               "pytorch/torchvision"),
                              ("keras", "storage", "keras")):
        model, below, name = first_without_digest(kind)
        files[f"{host}/{below}"] = of(name)
        want[f"{place}/{model}/{name}"] = of(name)
    want["pytorch/torchserve/alexnet.mar"] = of("alexnet.mar")
    for v, n in ((1, "k1"), (2, "k2")):
        want[f"{FLOWERS}/{v}/saved_model.pb"] = of(n)
    want[f"{FLOWERS}/1/variables/variables.index"] = of("k1i", 1)
    want[f"{FLOWERS}/saved_model.pb"] = of("k2")
    want["kaggle/ann/flowers/pyTorch/large/7/model.pth"] = of("k7")
    want["tensorflow/ann/deep/flowers/1/saved_model.pb"] = of("k1")
    want["tensorflow/ann/deep/flowers/saved_model.pb"] = of("k2")
    want["tensorflow/ann/deep/flowers/1/variables/variables.index"] = \
        of("k1i", 1)
    hub = "pytorch/hub/acme/nets"
    want[f"{hub}/hubconf.py"] = FILES["github/acme/nets/t1/hubconf.py"]
    want[f"{hub}/deep/er.txt"] = of("er", 2)
    for ref in ("v1", "dev"):
        want[f"{hub}@{ref}/hubconf.py"] = \
            FILES["github/acme/nets/t2/hubconf.py"]
    want["pytorch/timm/resnet18.a1_in1k/model.bin"] = of("timm")
    return want, rig.hub(TIMM, hosts=("static", "kaggle", "tfhub", "github"),
                         files=files)


def requests(hub):
    return sum(s["requests"] for s in hub.ctl()["stats"].values())


def fresh(m, hub):
    """What a walk over a fresh mount costs; tools that look for junk."""
    before = requests(hub)
    out = subprocess.run(["find", m.at, "-maxdepth", "3"], check=False,
                         capture_output=True, text=True, timeout=40)
    for p in ("pytorch/torchvision/alexnet", "keras/Xception",
              "pytorch/torchserve/alexnet.mar", "pytorch/timm",
              "pytorch/timm/resnet18.a1_in1k"):
        check(m.path(p) in out.stdout.split("\n"), p, "is not found")
    figure("find -maxdepth 3", requests(hub) - before, "requests", 12)
    before = requests(hub)
    for d in ("", "pytorch", "pytorch/hub", "kaggle", "kaggle/ann",
              "kaggle/ann/flowers", FLOWERS, "pytorch/timm"):
        for junk in (".git", "autorun.inf", ".Trash-1000", ".hidden"):
            with raises(errno.ENOENT):
                os.stat(m.path(d, junk))
    equal(requests(hub) - before, 0, "requests for junk")


def same_bytes(m, hub, want):
    for path, data in want.items():
        got = os.stat(m.path(path))
        equal(got.st_size, len(data), f"size of {path}")
        equal(hub.content(), same_bytes.content, f"{path}: content for stat")
        equal(read(m.path(path)), data, path)
        same_bytes.content = hub.content()
        hub_name = lib.xattr(m.path(path), "hub")
        check(path.startswith(hub_name) or hub_name == "huggingface", path,
              "is of hub", hub_name)
        check(lib.xattr(m.path(path), "url").startswith("http://127."),
              "url of", path)
        equal(lib.xattr(m.path(path), "cached_bytes"), str(len(data)), path)


def names(m):
    at = m.path(FLOWERS)
    equal(sorted(os.listdir(at)),
          ["1", "1.tar.gz", "2", "2.tar.gz", "saved_model.pb"], FLOWERS)
    check({"1", "1.tar.gz", "saved_model.pb"} <= set(os.listdir(m.path(
        "tensorflow/ann/deep/flowers"))), "a handle shows its versions")
    equal(os.listdir(m.path("tensorflow/ann/deep")), ["flowers"], "touched")
    equal(os.listdir(m.path("kaggle/ann")), ["flowers"], "of ann")
    equal(sorted(os.listdir(m.path("kaggle/ann/flowers"))),
          ["pyTorch", "tensorFlow2"], "frameworks")
    equal(os.listdir(m.path("kaggle")), ["ann"], "what was touched")
    equal(os.listdir(m.path("pytorch/hub")), ["acme"], "what was touched")
    for bad in (f"{FLOWERS}/3", f"{FLOWERS}/3.tar.gz", f"{FLOWERS}/none",
                "tensorflow/ann/gone/1", "tensorflow/ann/gone",
                "tensorflow/ann/deep/flowers/3", "tensorflow/ann/none",
                "tensorflow/ann/deep/flowers/none",
                "kaggle/ann/none", "kaggle/nobody", "kaggle/ann/flowers/onnx",
                "kaggle/ann/flowers/tensorFlow2/small/1/none",
                "pytorch/hub/acme/none", "pytorch/hub/acme/nets@none",
                "pytorch/hub/nobody", "pytorch/timm/none", "pytorch/none",
                "keras/none", "pytorch/torchvision/alexnet/none"):
        with raises(errno.ENOENT):
            os.stat(m.path(bad))
    equal(os.stat(m.path("pytorch/timm/resnet18.a1_in1k/config.json")).st_mtime,
          os.stat(m.hf("timm/resnet18.a1_in1k/config.json")).st_mtime)


def walking(rig, hub):
    """A prefix of handles costs nothing, a version what it takes."""
    m = rig.mount(hub)
    os.stat(m.path("huggingface"))
    before = requests(hub)
    read(m.path("tensorflow/ann/deep/flowers/2/saved_model.pb"))
    figure("cat of a handle's file", requests(hub) - before, "requests", 8)
    before = requests(hub)
    with raises(errno.ENOENT):
        os.stat(m.path("tensorflow/ann/prefix"))
    with raises(errno.ENOENT):
        os.stat(m.path("tensorflow/ann/prefix"))
    figure("stat of no handle", requests(hub) - before, "requests", 2)
    m.stop()


def packed(m):
    """VERSION.tar.gz is what is in VERSION."""
    with open(m.path(FLOWERS, "1.tar.gz"), "rb") as f:
        out = subprocess.run(["tar", "tzf", "-"], stdin=f, check=True,
                             capture_output=True, text=True, timeout=30)
    check("saved_model.pb" in out.stdout, out.stdout)
    size = os.stat(m.path(FLOWERS, "1.tar.gz")).st_size
    equal(len(read(m.path(FLOWERS, "1.tar.gz"))), size, "size of 1.tar.gz")


def many(m, hub):
    """A directory of a thousand files is one listing, page by page."""
    os.stat(m.hf("org/many"))
    before = requests(hub)
    with os.scandir(m.hf("org/many")) as it:
        sizes = [e.stat().st_size for e in it]
    equal(len(sizes), 1000)
    figure("ls -l of 1000 files", requests(hub) - before, "requests", 2)


def offline(rig, m, hub, want):
    """What was measured and read needs no hub."""
    m.stop()
    hub.stop()
    m = rig.mount(hub, "--offline", cache=m.cache)
    for path, data in want.items():
        equal(os.stat(m.path(path)).st_size, len(data), f"offline: {path}")
        equal(read(m.path(path)), data, f"offline: {path}")
    start = time.monotonic()
    with raises(errno.EHOSTUNREACH):
        os.stat(m.path("keras/Xception/"
                       "xception_weights_tf_dim_ordering_tf_kernels.h5"))
    check("switched off" in read(m.path(".omnihub/errors")).decode(),
          "the reason is not among the errors")
    check(time.monotonic() - start < 5, "it took long to say so")
    m.stop()


def run(rig):
    want, hub = make(rig)
    m = rig.mount(hub)
    fresh(m, hub)
    same_bytes.content = hub.content()
    same_bytes(m, hub, want)
    names(m)
    packed(m)
    many(m, hub)
    walking(rig, hub)
    offline(rig, m, hub, want)


lib.main(run)
