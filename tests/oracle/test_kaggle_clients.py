"""The real kagglehub and tensorflow_hub against the local Kaggle and tfhub.dev:
what they download is, byte for byte, what the mount of the same hosts shows.

They live in the interpreter that ORACLE_CLIENTS names, with what
requirements-clients.txt says; without it this is skipped. kagglehub knows no
address of its own choice: KAGGLE_API_ENVIRONMENT=TEST is port 7777.
"""
import json
import os
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "mount"))
import lib  # noqa: E402
from lib import check, equal, read  # noqa: E402

PORT = 7777
CLIENTS = os.environ.get("ORACLE_CLIENTS")
NNLM = "google/nnlm/tensorFlow2/en-dim128"
MANY = "google/many/tensorFlow2/x"
HANDLE = "google/nnlm-en-dim128"


def files_of(name):
    return {"saved_model.pb": lib.noise(name, 30000),
            "variables/variables.index": lib.noise(name + "i", 700),
            "variables/variables.data-00000-of-00001":
                lib.noise(name + "d", 300000)}


MODELS = {f"{NNLM}/1": files_of("1"), f"{NNLM}/2": files_of("2"),
          # more than 25: it takes the archive
          f"{MANY}/1": {f"part/{i:02}.bin": lib.noise(f"p{i}", 1000 + i)
                        for i in range(40)},
          "google/gemma/keras/2b/3": {"config.json": b"{}\n"}}


def client(name, asked, code=0, **env):
    e = {k: v for k, v in os.environ.items()
         if not k.lower().endswith("_proxy") and not k.startswith("KAGGLE")}
    p = subprocess.run([CLIENTS, os.path.join(HERE, "clients.py"), name,
                        json.dumps(asked)], capture_output=True, text=True,
                       errors="replace", env={**e, **env}, timeout=240,
                       check=False)
    if p.returncode == 77:
        print(f"# {p.stdout.strip()}")
        return None
    check((p.returncode == 0) == (code == 0), name, p.stdout[-1000:],
          p.stderr[-3000:])
    return json.loads(p.stdout.splitlines()[-1]) if code == 0 else \
        p.stderr


def tree(top):
    out = {}
    for where, dirs, names in os.walk(top):
        if "frozen" in dirs:
            dirs.remove("frozen")
        for n in names:
            p = os.path.join(where, n)
            out[os.path.relpath(p, top)] = read(p)
    return out


def make(rig):
    files = {f"kaggle/{v}/{n}": d for v, c in MODELS.items()
             for n, d in c.items()}
    files["kaggle/google/gemma/model.json"] = b'{"consent": ["alice"]}'
    files["tfhub/handles.json"] = json.dumps({
        f"{HANDLE}/1": f"{NNLM}/1", f"{HANDLE}/2": f"{NNLM}/2",
        HANDLE: f"{NNLM}/2"}).encode()
    return rig.hub({}, hosts=(f"kaggle:{PORT}", "tfhub"), files=files)


def kagglehub(rig, hub, m):
    env = {"KAGGLE_API_ENVIRONMENT": "TEST", "HOME": rig.dir("home"),
           "KAGGLEHUB_CACHE": rig.dir("kagglehub")}
    hub.ctl(reset=True)
    got = client("kagglehub", [[f"{NNLM}/1", None], [f"{MANY}/1", None],
                               [NNLM, None],
                               [f"{NNLM}/1", "saved_model.pb"]], **env)
    if got is None:
        return
    for at, v in zip(got, (f"{NNLM}/1", f"{MANY}/1", f"{NNLM}/2")):
        equal(tree(at) == MODELS[v], True, f"kagglehub: {v}")
        equal(tree(m.path("kaggle", v)) == tree(at), True, f"mount: {v}")
    methods = {r["path"].rpartition("/")[2] for r in hub.log()
               if r["method"] == "POST"}
    check({"GetModelInstance", "ListModelInstanceVersionFiles",
           "DownloadModelInstanceVersion"} <= methods, methods)
    # consent, and none
    text = client("kagglehub", [["google/gemma/keras/2b/3", None]], code=1,
                  **env)
    check("403" in text and "consent" in text, text[-500:])
    env["KAGGLE_API_TOKEN"] = "KGAT_alice"
    at = client("kagglehub", [["google/gemma/keras/2b/3", None]], **env)[0]
    equal(tree(at), MODELS["google/gemma/keras/2b/3"], "with consent")
    del env["KAGGLE_API_TOKEN"]
    env.update(KAGGLE_USERNAME="alice", KAGGLE_KEY="alicekey",
               KAGGLEHUB_CACHE=rig.dir("kagglehub"))
    client("kagglehub", [["google/gemma/keras/2b/3", None]], **env)
    # an error that comes as 200, and bytes that are not what they should be
    hub.ctl(set={"kaggle_error_status": 200})
    text = client("kagglehub", [[f"{NNLM}/9", None]], code=1, **env)
    check("Not found" in text, text[-500:])
    hub.ctl(set={"kaggle_error_status": 0})
    env["KAGGLEHUB_CACHE"] = rig.dir("kagglehub")
    hub.spoil("flip", host="gcs", offset=100)
    text = client("kagglehub", [[f"{NNLM}/1", "saved_model.pb"]], code=1,
                  **env)
    check("DataCorruptionError" in text, text[-500:])
    hub.clear()


def tensorflow_hub(rig, hub, m):
    handle = hub.endpoints["tfhub.endpoint"] + "/" + HANDLE
    env = {"TFHUB_CACHE_DIR": rig.dir("tfhub")}
    hub.ctl(reset=True)
    got = client("tensorflow_hub", [handle + "/1", handle], **env)
    if got is None:
        return
    for at, v in zip(got, ("1", "2")):
        equal(tree(at) == MODELS[f"{NNLM}/{v}"], True,
              f"tensorflow_hub: {v}")
        equal(tree(m.path("tensorflow", HANDLE, v)) == tree(at), True,
              f"mount: {v}")
    check(any("tf-hub-format=compressed" in r["path"] for r in hub.log()),
          "how it was asked")
    # the 303 without Location
    client("tensorflow_hub", [handle + "/1"], code=1,
           TFHUB_CACHE_DIR=rig.dir("tfhub"),
           TFHUB_MODEL_LOAD_FORMAT="UNCOMPRESSED")
    check(any(r["status"] == 303 for r in hub.log()), "no 303")


def run(rig):
    hub = make(rig)
    m = rig.mount(hub, "--set", "fetch.retries=1")
    kagglehub(rig, hub, m)
    tensorflow_hub(rig, hub, m)
    m.stop()


if __name__ == "__main__":
    if not CLIENTS:
        print("ORACLE_CLIENTS is not set")
        sys.exit(lib.SKIP)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", PORT))
        except OSError:
            print(f"port {PORT} is taken")
            sys.exit(lib.SKIP)
    lib.main(run, limit=240)
