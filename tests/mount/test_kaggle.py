"""Kaggle Models and TensorFlow Hub through the mount: both faces of the API,
pages, credentials and consent, signed addresses that expire, digests that come
with the bytes, handles that have moved, models that are gone."""
import base64
import errno
import hashlib
import json
import os
import time

import lib
from lib import check, equal, raises, read

KIB = 1024
QUICK = ("--set", "fetch.retries=1")
NNLM = "google/nnlm/tensorFlow2/en-dim128"
HANDLE = "google/nnlm-en-dim128"
DEEP = "google/imagenet/mobilenet_v2_100_224/classification"


def files_of(name, kib=300):
    return {"saved_model.pb": lib.noise(name, kib * KIB + 1),
            "variables/variables.index": lib.noise(name + "i", 700),
            "variables/variables.data-00000-of-00001":
                lib.noise(name + "d", 3 * kib * KIB),
            "assets/a b.txt": b"words\n",
            "fingerprint.pb": b""}


MODELS = {
    f"{NNLM}/1": files_of("1"), f"{NNLM}/2": files_of("2"),
    "google/nnlm/tfLite/small/1": {"1.tflite": lib.noise("lite", 9000)},
    "google/nnlm/tfLite/big/1": {"1.tflite": lib.noise("big", 16 << 20)},
    "google/mobilenet/tensorFlow2/v2/5": files_of("mobile", 20),
    "google/gemma/keras/2b/3": {"config.json": b"{}\n"},
    "ann/secret/onnx/small/1": {"m.onnx": b"secret"},
}
HANDLES = {
    HANDLE: f"{NNLM}/2", f"{HANDLE}/2": f"{NNLM}/2", f"{HANDLE}/1":
        f"{NNLM}/1",
    f"{DEEP}/5": "google/mobilenet/tensorFlow2/v2/5",
    "google/lite-model/nnlm/1": "google/nnlm/tfLite/small/1",
    "google/gone/1": None,
}
UNPACKED = "gcs/kaggle-tfhub-models-uncompressed/tfhub-modules"


def make(rig):
    files = {"kaggle/google/gemma/model.json":
             json.dumps({"consent": ["alice"]}).encode(),
             "kaggle/ann/secret/model.json": b'{"private": true}',
             "tfhub/handles.json": json.dumps(HANDLES).encode()}
    for v, content in MODELS.items():
        for name, data in content.items():
            files[f"kaggle/{v}/{name}"] = data
    for name, data in MODELS[f"{NNLM}/1"].items():
        files[f"{UNPACKED}/{HANDLE}/1/uncompressed/{name}"] = data
    return rig.hub({}, hosts=("kaggle", "tfhub"), files=files)


def asked(hub, host, part=""):
    return [r for r in hub.log() if r["host"] == host and part in r["path"]]


def told(path):
    return lib.xattr(path, "error")


def all_right(m, hub, top, want, what):
    """Listed with sizes and without content; then every byte."""
    before = hub.content()
    seen = {}
    for where, dirs, names in os.walk(m.path(top)):
        if "frozen" in dirs:
            dirs.remove("frozen")
        for n in names:
            p = os.path.join(where, n)
            seen[os.path.relpath(p, m.path(top))] = os.stat(p).st_size
    equal(seen, {n: len(d) for n, d in want.items()}, what)
    equal(hub.content(), before, f"{what}: content for stat")
    for n, d in want.items():
        check(read(m.path(top, n)) == d, what, n)


# ---- Kaggle ------------------------------------------------------------------

def versions(rig, hub):
    m = rig.mount(hub, *QUICK)
    hub.ctl(reset=True, set={"kaggle_page_max": 2})
    for v in ("1", "2"):
        all_right(m, hub, f"kaggle/{NNLM}/{v}", MODELS[f"{NNLM}/{v}"], v)
        equal(os.stat(m.path("kaggle", NNLM, v, "saved_model.pb")).st_mtime,
              1709296496, "mtime")
    equal(len(asked(hub, "kaggle", "/1/files?pageSize=200")), 3, "pages")
    hub.ctl(set={"kaggle_page_max": 200})
    p = m.path("kaggle", NNLM, "1", "saved_model.pb")
    check(lib.xattr(p, "state") in ("cached", "verified"), "state")
    equal(lib.xattr(p, "revision"), "1")
    check(lib.xattr(p, "url").endswith(
        f"/api/v1/models/{NNLM}/1/download/saved_model.pb"), "url")
    # the newest, and the framework as the web pages spell it
    for name in (f"{NNLM}/saved_model.pb", "google/nnlm/TensorFlow2/"
                 "en-dim128/2/saved_model.pb"):
        check(read(m.path("kaggle", name)) ==
              MODELS[f"{NNLM}/2"]["saved_model.pb"], name)
    for name in (f"{NNLM}/3", "google/nnlm/onnx/x/1", "google/none/onnx/x/1",
                 "ann/secret/onnx/small/1", f"{NNLM}/01", f"{NNLM}/0"):
        with raises(errno.ENOENT):
            os.listdir(m.path("kaggle", name))
    m.stop()


def listings(rig, hub):
    for form in ("enum", "path", "short"):
        hub.ctl(set={"kaggle_framework": form, "kaggle_page_max": 1})
        m = rig.mount(hub, *QUICK)
        k = m.path("kaggle")
        equal(sorted(os.listdir(f"{k}/google")),
              ["gemma", "mobilenet", "nnlm"], form)
        equal(sorted(os.listdir(f"{k}/google/nnlm")),
              ["tensorFlow2", "tfLite"], form)
        equal(os.listdir(f"{k}/google/nnlm/tensorFlow2"), ["en-dim128"], form)
        got = os.listdir(f"{k}/{NNLM}")
        check({"1", "1.tar.gz", "2", "2.tar.gz"} <= set(got), form, got)
        m.stop()
    hub.ctl(set={"kaggle_framework": "enum", "kaggle_page_max": 200})


def rpc(rig, hub):
    """Chosen; and found out, because nothing answers the other way."""
    for args, rest in (((*QUICK, "--set", "kaggle.api=rpc"), True),
                       (QUICK, False)):
        hub.ctl(reset=True, set={"kaggle_rest": rest, "kaggle_page_max": 2})
        m = rig.mount(hub, *args)
        equal(os.listdir(m.path("kaggle/google/nnlm/tensorFlow2")),
              ["en-dim128"], "variations")
        all_right(m, hub, f"kaggle/{NNLM}/1", MODELS[f"{NNLM}/1"], "rpc")
        got = read(m.path("kaggle", NNLM, "1.tar.gz"))
        equal(got[:2], b"\x1f\x8b", "archive")
        equal(len(got), os.stat(m.path("kaggle", NNLM, "1.tar.gz")).st_size)
        gets = [r for r in asked(hub, "kaggle", "/api/v1/models/")
                if r["method"] != "POST"]
        check(not gets if rest else gets, "REST was asked:", len(gets))
        m.stop()
    hub.ctl(set={"kaggle_rest": True, "kaggle_page_max": 200})


def who(rig, hub):
    """Each place of credentials; they stay with Kaggle."""
    gemma = "kaggle/google/gemma/keras/2b/3"
    m = rig.mount(hub, *QUICK)
    with raises(errno.EACCES):
        os.listdir(m.path(gemma))
    text = read(m.path(".omnihub/errors")).decode()
    check("has not consented" in text and
          "https://www.kaggle.com/models/google/gemma" in text, text)
    m.stop()
    home = rig.dir("kaggle")
    for name, data in (("token", "KGAT_alice\n"),
                       ("kaggle.json", json.dumps({"username": "alice",
                                                   "key": "alicekey"}))):
        with open(os.path.join(home, name), "w", encoding="utf-8") as f:
            f.write(data)
    ours = ("--set", "kaggle.username=alice", "--set", "kaggle.key=alicekey")
    for args, env in (
            (("--set", "kaggle.token=KGAT_alice"), {}),
            (("--set", "kaggle.token=KGAT_alice"),
             {"KAGGLE_API_TOKEN": "KGAT_bob"}),
            (ours, {"KAGGLE_API_TOKEN": "KGAT_bob"}),
            ((), {"KAGGLE_API_TOKEN": "KGAT_alice"}),
            ((), {"KAGGLE_API_TOKEN": os.path.join(home, "token")}),
            ((), {"KAGGLE_USERNAME": "alice", "KAGGLE_KEY": "alicekey"}),
            ((), {"KAGGLE_CONFIG_DIR": home})):
        hub.ctl(reset=True)
        m = rig.mount(hub, *QUICK, *args, env=env)
        equal(read(m.path(gemma, "config.json")), b"{}\n", (args, env))
        equal({r["auth"] for r in asked(hub, "kaggle")}, {"alice"}, "who")
        equal({r["auth"] for r in asked(hub, "gcs")}, {None}, "leaked")
        m.stop()
    dot = os.path.join(rig.top, "home", ".kaggle")
    for name in ("access_token.txt", "access_token"):
        os.makedirs(dot, exist_ok=True)
        with open(os.path.join(dot, name), "w", encoding="utf-8") as f:
            f.write("KGAT_alice\n")
        m = rig.mount(hub, *QUICK)
        equal(read(m.path(gemma, "config.json")), b"{}\n", name)
        m.stop()
        os.unlink(os.path.join(dot, name))
    m = rig.mount(hub, *QUICK, "--set", "kaggle.token=wrong")
    with raises(errno.EACCES):
        os.listdir(m.path(gemma))
    m.stop()


def failures(rig, hub):
    name = "variables/variables.data-00000-of-00001"
    want = MODELS[f"{NNLM}/1"][name]
    m = rig.mount(hub, "--set", "fetch.retries=3")
    p = m.path("kaggle", NNLM, "1", name)
    hub.ctl(set={"kaggle_error_status": 200})
    with raises(errno.ENOENT):
        os.listdir(m.path("kaggle", NNLM, "9"))
    hub.ctl(set={"kaggle_error_status": 0})
    busy = json.dumps({"error": {"code": 429, "message": "Too many requests",
                                 "status": "RESOURCE_EXHAUSTED"}})
    hub.spoil("status", match="/1/files", host="kaggle", code=429, body=busy,
              headers={"Content-Type": "application/json"}, times=1)
    hub.spoil("status", match="/1/files", host="kaggle", code=200, body=busy,
              headers={"Content-Type": "application/json"}, times=1)
    hub.spoil("status", match="/1/files", host="kaggle", code=429,
              headers={"Retry-After": "1"}, body="", times=1)
    with lib.timed("a busy hub", 20):
        equal(os.stat(p).st_size, len(want), "size after 429")
    # bytes that are not what x-goog-hash says: twice, then no more
    hub.spoil("flip", host="gcs", match=name, offset=5000)
    with raises(errno.EIO):
        read(p)
    check("md5" in told(p) and "twice" in told(p), told(p))
    hub.clear()
    m.stop()
    # and once: fetched again
    m = rig.mount(hub, *QUICK)
    hub.spoil("flip", host="gcs", match=name, offset=5000, times=1)
    check(read(m.path("kaggle", NNLM, "1", name)) == want, "once wrong")
    hub.clear()
    # an address that has run out is asked for again
    p = m.path("kaggle/google/nnlm/tfLite/big/1/1.tflite")
    want = MODELS["google/nnlm/tfLite/big/1"]["1.tflite"]
    hub.ctl(reset=True, set={"kaggle_sign_seconds": 3})
    equal(read(p, 1000), want[:1000], "begin")
    hub.ctl(set={"kaggle_sign_seconds": 259200})
    time.sleep(3.1)
    check(read(p) == want, "after the address ran out")
    check(len(asked(hub, "kaggle", "/download/")) >= 2, "asked again")
    m.stop()


def resume(rig, hub):
    name = "google/nnlm/tfLite/big/1/1.tflite"
    want = MODELS["google/nnlm/tfLite/big/1"]["1.tflite"]
    cache = rig.dir("cache")
    m = rig.mount(hub, *QUICK, cache=cache)
    # A chunk: to its end, so that it is kept.
    equal(read(m.path("kaggle", name), 128 << 10), want[:128 << 10])
    have = int(lib.xattr(m.path("kaggle", name), "cached_bytes"))
    check(0 < have < len(want), "part of it:", have)
    m.kill()
    os.system(f"fusermount3 -uz {m.at} 2>/dev/null || umount -l {m.at}")
    m = rig.mount(hub, *QUICK, "--offline", cache=cache)
    p = m.path("kaggle", name)
    equal(os.stat(p).st_size, len(want), "size offline")
    equal(read(p, 4096), want[:4096], "offline")
    with raises(errno.EHOSTUNREACH):
        read(p, 4096, 12 << 20)
    m.stop()
    hub.ctl(reset=True)
    m = rig.mount(hub, *QUICK, cache=cache)
    check(read(m.path("kaggle", name)) == want, "resumed")
    sent = hub.ctl()["stats"]["gcs"]["content_sent"]
    check(sent <= len(want) - have, "sent again:", sent)
    m.stop()


# ---- TensorFlow Hub -----------------------------------------------------------

def handles(rig, hub):
    hub.ctl(reset=True)
    cache = rig.dir("cache")
    m = rig.mount(hub, *QUICK, cache=cache)
    t = m.path("tensorflow")
    for v in ("1", "2"):
        all_right(m, hub, f"tensorflow/{HANDLE}/{v}", MODELS[f"{NNLM}/{v}"],
                  v)
    equal(len(asked(hub, "tfhub")), 2, "one redirect a version")
    p = f"{t}/{HANDLE}/1/saved_model.pb"
    equal((lib.xattr(p, "hub"), lib.xattr(p, "revision")),
          ("tensorflow", "1"), "of the handle")
    all_right(m, hub, f"tensorflow/{DEEP}/5",
              MODELS["google/mobilenet/tensorFlow2/v2/5"], "deep")
    check(read(f"{t}/google/lite-model/nnlm/1/1.tflite") ==
          MODELS["google/nnlm/tfLite/small/1"]["1.tflite"], "tflite")
    # without a version: the newest, and which there are
    check(read(f"{t}/{HANDLE}/saved_model.pb") ==
          MODELS[f"{NNLM}/2"]["saved_model.pb"], "newest")
    got = os.listdir(f"{t}/{HANDLE}")
    check({"1", "1.tar.gz", "2", "2.tar.gz", "saved_model.pb"} <= set(got),
          got)
    # as the hub serves it
    size = os.stat(f"{t}/{HANDLE}/1.tar.gz").st_size
    made = os.path.join(hub.root, ".hosts", ".made", NNLM, "1", "dot.tar.gz")
    check(read(f"{t}/{HANDLE}/1.tar.gz") == read(made), "tar.gz")
    equal(size, os.stat(made).st_size, "size of tar.gz")
    for name in ("google/gone/1", "google/none/1", f"{HANDLE}/7",
                 "google/collection/x/1"):
        with raises(errno.ENOENT):
            os.listdir(f"{t}/{name}")
    check("deleted" in read(m.path(".omnihub/errors")).decode(), "errors")
    m.stop()
    # what the redirect told is not asked again, nor needed
    hub.ctl(reset=True)
    m = rig.mount(hub, *QUICK, "--offline", cache=cache)
    check(read(m.path("tensorflow", HANDLE, "1/saved_model.pb")) ==
          MODELS[f"{NNLM}/1"]["saved_model.pb"], "offline")
    m.stop()
    equal(hub.log(), [], "offline")


def without_kaggle(rig, hub):
    """tfhub.dev and the storage answer, Kaggle's API does not."""
    hub.spoil("status", host="kaggle", match="/api/", code=503)
    m = rig.mount(hub, "--set", "fetch.retries=0")
    all_right(m, hub, f"tensorflow/{HANDLE}/1", MODELS[f"{NNLM}/1"],
              "unpacked")
    m.stop()
    # nobody may list the bucket: only the archive is left
    hub.ctl(set={"gcs_listing": False})
    m = rig.mount(hub, "--set", "fetch.retries=0")
    got = read(m.path("tensorflow", HANDLE, "1.tar.gz"))
    equal(got[:2], b"\x1f\x8b", "archive")
    m.stop()
    # what is in it can be fetched, and used offline …
    where = ["--cache", m.cache, "--set", "fetch.retries=0"]
    for k, v in {**lib.NOWHERE, **hub.endpoints}.items():
        where += ["--set", f"{k}={v}"]
    name = f"tensorflow/{HANDLE}/1/saved_model.pb"
    said = rig.run(lib.OMNIHUB, "get", *where, name)
    check("1.tar.gz" in said and name in said, said)
    rig.run(lib.OMNIHUB, "get", *where, "--offline", name)
    # … and the listing is asked for again when Kaggle is back
    hub.ctl(set={"gcs_listing": True})
    hub.clear()
    since = len(hub.log())
    rig.run(lib.OMNIHUB, "ls", *where, os.path.dirname(name))
    check(any("/files" in r["path"] for r in hub.log()[since:]), "asked")


def no_archive(rig, hub):
    """A page in place of the archive is no archive."""
    hub.ctl(set={"tfhub_kaggle": False})
    m = rig.mount(hub, *QUICK)
    with raises(errno.EIO, errno.ENODATA):
        read(m.path("tensorflow", HANDLE, "1.tar.gz"))
    m.stop()
    hub.ctl(set={"tfhub_kaggle": True})
    m = rig.mount(hub, *QUICK)
    p = m.path("tensorflow", HANDLE, "2.tar.gz")
    size = os.stat(p).st_size
    junk = b"no gzip" + b"x" * (size - 7)
    md5 = base64.b64encode(hashlib.md5(junk).digest()).decode()
    hub.spoil("status", host="gcs", match="dot.tar.gz", code=200,
              body=junk.decode(), headers={"x-goog-hash": "md5=" + md5})
    with raises(errno.EIO):
        read(p)
    hub.clear()
    m.stop()


def run(rig):
    hub = make(rig)
    versions(rig, hub)
    listings(rig, hub)
    rpc(rig, hub)
    who(rig, hub)
    failures(rig, hub)
    resume(rig, hub)
    handles(rig, hub)
    without_kaggle(rig, hub)
    no_archive(rig, hub)


if __name__ == "__main__":
    lib.main(run, limit=120)
