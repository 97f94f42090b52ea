"""The hubs of matrix.py: what each family serves, and where its bytes are.

A family is one hub as a user sees it. Its `file` is large enough for several
requests; its `staged` file is made of another file whose headers come first.
`meta` and `bytes` say which requests are which, by host and by the text that a
rule of faults.py is matched with.
"""
import hashlib
import json
import os
import random
import sys

SRCDIR = os.environ.get("SRCDIR") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(SRCDIR, "contrib", "demo"))
import models  # noqa: E402
import saved  # noqa: E402
import static  # noqa: E402

SIZE = 5 << 18          # of the plain file, bytes
HOSTS = ("static", "kaggle", "tfhub", "github", "zoo")
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
ZOO = "validated/vision/classification/noise/model/noise-7.onnx"
# The only hosts that may be shown a token; each family has one.
SEEN_BY = {"hub", "kaggle", "github-api"}
TOKENS = {"huggingface.token": "hf_alice", "kaggle.token": "KGAT_alice"}
GITHUB_TOKEN = "hf_alice"


def noise(name):
    return random.Random(name).randbytes(SIZE)


SHA8 = hashlib.sha256(noise("torchvision")).hexdigest()[:8]


class Family:
    def __init__(self, name, keys, file, meta, staged=None, source=None):
        self.name = name
        self.kind = "static" if meta == "HEAD" else "json"
        self.keys = keys        # endpoints that are its own
        self.file = file        # path in the tree
        self.data = noise(name)
        self.meta = meta        # regular expression of the questions
        self.staged = staged    # path in the tree
        self.source = source    # name of the file that is planned from


def serve_files():
    """{path below .hosts: bytes} and {hub: rows of its catalogue}."""
    files, rows = {}, {}
    for hub, (below, base) in {
            "torchvision": ("torchvision", static.PYTORCH),
            "keras": ("storage", static.GOOGLE),
            "torchserve": ("torchserve", static.SERVE)}.items():
        own, table = static.HUBS[hub]()
        path = {"torchvision": f"models/noise-{SHA8}.pth",
                "keras": "tensorflow/keras-applications/noise/noise.h5",
                "torchserve": "mar_files/noise.mar"}[hub]
        files.update({f"{below}/{p}": d for p, d in own.items()})
        files[f"{below}/{path}"] = noise(hub)
        row = {c: "-" for c in table[0]}
        row.update(url=base + path)
        if "model" in row:
            row["model"] = "noise"
        if hub == "torchvision":
            row["digest"] = "sha256:" + SHA8
        rows[hub] = [*table, [row[c] for c in table[0]]]
    return files, rows


def manifest():
    return json.dumps([{
        "model": "Noise", "model_path": ZOO, "onnx_version": "1.2",
        "opset_version": 7, "metadata": {
            "model_sha": hashlib.sha256(noise("onnx")).hexdigest(),
            "model_bytes": SIZE, "tags": ["vision"]}}]).encode()


def write(top, path, data):
    full = os.path.join(top, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as f:
        f.write(data)


def fill(root, home):
    """The directory of the hubs, and the home of who asks."""
    files, rows = serve_files()
    repo = {"branches": {"main": "t1"}}
    files.update({
        "tfhub/handles.json": json.dumps({
            "ann/two": "ann/two/tensorFlow2/small",
            "ann/two/1": "ann/two/tensorFlow2/small/1"}).encode(),
        "github/acme/nets/repo.json": json.dumps(repo).encode(),
        "github/acme/nets/t1/noise.bin": noise("torchhub"),
        "zoo/ONNX_HUB_MANIFEST.json": manifest(),
        "zoo/" + ZOO: noise("onnx")})
    for model, hub in (("one", "kaggle"), ("two", "tensorflow")):
        top = f"kaggle/ann/{model}/tensorFlow2/small/1/"
        files.update({top + p: d for p, d in saved.FILES.items()})
        files[top + "assets/noise.bin"] = noise(hub)
    for path, data in files.items():
        write(os.path.join(root, ".hosts"), path, data)
    repos = {MINILM: models.MODELS[MINILM](MINILM),
             "org/noise": {"noise.bin": noise("huggingface")},
             "onnxmodelzoo/legacy_models": {ZOO: noise("onnx")}}
    for name, content in repos.items():
        for path, data in content.items():
            write(os.path.join(root, name, "main"), path, data)
    for hub, table in rows.items():
        write(os.path.join(home, ".config/omnihub/catalogues"), hub + ".tsv",
              "".join("\t".join(r) + "\n" for r in table).encode())


def families():
    kaggle = "kaggle/ann/one/tensorFlow2/small/1"
    yield Family(
        "huggingface", ["huggingface.endpoint"],
        "huggingface/org/noise/noise.bin", "/api/models/",
        f"huggingface/{MINILM}/pytorch/model.onnx", "model.safetensors")
    yield Family(
        "onnx", ["onnx.endpoint", "onnx.manifest", "onnx.media", "onnx.lfs"],
        "onnx/" + ZOO, "MANIFEST")
    yield Family(
        "torchvision", ["torchvision.endpoint"],
        f"pytorch/torchvision/noise/noise-{SHA8}.pth", "HEAD")
    yield Family(
        "keras", ["keras.endpoint"], "keras/noise/noise.h5", "HEAD")
    yield Family(
        "torchserve", ["torchserve.endpoint", "torchserve.s3"],
        "pytorch/torchserve/noise.mar", "HEAD")
    yield Family(
        "kaggle", ["kaggle.endpoint"], kaggle + "/assets/noise.bin",
        "/api/.*/files", kaggle + "/frozen/serving_default.pb",
        "saved_model.pb")
    yield Family(
        "tensorflow", ["tfhub.endpoint", "kaggle.endpoint"],
        "tensorflow/ann/two/1/assets/noise.bin", "/api/.*/files",
        "tensorflow/ann/two/1/frozen/serving_default.pb", "saved_model.pb")
    yield Family(
        "torchhub", ["torchhub.endpoint", "torchhub.api"],
        "pytorch/hub/acme/nets/noise.bin", "/repos/")
