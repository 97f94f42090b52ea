"""The caches of other tools: each real client downloads from the local hubs,
then everything it has is read through the mount, and no hub is asked for
content. What the client has that is not right is not believed.

torch.hub comes with this interpreter (make check-oracle). The others live in
that of ORACLE_CLIENTS, with what requirements-clients.txt names; without it
their parts are left out.
"""
import errno
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "mount"))
import lib  # noqa: E402
from lib import check, equal, figure, read  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = os.environ.get("ORACLE_CLIENTS")


class Absent(Exception):
    """A client that is not installed here."""


def client(name, asked, **env):
    if not CLIENTS:
        raise Absent("ORACLE_CLIENTS is not set")
    e = {k: v for k, v in os.environ.items()
         if not k.lower().endswith("_proxy") and not k.startswith("KAGGLE")}
    p = subprocess.run([CLIENTS, os.path.join(HERE, "clients.py"), name,
                        json.dumps(asked)], capture_output=True, text=True,
                       errors="replace",
                       env={**e, **env}, timeout=240, check=False)
    if p.returncode == 77:
        raise Absent(p.stdout.strip())
    check(p.returncode == 0, name, p.stdout[-2000:], p.stderr[-3000:])
    return json.loads(p.stdout.splitlines()[-1])


def used(rig, hub, env, files, *args, states=("verified",)):
    """Every {path in the mount: bytes} is read without the hub's content, and
    adopt knows it. Returns the mount."""
    hub.ctl(reset=True)
    m = rig.mount(hub, *args, env=env)
    for path, want in files.items():
        equal(os.stat(m.path(path)).st_size, len(want), path)
        equal(read(m.path(path)) == want, True, path)
        state = lib.xattr(m.path(path), "state")
        check(state in states, path, "is", state)
    figure("content requests with the client's cache", hub.content(), "", 0)
    out = json.loads(rig.run(lib.OMNIHUB, "cache", "adopt", "--json",
                             "--cache", m.cache, *m.args, **env))
    rows = {r.get("name"): r for r in out}
    for path, want in files.items():
        row = rows.get(path)
        check(row, path, "is not in", sorted(map(str, rows)))
        equal((row["size"], row["state"]), (len(want), "verified" if
              lib.xattr(m.path(path), "state") == "verified" else "size"))
        check(os.path.isfile(row["file"]), row["file"])
    equal(hub.content(), 0, "content requests of adopt")
    return m


def spoiled(rig, hub, env, m, path, want, *args):
    """The client's file has another byte: that is noticed."""
    out = json.loads(rig.run(lib.OMNIHUB, "cache", "adopt", "--json",
                             "--cache", m.cache, *m.args, **env))
    file = [r["file"] for r in out if r.get("name") == path][0]
    m.stop()
    with open(file, "r+b") as f:
        f.seek(len(want) // 2)
        f.write(bytes([want[len(want) // 2] ^ 1]))
    m = rig.mount(hub, *args, env=env)
    equal(read(m.path(path)) == want, True, path + " when spoiled")
    check(hub.content() > 0, "the hub's bytes instead of", file)
    m.stop()


def catalogues(rig, **rows):
    """A data directory whose catalogues have rows of our own too."""
    top = rig.dir("data")
    theirs = os.path.join(rig.top, "share")
    for n in os.listdir(theirs):
        if n != "catalogues":
            os.symlink(os.path.realpath(os.path.join(theirs, n)),
                       os.path.join(top, n))
    shutil.copytree(os.path.join(theirs, "catalogues"),
                    os.path.join(top, "catalogues"))
    for name, more in rows.items():
        with open(os.path.join(top, "catalogues", name + ".tsv"), "a",
                  encoding="utf-8") as f:
            f.write("".join("\t".join(r) + "\n" for r in more))
    return top


# ---- torch.hub ------------------------------------------------------------------

def torch_checkpoints(rig):
    import torch
    out = io.BytesIO()
    torch.save({"w": torch.rand(300000)}, out)
    whole = out.getvalue()
    digits = hashlib.sha256(whole).hexdigest()[:8]
    name = f"tinynet-{digits}.pth"
    # Without digits that torch.hub knows: nobody can check more than a size.
    plain, loose = "mobilenet_v2_qnnpack_37f702c5.pth", lib.noise("q", 70001)
    hub = rig.hub({}, hosts=("static",), files={
        "torchvision/models/" + name: whole,
        "torchvision/models/quantized/" + plain: loose})
    home = rig.dir("torch")
    torch.hub.set_dir(os.path.join(home, "hub"))
    at = hub.urls["torchvision"] + "/models/"
    torch.hub.load_state_dict_from_url(at + name, check_hash=True,
                                       progress=False)
    torch.hub.download_url_to_file(
        at + "quantized/" + plain,
        os.path.join(home, "hub", "checkpoints", plain), progress=False)
    data = catalogues(rig, torchvision=[
        ("tinynet", "https://download.pytorch.org/models/" + name,
         "sha256:" + digits, "Tiny", "yes", str(len(whole)))])
    env = {"TORCH_HOME": home, "OMNIHUB_DATADIR": data}
    top = "pytorch/torchvision/"
    m = used(rig, hub, env, {
        top + "tinynet/" + name: whole,
        top + "quantized_mobilenet_v2/" + plain: loose},
        states=("verified", "cached"))
    equal(lib.xattr(m.path(top + "tinynet/" + name), "state"), "verified")
    equal(lib.xattr(m.path(top + "quantized_mobilenet_v2/" + plain),
                    "state"), "cached")
    spoiled(rig, hub, env, m, top + "tinynet/" + name, whole)


REPO = {
    "hubconf.py": b"dependencies = ['torch']\n\ndef one():\n"
                  b"    '''gives 1'''\n    return 1\n",
    "lib/a b#.py": b"x = 1\n",
    "big.bin": lib.noise("repo", 200000),
    ".gitattributes": b"*.pt filter=lfs diff=lfs merge=lfs -text\n",
}


def torch_repository(rig):
    """torch.hub itself lists, finds out the ambiguous name and unpacks."""
    import torch
    import torch.hub as th
    weights = lib.noise("lfs", 90000)
    out = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(4, 3), torch.rand(2, 4)),
                   out)
    program = out.getvalue()
    large = {"w.pt": weights, "program.pt": program}
    about = {"branches": {"main": "main", "v1": "branch"},
             "tags": {"v1": "main"}, "lfs": list(large),
             "links": {"link.py": "hubconf.py"}, "renamed": ["old/tiny"]}
    trees = {"main": dict(REPO, **large),
             "branch": dict(REPO, **{"hubconf.py": REPO["hubconf.py"].replace(
                 b"1", b"2"), **large})}
    files = {"github/org/tiny/repo.json": json.dumps(about).encode()}
    for tree, d in trees.items():
        files.update({f"github/org/tiny/{tree}/{p}": b for p, b in d.items()})
    hub = rig.hub({}, hosts=("github",), files=files)
    home = rig.dir("torch")
    th.set_dir(os.path.join(home, "hub"))

    def there(url):
        for real, ours in (("https://github.com", "github"),
                           ("https://api.github.com", "github-api")):
            url = url.replace(real, hub.urls[ours], 1)
        return url

    request, urlopen = th.Request, th.urlopen
    th.Request = lambda url, *a, **k: request(there(url), *a, **k)
    th.urlopen = lambda u, *a, **k: urlopen(
        there(u) if isinstance(u, str) else u, *a, **k)
    try:
        equal([n for n in th.list("org/tiny", trust_repo=True, verbose=False)
               if not n.startswith("_")], ["one"])
        equal(th.load("org/tiny", "one", trust_repo=True, verbose=False), 1)
        # A branch and a tag: the 300, and the branch goes first.
        equal(th.load("org/tiny:v1", "one", trust_repo=True,
                      verbose=False), 2)
        try:
            th.load("org/tiny:none", "one", trust_repo=True, verbose=False)
            raise lib.Wrong("torch.hub found a branch that is not there")
        except ValueError:
            pass
    finally:
        th.Request, th.urlopen = request, urlopen
    print("# torch", torch.__version__, "is content with the local GitHub")

    env = {"TORCH_HOME": home}
    hub.ctl(reset=True)
    m = rig.mount(hub, env=env)
    for ref, tree in (("", "main"), ("@v1", "branch")):
        at = m.path("pytorch/hub/org/tiny" + ref)
        equal(sorted(os.listdir(at)), sorted(
            {p.split("/")[0] for p in trees[tree]}), ref)
        for p, want in trees[tree].items():
            if p in large:
                continue
            equal(read(os.path.join(at, p)) == want, True, ref + p)
            equal(lib.xattr(os.path.join(at, p), "state"), "verified", p)
    # .gitattributes is asked for before it is known that it is here. Of LFS files
    # the client has pointers only: ls asks neither for their size nor for what
    # they are.
    figure("content requests but .gitattributes", len(
        [r for r in hub.log() if r["content"] and
         not r["path"].endswith(".gitattributes")]), "", 0)
    check(not any("/git/blobs/" in r["path"] for r in hub.log()), hub.log())
    # The zip has the pointer of an LFS file; the mount has the file.
    want = os.path.join(m.path("pytorch/hub/org/tiny"), "w.pt")
    equal(os.stat(want).st_size, len(weights))
    equal(read(want) == weights, True, "LFS")
    equal(lib.xattr(want, "state"), "verified")
    # Who wants the name has the file asked whether it is a program.
    with lib.raises(errno.ENOENT):
        os.stat(want[:-3] + ".onnx")
    staged = os.path.join(os.path.dirname(want), "program.onnx")
    equal(len(read(staged)), os.stat(staged).st_size, "a program in LFS")
    check(os.stat(staged[:-5] + "_fp16.onnx").st_size, "its variant")
    equal(read(m.path("pytorch/hub/old/tiny/hubconf.py")),
          REPO["hubconf.py"])
    m.stop()


# ---- Keras ----------------------------------------------------------------------

def keras(rig):
    odd, free = lib.noise("nasnet", 150001), lib.noise("mobilenet", 80000)
    md5 = hashlib.md5(odd).hexdigest()
    kept, name = "tiny_net.h5", "mobilenet_2_5_128_tf.h5"
    at = "keras-applications/"
    hub = rig.hub({}, hosts=("static",), files={
        "storage/tensorflow/" + at + "tiny/Tiny-net.h5": odd,
        "storage/tensorflow/" + at + "mobilenet/" + name: free})
    home = rig.dir("keras")
    url = hub.urls["storage"] + "/tensorflow/" + at
    client("keras", [[kept, url + "tiny/Tiny-net.h5", md5],
                     [name, url + "mobilenet/" + name, None]],
           KERAS_HOME=home)
    data = catalogues(rig, keras=[
        ("Tiny", "https://storage.googleapis.com/tensorflow/" + at +
         "tiny/Tiny-net.h5", "md5:" + md5, "top", kept)])
    env = {"KERAS_HOME": home, "OMNIHUB_DATADIR": data}
    m = used(rig, hub, env, {"keras/Tiny/Tiny-net.h5": odd,
                             "keras/MobileNet/" + name: free})
    spoiled(rig, hub, env, m, "keras/Tiny/Tiny-net.h5", odd)
    # The hub tells no digest of an object made of parts: the size has to do.
    hub.ctl(set={"goog_md5": False})
    used(rig, hub, env, {"keras/MobileNet/" + name: free},
         states=("cached",)).stop()


# ---- the ONNX zoo ----------------------------------------------------------------

def onnx_hub(rig):
    import numpy as np
    import onnx
    from onnx import TensorProto as T, helper as h, numpy_helper
    w = numpy_helper.from_array(np.arange(30000, dtype=np.float32), "w")
    model = h.make_model(h.make_graph(
        [h.make_node("Add", ["x", "w"], ["y"])], "g",
        [h.make_tensor_value_info("x", T.FLOAT, [30000])],
        [h.make_tensor_value_info("y", T.FLOAT, [30000])], [w]),
        opset_imports=[h.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    whole, tar = model.SerializeToString(), lib.noise("tar", 3000)
    path = "validated/vision/tiny/model/tiny-7"
    manifest = [{
        "model": "Tiny", "model_path": path + ".onnx", "onnx_version": "1.9",
        "opset_version": 7, "metadata": {
            "model_sha": hashlib.sha256(whole).hexdigest(),
            "model_bytes": len(whole), "tags": [],
            "model_with_data_path": path + ".tar.gz",
            "model_with_data_sha": hashlib.sha256(tar).hexdigest(),
            "model_with_data_bytes": len(tar)}}]
    hub = rig.hub({}, hosts=("zoo",), files={
        "zoo/ONNX_HUB_MANIFEST.json": json.dumps(manifest).encode(),
        f"zoo/{path}.onnx": whole, f"zoo/{path}.tar.gz": tar})
    home = rig.dir("onnx")
    client("onnx", {"raw": hub.urls["zoo-raw"] + "/onnx/models/main/",
                    "media": hub.urls["zoo-media"] +
                    "/media/onnx/models/main/", "models": ["Tiny"]},
           ONNX_HOME=home)
    env = {"ONNX_HOME": home}
    m = used(rig, hub, env, {f"onnx/{path}.onnx": whole})
    spoiled(rig, hub, env, m, f"onnx/{path}.onnx", whole)


# ---- Kaggle and TensorFlow Hub -----------------------------------------------------

MODULE = {"saved_model.pb": lib.noise("pb", 50000),
          "variables/variables.index": lib.noise("index", 400),
          "variables/variables.data-00000-of-00001": lib.noise("w", 300000),
          "assets/vocab.txt": b"a\nb\n"}


def kaggle_files(*names):
    return {f"kaggle/{n}/{p}": b for n in names for p, b in MODULE.items()}


def kagglehub(rig):
    """Its test environment is port 7777 of this machine, and no other."""
    name, other = "org/tiny/tensorFlow2/v/1", "org/many/keras/v/3"
    many = {f"part/{i:02}.bin": lib.noise(i, 1000 + i) for i in range(30)}
    files = kaggle_files(name)
    files.update({f"kaggle/{other}/{p}": b for p, b in many.items()})
    try:
        hub = rig.hub({}, hosts=("kaggle:7777",), files=files)
    except ValueError:
        raise Absent("port 7777 is not free") from None
    home = rig.dir("kaggle")
    client("kagglehub", [["org/tiny/TensorFlow2/v/1", None],
                         [other, None]], KAGGLEHUB_CACHE=home,
           KAGGLE_API_ENVIRONMENT="TEST", HOME=home)
    env = {"KAGGLEHUB_CACHE": home}
    wanted = {f"kaggle/{other}/{p}": b for p, b in many.items()}
    m = used(rig, hub, env, wanted, states=("cached", "verified"))
    m.stop()
    # The spelling of a framework is the user's.
    m = rig.mount(hub, env=env)
    hub.ctl(reset=True)
    for p, b in MODULE.items():
        equal(read(m.path("kaggle", name, p)) == b, True, p)
    figure("content requests for another spelling", hub.content(), "", 0)
    m.stop()
    # Without its marker a file may be cut off.
    top = os.path.join(home, "models", os.path.dirname(other))
    os.remove(os.path.join(top, "3.complete"))
    m = rig.mount(hub, env=env)
    equal(read(m.path("kaggle", other, "part/07.bin")) == many["part/07.bin"],
          True, "without marker")
    check(hub.content() > 0, "a file without its marker was used")
    m.stop()


def tensorflow_hub(rig):
    name = "org/tiny/tensorFlow2/v/1"
    hub = rig.hub({}, hosts=("kaggle", "tfhub"), files={
        **kaggle_files(name), "tfhub/handles.json": json.dumps(
            {"google/tiny": name[:-2], "google/tiny/1": name}).encode()})
    home = rig.dir("tfhub")
    at = hub.urls["tfhub"] + "/google/tiny/1"
    client("tensorflow_hub", [at], TFHUB_CACHE_DIR=home)
    env = {"TFHUB_CACHE_DIR": home}
    used(rig, hub, env, {f"tensorflow/google/tiny/1/{p}": b
                         for p, b in MODULE.items()},
         states=("cached", "verified")).stop()
    # Somebody is replacing it: hands off.
    sha1 = hashlib.sha1(at.encode()).hexdigest()
    with open(os.path.join(home, sha1 + ".lock"), "w", encoding="ascii"):
        pass
    m = rig.mount(hub, env=env)
    p = "variables/variables.index"
    equal(read(m.path("tensorflow/google/tiny/1", p)) == MODULE[p], True)
    check(hub.content() > 0, "a locked module was used")
    m.stop()


PARTS = (torch_checkpoints, torch_repository, keras, onnx_hub, kagglehub,
         tensorflow_hub)


def run(rig):
    left = []
    for part in PARTS:
        if sys.argv[1:] and part.__name__ not in sys.argv[1:]:
            continue
        print("#", part.__name__, flush=True)
        try:
            part(rig)
        except Absent as e:
            left.append(f"{part.__name__}: {e}")
    for text in left:
        print("# left out:", text, flush=True)


lib.main(run)
