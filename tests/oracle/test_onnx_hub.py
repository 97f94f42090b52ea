"""The real client of the ONNX zoo against the local one: what onnx.hub believes
of host_zoo.py is what OmniHub's own tests may believe. Then omnihub reads from
its cache and asks for no content.

Needs Python with an onnx that still has onnx.hub (1.16 does), named by
ORACLE_CLIENTS (requirements-clients.txt), else this one; skipped without.
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "mount"))
import lib  # noqa: E402 - first: it finds the modules of the demo
import zoo  # noqa: E402
from lib import check, equal, read  # noqa: E402

PYTHON = os.environ.get("ORACLE_CLIENTS", sys.executable)
CLIENT = """
import json, sys
import onnx
from onnx import hub
raw, media = sys.argv[1:]

def base(repo, lfs=False):
    # as it is there, for hosts of our own
    return f"{media}/media/{repo.replace(':', '/')}/" if lfs else \\
        f"{raw}/{repo.replace(':', '/')}/"

hub._get_base_url = base
repo = "onnx/models:main"
hub._verify_repo_ref = lambda r: True
listed = [(m.model, m.opset, m.model_path) for m in hub.list_models(repo)]
model = hub.load("mnist", repo, opset=8)
packed = hub.download_model_with_test_data("mnist", repo, opset=12)
print(json.dumps({
    "version": onnx.__version__, "listed": listed,
    "nodes": [n.op_type for n in model.graph.node], "packed": packed}))
"""


def run(rig):
    files = {"zoo/" + p: d for p, d in zoo.FILES.items()}
    files["zoo/ONNX_HUB_MANIFEST.json"] = zoo.MANIFEST
    hub = rig.hub({}, hosts=("zoo",), files=files)
    home = rig.dir("onnx")
    p = subprocess.run(
        [PYTHON, "-c", CLIENT, hub.urls["zoo-raw"], hub.urls["zoo-media"]],
        capture_output=True, text=True, check=False,
        env=rig.env(ONNX_HOME=home))
    check(p.returncode == 0, p.stdout[-500:], p.stderr[-3000:])
    said = json.loads(p.stdout.strip().splitlines()[-1])
    print("# onnx", said["version"])
    equal(said["listed"], [["MNIST", 8, f"{zoo.TOP}mnist-8.onnx"],
                           ["MNIST", 12, f"{zoo.TOP}mnist-12.onnx"]])
    equal(said["nodes"], ["Reshape", "Gemm", "Relu", "Gemm"])
    with open(os.path.join(said["packed"], "test_data_set_0/input_0.pb"),
              "rb") as f:
        packed = f.read()

    hub.ctl(reset=True)
    m = rig.mount(hub, env={"ONNX_HOME": home})
    for name in ("mnist-8.onnx", "mnist-12.tar.gz"):
        equal(read(m.path("onnx", zoo.TOP, name)) ==
              zoo.FILES[zoo.TOP + name], True, name)
    equal(read(m.path("onnx", zoo.TOP,
                      "mnist-12/test_data_set_0/input_0.pb")) == packed,
          True, "a member")
    equal(hub.content(), 0, "requests for what onnx.hub has")
    m.stop()


if subprocess.run([PYTHON, "-c", "import onnx.hub"], check=False,
                  stderr=subprocess.DEVNULL).returncode:
    print(f"no onnx.hub in {PYTHON}")
    sys.exit(lib.SKIP)
lib.main(run)
