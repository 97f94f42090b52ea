"""Plug-in converters: programs of the user's behind walls, whose results are
objects of the cache."""
import errno
import hashlib
import json
import os
import socket
import subprocess
import threading

import lib
from lib import check, equal

CONVERT = """#!/bin/sh
# Counts its runs by what it writes; there is no other place.
mkdir -p "$2/sub"
{ echo "of $OMNIHUB_HUB $OMNIHUB_REPO $OMNIHUB_REVISION"
  cat "$1/config.json" "$1/sub/extra.bin"; } >"$2/model.txt"
ls "$1" >"$2/listing.txt"
ln -s /etc/passwd "$2/link.txt"
date +%s%N >"$2/when.txt"
"""

NOSY = r"""#!/usr/bin/python3
import os, socket, sys
given, out = sys.argv[1:]
def tried(what, fn):
    try:
        fn()
        return f"{what}: done\n"
    except OSError as e:
        return f"{what}: {e.strerror}\n"
lines = [
    tried("home", lambda: open(%(secret)r).read()),
    tried("cache", lambda: os.listdir(%(cache)r)),
    tried("input", lambda: open(given + "/config.json", "a")),
    tried("input dir", lambda: open(given + "/new", "w")),
    tried("tmp", lambda: open("/tmp/omnihub-plugin-was-here", "w")),
    tried("network", lambda: socket.create_connection(("127.0.0.1", %(port)d))),
    tried("unix", lambda: socket.socket(socket.AF_UNIX)),
    tried("etc", lambda: open("/etc/passwd").read()),
    tried("signal", lambda: os.kill(os.getppid(), 0)),
    "token: %%s\n" %% any("hf_" in v for v in os.environ.values()),
]
open(out + "/report.txt", "w").writelines(lines)
"""


def plugin(top, name, program, **manifest):
    at = os.path.join(top, name)
    os.makedirs(at)
    m = {"version": "1", "run": "run", "needs": ["config.json"],
         "inputs": ["*.json"], "outputs": ["out.txt"]}
    m.update(manifest)
    with open(os.path.join(at, "plugin.json"), "w", encoding="utf-8") as f:
        json.dump(m, f)
    run = os.path.join(at, "run")
    with open(run, "w", encoding="utf-8") as f:
        f.write(program)
    os.chmod(run, 0o755)
    return at


def made(rig, hub, top):
    cache = rig.dir("cache")
    m = rig.mount(hub, "--set", f"plugins={top}", cache=cache)
    names = os.listdir(m.hf("org/a"))
    check("trivial" in names, names)
    check("elsewhere" not in names, names)
    # The repository's own directory of that name stays its own.
    equal(os.listdir(m.hf("org/own/trivial")), ["mine.txt"])
    before = hub.content()
    equal(sorted(os.listdir(m.hf("org/a/trivial"))),
          ["link.txt", "listing.txt", "missing.txt", "model.txt",
           "when.txt"])
    equal(hub.content(), before, "content for a listing")
    path = m.hf("org/a/trivial/model.txt")
    sha = hub.commit("org/a")
    want = f"of huggingface org/a {sha}\n".encode() + b"{}\n" + b"e" * 70000
    equal(os.stat(path).st_size, len(want))
    equal(lib.read(path), want)
    equal(lib.xattr(path, "state"), "verified")
    equal(lib.xattr(path, "sha256"), hashlib.sha256(want).hexdigest())
    by = lib.xattr(path, "made_by")
    check(by.startswith("plug-in trivial 1 (sha256:"), by)
    check(by.endswith(", materialized"), by)
    equal(lib.xattr(path, "sources"), "config.json\nsub/extra.bin")
    # The one run made them all.
    equal(lib.read(m.hf("org/a/trivial/listing.txt")), b"config.json\nsub\n")
    when = lib.read(m.hf("org/a/trivial/when.txt"))
    for name in ("link.txt", "missing.txt"):
        with lib.raises(errno.ENOTSUP):
            lib.read(m.hf("org/a/trivial", name))
    m.stop()
    equal(os.listdir(os.path.join(cache, "tmp")), [], "left behind")
    # Neither the hub nor the plug-in is needed for what is here.
    m = rig.mount(hub, "--offline", "--set", f"plugins={top}", cache=cache)
    equal(lib.read(m.hf("org/a/trivial/when.txt")), when)
    m.stop()
    # Another version of it is another result.
    with open(os.path.join(top, "trivial", "run"), "a", encoding="utf-8") as f:
        f.write("# changed\n")
    m = rig.mount(hub, "--set", f"plugins={top}", cache=cache)
    check(lib.read(m.hf("org/a/trivial/when.txt")) != when, "not run again")
    m.stop()
    rig.run(lib.OMNIHUB, "cache", "verify", "--cache", cache)


def walled(rig, hub, top):
    secret = os.path.join(rig.top, "home", "secret")
    with open(secret, "w", encoding="utf-8") as f:
        f.write("secret")
    cache = rig.dir("cache")
    with socket.create_server(("127.0.0.1", 0)) as s:
        plugin(top, "nosy", NOSY % {"secret": secret, "cache": cache,
                                    "port": s.getsockname()[1]},
               outputs=["report.txt"])
        m = rig.mount(hub, "--set", f"plugins={top}", cache=cache,
                      token="hf_alice")
        said = lib.read(m.hf("org/a/nosy/report.txt")).decode()
    print(said, end="")
    for line in said.splitlines():
        what, came = line.split(": ", 1)
        if what == "signal":
            continue        # Landlock keeps signals in from its ABI 6 on
        check(came in ("Permission denied", "Operation not permitted",
                       "False"), line)
    check(not os.path.exists("/tmp/omnihub-plugin-was-here"), "it wrote")
    m.stop()


def failing(rig, hub, top):
    plugin(top, "refuses", "#!/bin/sh\necho no such model >&2\nexit 2\n")
    plugin(top, "fails", "#!/bin/sh\necho broken >&2\nexit 7\n")
    plugin(top, "later", "#!/bin/sh\necho busy >&2\nexit 75\n")
    # A number nobody else on this machine sleeps for.
    nap = f"{1000 + os.getpid()}.{os.getpid()}"
    plugin(top, "slow", f"#!/bin/sh\nsleep {nap} &\nsleep {nap}\n",
           seconds=1)
    # What it said last is heard, however much came before.
    plugin(top, "wordy", "#!/bin/sh\nyes | head -c 3000000\n"
           "echo so there\nexit 2\n")
    plugin(top, "greedy", "#!/bin/sh\n"
           "head -c 3000000 /dev/zero >$2/out.txt\n", bytes="1M")
    m = rig.mount(hub, "--set", f"plugins={top}")
    for name, number, text in (
            ("refuses", errno.ENOTSUP, "plug-in refuses: no such model"),
            ("fails", errno.ENOTSUP,
             "plug-in fails failed with status 7: broken"),
            ("later", errno.EIO, "plug-in later: busy"),
            ("slow", errno.ENOTSUP, "plug-in slow was not done after 1 s"),
            ("wordy", errno.ENOTSUP, "plug-in wordy: so there"),
            ("greedy", errno.EFBIG if rig.sanitized else errno.ENOTSUP,
             "plug-in greedy")):
        path = m.hf("org/a", name, "out.txt")
        with lib.raises(number):
            lib.read(path)
        errors = lib.read(m.path(".omnihub", "errors")).decode()
        check(text in errors, name, errors)
    # How it ended is known also to who was told not to hear of children.
    p = subprocess.run(
        ["env", "--ignore-signal=CHLD", lib.OMNIHUB, "get", "--set",
         f"plugins={top}", "--set", "huggingface.endpoint=" + hub.url,
         "huggingface/org/a/later/out.txt"], env=rig.env(), timeout=30,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    check("plug-in later: busy" in p.stderr, p.stderr)
    # It was killed; that it ends is the kernel's affair.
    lib.until(lambda: subprocess.run(["pgrep", "-f", f"^sleep {nap}$"],
                                     check=False, stdout=subprocess.DEVNULL
                                     ).returncode == 1, 10, "the sleepers' end")
    # While one runs the mount answers, and an interrupted stat lets go.
    plugin(top, "endless", "#!/bin/sh\nsleep 1000\n", seconds=1000)
    m.stop()
    m = rig.mount(hub, "--set", f"plugins={top}")
    p = subprocess.Popen(["stat", m.hf("org/a/endless/out.txt")],
                         stderr=subprocess.DEVNULL)
    threading.Event().wait(0.5)
    equal(os.stat(m.hf("org/a/config.json")).st_size, 3)
    p.terminate()
    check(p.wait(10) != 0, "stat")
    m.stop()


def loud(rig, hub):
    """One that writes faster than it is heard has no more time than others."""
    top = rig.dir("plugins")
    plugin(top, "loud", "#!/bin/sh\nexec yes\n", seconds=1)
    shim = os.path.join(lib.BUILDDIR, "tests", "mount", "slow-ear.so")
    m = rig.mount(hub, "--set", f"plugins={top}", env={"LD_PRELOAD": shim})
    with lib.timed("a loud plug-in's end", 10), lib.raises(errno.ENOTSUP):
        lib.read(m.hf("org/a/loud/out.txt"))
    errors = lib.read(m.path(".omnihub", "errors")).decode()
    check("plug-in loud was not done after 1 s" in errors, errors)
    m.stop()


def refused(rig, hub):
    top = rig.dir("plugins")
    at = plugin(top, "open", "#!/bin/sh\n")
    os.chmod(os.path.join(at, "run"), 0o777)
    for change, text in (
            (None, "others can write it"),
            ({"run": "../x"}, "are needed"),
            ({"outputs": ["a/b"]}, "without directory"),
            ({"seconds": 0}, "seconds"),
            ({"needs": []}, "must name something"),
            ({"reads": ["etc"]}, "absolute")):
        if change:
            os.chmod(os.path.join(at, "run"), 0o755)
            with open(os.path.join(at, "plugin.json"), "w",
                      encoding="utf-8") as f:
                json.dump({"version": "1", "run": "run", "needs": ["*"],
                           "inputs": ["*"], "outputs": ["o"], **change}, f)
        p = subprocess.run(
            [lib.MOUNT, "-f", "--cache", rig.dir("cache"), "--set",
             f"plugins={top}", rig.dir("mnt")], env=rig.env(), timeout=30,
            capture_output=True, text=True, check=False)
        equal(p.returncode, 1, str(change))
        check(text in p.stderr, change, p.stderr)


def run(rig):
    hub = rig.hub({
        "org/a": {"main": {"config.json": b"{}\n",
                           "sub/extra.bin": b"e" * 70000}},
        "org/own": {"main": {"config.json": b"{}\n",
                             "sub/extra.bin": b"e",
                             "trivial/mine.txt": b"mine\n"}}})
    top = rig.dir("plugins")
    plugin(top, "trivial", CONVERT, inputs=["config.json", "sub/*.bin"],
           needs=["config.json", "sub/extra.bin"],
           outputs=["model.txt", "listing.txt", "missing.txt", "link.txt",
                    "when.txt"])
    plugin(top, "elsewhere", CONVERT, hubs=["kaggle"])
    made(rig, hub, top)
    walled(rig, hub, top)
    failing(rig, hub, top)
    loud(rig, hub)
    refused(rig, hub)


lib.main(run, 120)
