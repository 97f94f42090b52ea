"""omnihub doctor: each check says what is so, and bad ones fail it."""
import email.utils
import http.server
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "mount"))
import lib  # noqa: E402
from lib import check, equal  # noqa: E402

KEYS = ["huggingface.endpoint", *lib.NOWHERE, "tfhub.storage"]


class Answer(http.server.BaseHTTPRequestHandler):
    skew = 0
    code = 200

    def do_HEAD(self):
        self.send_response_only(self.code)
        self.send_header("Date", email.utils.formatdate(
            time.time() + self.skew, usegmt=True))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def server():
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{s.server_port}"


def doctor(rig, keys, *args, code=0, env=None):
    argv = [lib.OMNIHUB, "doctor", "--json", "--cache", rig.cache, *args]
    for key, value in keys.items():
        argv += ["--set", f"{key}={value}"]
    p = subprocess.run(argv, env=rig.env(**(env or {})), timeout=50,
                       capture_output=True, text=True, check=False)
    rows = [(r["check"], r["verdict"], r["text"])
            for r in json.loads(p.stdout)]
    # Mounts of others on this machine are none of ours.
    rows = [r for r in rows if r[0] != "mount"]
    bad = any(r[1] == "bad" for r in rows)
    equal(int(bad), code, rows)
    check(p.returncode == 1 if bad else p.returncode in (0, 1), p.returncode)
    return rows


def one(rows, name):
    got = [r[1:] for r in rows if r[0] == name]
    equal(len(got), 1, f"rows of {name}")
    return got[0]


def hubs(rig):
    here = server()
    keys = {k: here for k in KEYS} | {"fetch.retries": 0}
    # One address, asked once, in the name of the first that has it.
    rows = doctor(rig, keys)
    equal(one(rows, "huggingface"), ("ok", here + " answers"))
    equal(one(rows, "clock"), ("ok", "agrees with the hubs'"))
    check(not any(r[0] == "keras" for r in rows), rows)
    # Somebody who has no such page is somebody.
    Answer.code = 404
    equal(one(doctor(rig, keys), "huggingface")[0], "ok")
    Answer.code = 200
    for skew, words in ((7200, "behind the hubs'"),
                        (-7200, "ahead of the hubs'")):
        Answer.skew = skew
        verdict, text = one(doctor(rig, keys, code=1), "clock")
        equal(verdict, "bad")
        check(words in text, text)
    Answer.skew = 0
    mirror = rig.dir("mirror")
    keys |= {"keras.endpoint": "http://127.0.0.1:9",
             "torchhub.api": "file://" + mirror,
             "torchhub.endpoint": "file://" + mirror + "/none",
             "torchserve.s3": "file://" + mirror + "/other"}
    rows = doctor(rig, keys, code=1)
    verdict, text = one(rows, "keras")
    equal(verdict, "bad")
    check("127.0.0.1:9" in text, text)
    equal(sorted(r[1] for r in rows if r[0] == "torchhub"), ["bad", "ok"])
    # Of a mirror only the first address is needed.
    equal([r[1] for r in rows if r[0] == "torchserve"], ["note"])


def machine(rig):
    rows = doctor(rig, {}, "--offline")
    equal(one(rows, "hubs"), ("note", "not asked: offline"))
    equal(one(rows, "/dev/fuse")[0], "ok")
    for name in ("seccomp", "landlock", "passthrough", "open files"):
        check(one(rows, name)[0] in ("ok", "note"), name)
    walls = {one(rows, n)[0] for n in ("seccomp", "landlock")}
    if walls == {"ok"}:
        equal(one(rows, "sandbox"), ("ok", "workers run between all walls"))
    else:
        equal(one(rows, "sandbox")[0], "note")
    equal([r[1] for r in rows if r[0] == "cache"], ["ok"])
    equal(one(doctor(rig, {"sandbox": "off"}, "--offline"), "sandbox"),
          ("note", "sandbox = off: models are read by the daemon itself"))
    nowhere = {"OMNIHUB_LIBEXECDIR": rig.dir("nowhere")}
    equal(one(doctor(rig, {}, "--offline", env=nowhere), "sandbox")[1],
          "omnihub-worker is not installed: models are read by the daemon "
          "itself")
    os.chmod(rig.cache, 0o755)
    rows = doctor(rig, {}, "--offline")
    check(any(r[:2] == ("cache", "note") and "mode 0755" in r[2]
              for r in rows), rows)
    os.chmod(rig.cache, 0o700)


def capable(rig):
    """What doctor advises for passthrough is seen once it is done: the daemon
    has the capability, omnihub itself has not."""
    if os.geteuid() or not shutil.which("setpriv"):
        print("# not root, or no setpriv")
        return
    os.chmod(rig.top, 0o711)
    cache, bins = rig.dir("cache"), rig.dir("bin")
    os.chown(cache, 65534, 65534)
    for path in (lib.OMNIHUB, lib.MOUNT):
        shutil.copy(path, bins)

    def row():
        p = subprocess.run(
            ["setpriv", "--reuid", "65534", "--regid", "65534",
             "--clear-groups", os.path.join(bins, "omnihub"), "doctor",
             "--json", "--offline", "--cache", cache], env=rig.env(),
            timeout=50, capture_output=True, text=True, check=False)
        return one([(r["check"], r["verdict"], r["text"])
                    for r in json.loads(p.stdout)], "passthrough")

    verdict, text = row()
    equal(verdict, "note")
    if text.startswith("kernel"):
        print("# " + text)
        return
    try:        # setcap cap_sys_admin+ep, see capability.h
        os.setxattr(os.path.join(bins, "omnihub-mount"),
                    "security.capability",
                    struct.pack("<5I", 0x02000001, 1 << 21, 0, 0, 0))
    except OSError as e:
        print("# no capabilities of files:", e)
        return
    equal(row()[0], "ok")


def run(rig):
    rig.cache = rig.dir("cache")
    os.chmod(rig.cache, 0o700)
    machine(rig)
    capable(rig)
    hubs(rig)


lib.main(run, 50)
