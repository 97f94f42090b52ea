"""torch.hub and keras.utils.get_file against the local hosts of static files:
what they fetch there is what the mount gives, and what they refuse is refused.
And the catalogue is what torchvision itself says today.

Needs Python with torch and torchvision, or with keras, or both; where
ORACLE_CLIENTS names a second interpreter, that one runs this too.
"""
import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import urllib.error

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "mount"))
import lib  # noqa: E402
from lib import SRCDIR, check, equal, read  # noqa: E402

HAS = {n: importlib.util.find_spec(n) is not None
       for n in ("torch", "torchvision", "keras")}
H5 = b"\x89HDF\r\n\x1a\n" + lib.noise("h5", 300000)


def rows(name):
    """The catalogue, read by who has not written it."""
    path = os.path.join(SRCDIR, "fetch", "catalogues", name + ".tsv")
    with open(path, encoding="ascii") as f:
        lines = [s.rstrip("\n").split("\t") for s in f if s[0] != "#"]
    return [dict(zip(lines[0], s)) for s in lines[1:]]


def own(rig, name, lines):
    """More rows, in the user's own catalogue."""
    top = os.path.join(rig.top, "home/.config/omnihub/catalogues")
    os.makedirs(top, exist_ok=True)
    with open(os.path.join(top, name + ".tsv"), "w", encoding="ascii") as f:
        f.writelines("\t".join(s) + "\n" for s in lines)


def torchvision_today():
    import torchvision.models as tv
    theirs = {}
    for model in tv.list_models():
        for w in tv.get_model_weights(model):
            theirs[w.url] = (model, str(w), str(round(
                w.meta["_file_size"] * 1048576)))
    ours = {r["url"]: (r["model"], r["what"], r["about"])
            for r in rows("torchvision")}
    equal(ours, theirs, "catalogue and torchvision")
    print("# torchvision", len(theirs), "weights")


def keras_today():
    """Every digest of its sources is in the catalogue, but for ResNeXt, which
    no constructor asks for, and the class names."""
    import re
    top = os.path.join(os.path.dirname(
        importlib.util.find_spec("keras").origin), "src/applications")
    theirs = set()
    for n in os.listdir(top):
        if n.endswith(".py"):
            with open(os.path.join(top, n), encoding="utf-8") as f:
                theirs.update(re.findall(
                    r'"([0-9a-f]{64}|[0-9a-f]{32})"', f.read()))
    ours = {r["digest"].partition(":")[2] for r in rows("keras")} - {""}
    equal(ours - theirs, set(), "not Keras's")
    equal(len(theirs - ours), 5, "not in the catalogue")


def torch_hub(hub, state, name):
    import torch
    at = hub.urls["torchvision"] + "/models/"
    got = torch.hub.load_state_dict_from_url(at + name, check_hash=True,
                                             progress=False)
    check(torch.equal(got["w"], state["w"]), "another state_dict")
    kept = os.path.join(torch.hub.get_dir(), "checkpoints", name)
    os.unlink(kept)
    hub.spoil("flip", offset=3000, match=name)
    try:
        torch.hub.load_state_dict_from_url(at + name, check_hash=True,
                                           progress=False)
        raise lib.Wrong("torch.hub took wrong bytes")
    except RuntimeError as e:
        check("invalid hash" in str(e), e)
    hub.clear()
    try:
        torch.hub.load_state_dict_from_url(at + "none-00000000.pth")
        raise lib.Wrong("torch.hub took an error for a file")
    except urllib.error.HTTPError as e:
        equal(e.code, 403)


def get_file(hub, md5):
    import keras
    print("# keras", keras.__version__)
    at = hub.urls["storage"] + "/tensorflow/keras-applications/x/net.h5"
    got = keras.utils.get_file("net.h5", at, cache_subdir="models",
                               file_hash=md5)
    equal(read(got) == H5, True, "keras.utils.get_file")
    os.unlink(got)
    hub.spoil("flip", offset=3000, match="net.h5")
    try:
        keras.utils.get_file("net.h5", at, cache_subdir="models",
                             file_hash=md5)
        raise lib.Wrong("Keras took wrong bytes")
    except ValueError as e:
        check("corrupted" in str(e), e)
    hub.clear()


def run(rig):
    os.environ["TORCH_HOME"] = os.path.join(rig.top, "torch")
    os.environ["KERAS_HOME"] = os.path.join(rig.top, "keras")
    os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND",
                                                 "tensorflow")
    for k in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        os.environ.pop(k, None)
    data, state = lib.noise("pth", 200000), None
    if HAS["torch"]:
        import torch
        out = io.BytesIO()
        state = {"w": torch.arange(50000, dtype=torch.float32)}
        torch.save(state, out)
        data = out.getvalue()
    name = f"net-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    md5 = hashlib.md5(H5).hexdigest()
    hub = rig.hub({}, hosts=("static",), files={
        "torchvision/models/" + name: data,
        "storage/tensorflow/keras-applications/x/net.h5": H5})
    own(rig, "torchvision", [
        ("model", "url", "digest"),
        ("net", "https://download.pytorch.org/models/" + name,
         "sha256:" + name[4:12])])
    own(rig, "keras", [
        ("model", "url", "digest"),
        ("Net", "https://storage.googleapis.com/tensorflow/"
         "keras-applications/x/net.h5", "md5:" + md5)])
    if HAS["torch"]:
        torch_hub(hub, state, name)
    if HAS["torchvision"]:
        torchvision_today()
    if HAS["keras"]:
        get_file(hub, md5)
        keras_today()
    m = rig.mount(hub)
    equal(read(m.path("pytorch/torchvision/net", name)) == data, True)
    equal(read(m.path("keras/Net/net.h5")) == H5, True)


other = os.environ.pop("ORACLE_CLIENTS", None)
if other and subprocess.run([other, os.path.abspath(__file__)],
                            check=False).returncode not in (0, lib.SKIP):
    sys.exit(1)
if not any(HAS.values()):
    print("neither torch nor keras here")
    sys.exit(lib.SKIP)
lib.main(run, limit=240)
