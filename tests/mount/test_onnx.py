"""The ONNX zoo: the tree of its manifest, and bytes from wherever they are."""
import errno
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import time

import lib  # first: it finds the modules of the demo
import zoo as demo
from lib import MIB, check, equal, figure, raises, read

QUICK = ("--set", "fetch.retries=1")
TOP = "validated/vision/classification/"
MANIFEST = "zoo/ONNX_HUB_MANIFEST.json"
# model → where its bytes are, of "legacy", "own", "github"
MODELS = {
    "mnist-8": ("legacy", "own", "github"),
    "squeezenet1.0-7": ("own",),
    "resnet50-v1-7": ("github",),
    "vgg16-7": (),
    "large-1": ("legacy",),
    "wrong-1": ("legacy",),
    "moved-1": ("legacy", "github"),
}
PACKED = {"._mnist": b"litter", "mnist/model.onnx": b"model",
          "mnist/test_data_set_0/input_0.pb": lib.noise("input", 70000),
          "mnist/test_data_set_0/output_0.pb": b"output"}
SIZES = {"large-1": 24 * MIB}


def path_of(stem, ext=".onnx"):
    return f"{TOP}{stem.rpartition('-')[0]}/model/{stem}{ext}"


def sha(data):
    return hashlib.sha256(data).hexdigest()


def entry(stem, files):
    model, data = files[path_of(stem)], files[path_of(stem, ".tar.gz")]
    return {
        "model": stem, "model_path": path_of(stem), "onnx_version": "1.3",
        "opset_version": 8, "metadata": {
            "model_sha": sha(model), "model_bytes": len(model),
            "tags": ["vision"], "io_ports": {"inputs": [], "outputs": []},
            "model_with_data_path": path_of(stem, ".tar.gz"),
            "model_with_data_sha": sha(data),
            "model_with_data_bytes": len(data)}}


def manifest(files, stems):
    return json.dumps([entry(s, files) for s in stems], indent=2).encode()


def make(rig):
    files = {}
    for stem in MODELS:
        files[path_of(stem)] = lib.noise(stem, SIZES.get(stem, 300 * 1024))
        files[path_of(stem, ".tar.gz")] = lib.noise(stem + " data", 5000)
    files[path_of("mnist-8", ".tar.gz")] = demo.archive(PACKED)
    at = {"legacy": {}, "github": {MANIFEST: manifest(files, MODELS)}}
    repos = {}
    for stem, places in MODELS.items():
        model, data = path_of(stem), path_of(stem, ".tar.gz")
        if "legacy" in places:
            at["legacy"][model] = files[model]
            at["legacy"][data] = files[data]
        if "github" in places:
            at["github"]["zoo/" + model] = files[model]
            at["github"]["zoo/" + data] = files[data]
        if "own" in places:
            repos["onnxmodelzoo/" + stem] = {"main": {
                stem + ".onnx": files[model]}}
    at["legacy"][path_of("wrong-1")] = lib.noise("others", 300 * 1024)
    repos["onnxmodelzoo/legacy_models"] = {"main": at["legacy"]}
    repos["org/same"] = {"main": {"weights.onnx":
                                  files[path_of("mnist-8")]}}
    return files, rig.hub(repos, hosts=("zoo",), files=at["github"])


def zoo(m, *parts):
    return m.path("onnx", *parts)


def told(path):
    try:
        return lib.xattr(path, "error")
    except OSError:
        return ""


def asked(hub, host):
    return [r for r in hub.log() if r["host"] == host]


def slower(rig):
    """The program is patient for a second and gives up after thirty; what it
    computes meanwhile takes several times as long with a sanitizer."""
    return 3 if rig.sanitized else 1


def know(m):
    """Until the hub's own manifest serves. Where all are busy it may have come
    too late for who asked first: he has what ships, for a second. How often
    that was."""
    n = 0
    while "large" not in os.listdir(zoo(m, TOP)):
        check(n < 30, "the hub's manifest does not come")
        n += 1
        time.sleep(1)
    return n


def knowing(rig, hub, *args, **more):
    m = rig.mount(hub, *args, **more)
    know(m)
    return m


# ---- the tree ------------------------------------------------------------------

def tree(rig, hub, files):
    m = rig.mount(hub, *QUICK)
    hub.ctl(reset=True)
    with lib.timed("ls of a fresh mount", 2.0 * slower(rig)):
        equal(os.listdir(zoo(m)), ["validated"])
    again = know(m)
    seen = {}
    for where, dirs, names in os.walk(zoo(m)):
        # What is in an archive takes the archive to say.
        dirs[:] = [d for d in dirs if d + ".tar.gz" not in names]
        for n in names:
            p = os.path.join(where, n)
            seen[os.path.relpath(p, zoo(m))] = os.stat(p).st_size
    want = {p: len(d) for p, d in files.items()}
    for p, size in want.items():
        equal(seen.get(p), size, p)
    said = [(r["host"], r["path"]) for r in hub.log()]
    equal(set(said), {("zoo-raw", "/onnx/models/main/ONNX_HUB_MANIFEST.json")},
          "requests for the whole tree")
    check(len(said) <= 1 + again, said)
    p = zoo(m, path_of("mnist-8"))
    equal(lib.xattr(p, "hub"), "onnx")
    equal(lib.xattr(p, "sha256"), sha(files[path_of("mnist-8")]))
    equal(lib.xattr(p, "url"), f"{hub.url}/onnxmodelzoo/legacy_models/"
          f"resolve/main/{path_of('mnist-8')}")
    for name in ("none.onnx", "../x", "validated/none"):
        with raises(errno.ENOENT):
            os.stat(zoo(m, name) if ".." not in name else
                    zoo(m, "validated", "x"))
    m.stop()


def everything_real(rig):
    """All that ships is there, with its real address, and no network."""
    m = rig.mount(None, "--offline")
    with open(os.path.join(lib.SRCDIR, "fetch", "catalogues", "onnx.json"),
              "rb") as f:
        rows = json.load(f)
    equal(len(rows), 184)
    with lib.timed("ls with nothing but what ships", 2.0 * slower(rig)):
        os.listdir(zoo(m))
    base = "https://huggingface.co/onnxmodelzoo/legacy_models/resolve/main/"
    for r in rows:
        about = r["metadata"]
        for path, size, digest in (
                (r["model_path"], about["model_bytes"], about["model_sha"]),
                (about["model_with_data_path"],
                 about["model_with_data_bytes"],
                 about["model_with_data_sha"])):
            p = zoo(m, path)
            equal(os.stat(p).st_size, size, path)
            equal(lib.xattr(p, "url"), base + path)
            equal(lib.xattr(p, "sha256"), digest)
    with raises(errno.EHOSTUNREACH):
        read(zoo(m, rows[0]["model_path"]), 10)
    m.stop()


# ---- the bytes -----------------------------------------------------------------

def places(rig, hub, files):
    """Each place in its turn, and nothing asked behind the right one."""
    turns = {"mnist-8": ["hub"], "squeezenet1.0-7": ["hub"],
             "resnet50-v1-7": ["hub", "zoo-media"]}
    m = knowing(rig, hub, *QUICK)
    for stem, hosts in turns.items():
        hub.ctl(reset=True)
        p = zoo(m, path_of(stem))
        equal(read(p) == files[path_of(stem)], True, stem)
        equal(lib.xattr(p, "state"), "verified", stem)
        used = {r["host"] for r in hub.log()} - {"cdn", "zoo-raw"}
        equal(sorted(used), sorted(hosts), stem)
    first = [r["path"] for r in asked(hub, "hub")]
    equal(first[:2], [
        f"/onnxmodelzoo/legacy_models/resolve/main/"
        f"{path_of('resnet50-v1-7')}",
        "/onnxmodelzoo/resnet50-v1-7/resolve/main/resnet50-v1-7.onnx"])
    # an archive has no repository of its own
    hub.ctl(reset=True)
    p = path_of("resnet50-v1-7", ".tar.gz")
    equal(read(zoo(m, p)) == files[p], True, p)
    equal(len(asked(hub, "hub")), 1)
    # no place has it
    hub.ctl(reset=True)
    p = zoo(m, path_of("vgg16-7"))
    with raises(errno.ENOENT):
        read(p)
    check("none of 4 places" in told(p), told(p))
    equal([r["host"] for r in hub.log()],
          ["hub", "hub", "zoo-media", "zoo-lfs"])
    # the same bytes of another hub are the same object
    hub.ctl(reset=True)
    equal(read(m.hf("org/same/weights.onnx")) == files[path_of("mnist-8")],
          True)
    equal(hub.content(), 0, "requests for bytes that are here")
    m.stop()


def unpacked(rig, hub):
    """What is in an archive stands beside it, without the directory that it
    was packed in; the archive comes once."""
    m = knowing(rig, hub, *QUICK)
    top = zoo(m, path_of("mnist-8", ""))
    hub.ctl(reset=True)
    equal(sorted(os.listdir(top)), ["._mnist", "model.onnx",
                                    "test_data_set_0"])
    for name, data in PACKED.items():
        p = os.path.join(top, name.removeprefix("mnist/"))
        equal(os.stat(p).st_size, len(data), name)
        equal(read(p) == data, True, name)
    with raises(errno.ENOENT):
        os.stat(os.path.join(top, "mnist"))
    equal(sum(r["content"] for r in hub.log()), 1, "requests for bytes")
    top = zoo(m, path_of("wrong-1", ""))
    with raises(errno.EIO):
        os.listdir(top)
    m.stop()


def lfs(rig, hub, files):
    path = path_of("resnet50-v1-7")
    for media in ("gone", "pointer", "pointer-chunked"):
        for how in ({}, {"zoo_lfs_expires": "at"},
                    {"zoo_lfs_expires": "none", "zoo_lfs_header": False}):
            hub.ctl(set={"zoo_media": media, **how})
            m = knowing(rig, hub, *QUICK)
            hub.ctl(reset=True)
            equal(read(zoo(m, path)) == files[path], True, media)
            check(asked(hub, "zoo-store"), "the store was not asked")
            m.stop()
            hub.ctl(set={"zoo_lfs_expires": "in", "zoo_lfs_header": True})
    # addresses that live for a moment
    hub.ctl(set={"zoo_media": "gone", "zoo_lfs_seconds": 1})
    m = knowing(rig, hub, *QUICK)
    with open(zoo(m, path), "rb", buffering=0) as f:
        equal(os.pread(f.fileno(), 4096, 0), files[path][:4096])
        time.sleep(1.2)
        equal(os.pread(f.fileno(), 4096, 200 * 1024),
              files[path][200 * 1024:204 * 1024])
    m.stop()
    hub.ctl(set={"zoo_lfs_seconds": 3600})
    # refusals, each in words
    for mode, media, code, words in (
            ("quota", "gone", errno.EACCES, "over its data quota"),
            ("quota", "pointer", errno.EIO, "bytes there; the hub"),
            ("quota", "pointer-chunked", errno.EIO, "LFS pointer"),
            ("gone", "gone", errno.ENOENT, "does not exist on the server"),
            ("off", "gone", errno.ENOENT, "HTTP 404")):
        hub.ctl(set={"zoo_lfs": mode, "zoo_media": media})
        m = knowing(rig, hub, *QUICK)
        with raises(code):
            read(zoo(m, path))
        if mode != "gone":
            check(words in told(zoo(m, path)), mode, media,
                  told(zoo(m, path)))
        m.stop()
    hub.ctl(set={"zoo_lfs": "ok", "zoo_media": "bytes"})


def wrong(rig, hub, files):
    """Other bytes of the right size: seen at Hugging Face before a byte is
    taken, elsewhere by the digest."""
    m = knowing(rig, hub, *QUICK)
    hub.ctl(reset=True)
    p = zoo(m, path_of("wrong-1"))
    with raises(errno.EIO):
        read(p)
    check("another file lies there" in told(p), told(p))
    equal(hub.content(), 0, "bytes of another file were asked for")
    good = files[path_of("resnet50-v1-7")]
    hub.fill({"zoo/" + path_of("resnet50-v1-7"): good[:-1] + b"\0"})
    hub.ctl(reload=True)
    p = zoo(m, path_of("resnet50-v1-7"))
    with raises(errno.EIO):
        read(p)
        read(p)
    check("bytes have sha256" in told(p), told(p))
    hub.fill({"zoo/" + path_of("resnet50-v1-7"): good})
    hub.ctl(reload=True)
    m.stop()
    # spoilt on its way from the first place: the second time from the next
    m = knowing(rig, hub, *QUICK)
    hub.spoil("flip", offset=70007, host="cdn")
    path = path_of("moved-1")
    equal(read(zoo(m, path)) == files[path], True, "from the next place")
    equal(lib.xattr(zoo(m, path), "state"), "verified")
    hub.clear()
    m.stop()


def branch_moves(rig, hub, files):
    """Between two ranges another file takes the place; it goes on elsewhere
    with the right one."""
    path = path_of("moved-1")
    m = knowing(rig, hub, *QUICK)
    with open(zoo(m, path), "rb", buffering=0) as f:
        equal(os.pread(f.fileno(), 4096, 0), files[path][:4096])
        hub.put("onnxmodelzoo/legacy_models", "main",
                {path: lib.noise("newer", len(files[path]))})
        hub.ctl(reload=True)
        for off in range(0, len(files[path]), 65536):
            equal(os.pread(f.fileno(), 65536, off) ==
                  files[path][off:off + 65536], True, off)
    equal(lib.xattr(zoo(m, path), "state"), "verified")
    m.stop()


def resumed(rig, hub, files):
    path = path_of("large-1")
    cache, at = rig.dir("cache"), rig.dir("mnt")
    hub.spoil("drip", rate=8 * MIB, host="cdn")
    before = hub.sent()
    for _ in range(3):
        m = knowing(rig, hub, cache=cache, at=at)
        with subprocess.Popen(["cat", zoo(m, path)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as p:
            time.sleep(0.4)
            m.kill()
            p.wait(10)
    hub.clear()
    m = knowing(rig, hub, cache=cache, at=at)
    equal(lib.digest(zoo(m, path)), sha(files[path]))
    figure("moved / size after three kills",
           (hub.sent() - before) / len(files[path]), "", 1.5)
    m.stop()
    # and without any network it is all still here
    hub.stop()
    m = rig.mount(hub, "--offline", cache=cache)
    equal(lib.digest(zoo(m, path)), sha(files[path]))
    equal(os.stat(zoo(m, path_of("mnist-8"))).st_size,
          len(files[path_of("mnist-8")]))
    with raises(errno.EHOSTUNREACH):
        read(zoo(m, path_of("mnist-8")))
    m.stop()
    hub.start()


# ---- the manifest ----------------------------------------------------------------

def age(cache):
    """What the index says is old."""
    db = sqlite3.connect(os.path.join(cache, "index.sqlite"), 20)
    db.execute("UPDATE facts SET at = at - 100000")
    db.commit()
    db.close()


def listed(rig, hub, cache, want):
    """What a process sees that does not believe the last answer any more; the
    next one, if the hub took too long."""
    argv = [lib.OMNIHUB, "ls", "--cache", cache]
    for key, url in {**lib.NOWHERE, **hub.endpoints}.items():
        argv += ["--set", f"{key}={url}"]
    for _ in range(20):
        age(cache)
        out = rig.run(*argv, "onnx/" + TOP)
        names = sorted(line.strip("/") for line in out.split())
        if names == want:
            return
    equal(names, want, "of a new process")


def manifest_moves(rig, hub, files):
    stem, path = "mnist-8", path_of("mnist-8")
    m = knowing(rig, hub, *QUICK)
    with open(zoo(m, path), "rb", buffering=0) as f:
        equal(os.pread(f.fileno(), 1000, 0), files[path][:1000])
        newer = dict(files)
        newer[path] = lib.noise("mnist-8 again", 300 * 1024)
        hub.fill({MANIFEST: manifest(newer, [stem, "squeezenet1.0-7"])})
        hub.ctl(reload=True)
        listed(rig, hub, m.cache, ["mnist", "squeezenet1.0"])
        equal(lib.digest(zoo(m, path)), sha(files[path]))
        equal(os.pread(f.fileno(), 1000, 200000), files[path][200000:201000])
    m.stop()
    # asked again, it says that nothing has changed
    hub.ctl(reset=True)
    for _ in range(20):
        listed(rig, hub, m.cache, ["mnist", "squeezenet1.0"])
        if asked(hub, "zoo-raw"):
            break       # else it gave up before it was heard
    equal({r["status"] for r in asked(hub, "zoo-raw")}, {304})
    # who begins without a network begins with what was seen last, and the
    # index may be lost
    for name in os.listdir(m.cache):
        if name.startswith("index.sqlite"):
            os.unlink(os.path.join(m.cache, name))
    m = rig.mount(hub, "--offline", cache=m.cache)
    equal(sorted(os.listdir(zoo(m, TOP))), ["mnist", "squeezenet1.0"])
    m.stop()

    # hostile ones: refused, and what was there is shown
    huge = b"[" + b",".join([b'{"model_path":"a/b","metadata":{}}']
                            * 1000000) + b"]"
    for what, text in (
            ("a million entries", huge),
            ("a page", b"<html>moved</html>"),
            ("nothing", b""),
            ("an object", b"{}"),
            ("cut", manifest(files, [stem])[:-40]),
            ("no file", b'[{"model_path": "../x", "metadata": {"model_sha": "'
             + b"0" * 64 + b'", "model_bytes": 1}}]'),
            ("2^63", b'[{"model_path": "x", "metadata": {"model_sha": "'
             + b"0" * 64 + b'", "model_bytes": 9223372036854775808}}]'),
            ("deep", b"[" * 100000)):
        hub.fill({MANIFEST: text})
        hub.ctl(reload=True)
        m = rig.mount(hub, *QUICK, cache=m.cache)
        age(m.cache)
        equal(sorted(os.listdir(zoo(m, TOP))), ["mnist", "squeezenet1.0"],
              what)
        if what == "a million entries":
            figure("most memory", m.rss()["VmHWM"] / MIB, "MiB",
                   None if rig.sanitized else 64)
        m.stop()
    # parts of it: the rest is shown
    odd = json.loads(manifest(files, ["mnist-8"]))
    for change in ({"model_path": "/etc/passwd"}, {"model_path": 7},
                   {"model_path": "a/../../b"}, {"metadata": []}):
        odd.append({**entry("vgg16-7", files), **change})
    odd.append(odd[0])
    hub.fill({MANIFEST: json.dumps(odd).encode()})
    hub.ctl(reload=True)
    listed(rig, hub, m.cache, ["mnist"])
    hub.fill({MANIFEST: manifest(files, MODELS)})
    hub.ctl(reload=True)


def lose(cache):
    """A kill between the note of what the zoo is at and the list that belongs
    to it leaves this."""
    shutil.rmtree(os.path.join(cache, "recipes"))
    db = sqlite3.connect(os.path.join(cache, "index.sqlite"), 20)
    db.execute("DELETE FROM facts WHERE key LIKE 'onnx/%' AND "
               "key NOT LIKE 'onnx/%@'")
    equal(db.execute("SELECT COUNT(*) FROM facts WHERE key LIKE 'onnx/%'")
          .fetchone(), (1,))
    db.commit()
    db.close()


def manifest_lost(rig, hub, files):
    m = knowing(rig, hub, *QUICK)
    m.stop()
    lose(m.cache)
    m = knowing(rig, hub, *QUICK, cache=m.cache)
    m.stop()
    # and another is at the hub by now
    lose(m.cache)
    hub.fill({MANIFEST: manifest(files, ["mnist-8", "large-1"])})
    hub.ctl(reload=True)
    m = knowing(rig, hub, *QUICK, cache=m.cache)
    equal(sorted(os.listdir(zoo(m, TOP))), ["large", "mnist"])
    m.stop()
    # and there is no network: what ships is there
    lose(m.cache)
    m = rig.mount(hub, "--offline", cache=m.cache)
    check("resnet" in os.listdir(zoo(m, TOP)), "not what ships")
    m.stop()
    hub.fill({MANIFEST: manifest(files, MODELS)})
    hub.ctl(reload=True)


def never_hangs(rig, hub):
    """The host of the manifest says nothing: what ships serves at once."""
    hub.spoil("stall", at="start", host="zoo-raw")
    m = rig.mount(hub)
    with lib.timed("ls while the manifest's host is silent",
                   2.0 * slower(rig)):
        equal(os.listdir(zoo(m)), ["validated"])
    with lib.timed("and the next", 1.0 * slower(rig)):
        check(len(os.listdir(zoo(m, TOP))) > 5, "not what ships")
    equal(hub.ctl()["rules"][0]["hits"], 1, "the silent host was asked")
    hub.clear()     # and now it says it: nobody has to ask for that
    know(m)
    m.stop()


def run(rig):
    files, hub = make(rig)
    everything_real(rig)
    tree(rig, hub, files)
    places(rig, hub, files)
    unpacked(rig, hub)
    lfs(rig, hub, files)
    wrong(rig, hub, files)
    manifest_moves(rig, hub, files)
    manifest_lost(rig, hub, files)
    never_hangs(rig, hub)
    resumed(rig, hub, files)
    branch_moves(rig, hub, files)


lib.main(run, 110)
