#!/usr/bin/env python3
"""The command line beside a live mount and a dead one: whose settings it uses,
what it says of the mount, and how it takes it down."""
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRCDIR"], "tests", "mount"))
import lib  # noqa: E402
from lib import check, equal  # noqa: E402

ONNX = "bert-base/pytorch/model.onnx"


def failing(rig, *argv, **more):
    p = subprocess.run([lib.OMNIHUB, *argv], stdin=subprocess.DEVNULL,
                       capture_output=True, env=rig.env(), timeout=50,
                       check=False, **more)
    equal(p.returncode, 1, argv)
    text = p.stderr.decode()
    equal(len(text.splitlines()), 1, f"{argv}: {text}")
    return text


def paths(rig, m):
    """A path in the mount is looked at with the mount's own settings."""
    def ls(*argv, cwd=None):
        return subprocess.run([lib.OMNIHUB, "ls", *argv], cwd=cwd, check=True,
                              env=rig.env(), stdout=subprocess.PIPE,
                              timeout=50).stdout.decode().split()

    top = m.hf("bert-base")
    want = sorted(os.listdir(m.hf("bert-base", "pytorch")))
    equal(ls(m.hf("bert-base", "pytorch")), want, "absolute")
    equal(ls("pytorch", cwd=top), want, "relative, there")
    equal(ls("./pytorch", cwd=top), want, "./")
    equal(ls("../bert-base/./pytorch/", cwd=top), want, "../")
    link = os.path.join(rig.dir("links"), "hub")
    os.symlink(m.at, link)
    equal(ls(link + "/huggingface/bert-base/pytorch"), want, "through a link")
    out = rig.run(lib.OMNIHUB, "get", m.hf(ONNX))
    check(f"huggingface/{ONNX}" in out and "verified" in out, out)
    use = json.loads(rig.run(lib.OMNIHUB, "du", "--json", m.hf(ONNX)))[0]
    equal(use["cached_bytes"], os.stat(m.hf(ONNX)).st_size, "same cache")
    err = failing(rig, "ls", rig.dir("elsewhere"))
    check("ENOENT: not below a mountpoint" in err, err)
    # With an option of its own it is on its own: these hubs it cannot reach.
    err = failing(rig, "ls", "--offline", m.hf("bert-base"))
    check("EHOSTUNREACH" in err, err)


def status(rig, m):
    out = rig.run(lib.OMNIHUB, "status", m.at)
    check(out.startswith(f"mounted at {m.at}\n"), out)
    got = json.loads(rig.run(lib.OMNIHUB, "status", "--json", m.at))
    equal((got["mounted"], got["mountpoint"]), (True, m.at))
    check("requests" in got["stats"]["fetch"], got)
    # Without an argument: $MODELHUB_PATH.
    out = rig.run(lib.OMNIHUB, "status", MODELHUB_PATH=m.at)
    check(out.startswith(f"mounted at {m.at}\n"), out)


def dead(rig):
    m = rig.mount(None, "--demo")
    m.kill()
    err = failing(rig, "status", m.at)
    check(m.at in err and "daemon" in err, err)
    p = subprocess.run([lib.OMNIHUB, "doctor", "--json", "--demo", "--cache",
                        rig.dir("cache")], env=rig.env(), check=False,
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                       timeout=50)
    equal(p.returncode, 1, "doctor beside a dead mount")
    rows = {(r["check"], r["verdict"]): r["text"]
            for r in json.loads(p.stdout)}
    # a dead mount of another test may be there as well
    check(any(m.at in r["text"] for r in json.loads(p.stdout)
              if (r["check"], r["verdict"]) == ("mount", "bad")), rows)
    check(("cache", "ok") in rows and ("keras", "ok") in rows, rows)
    rig.run(lib.OMNIHUB, "umount", m.at)
    check(not os.path.ismount(m.at), "the dead mount is still there")
    err = failing(rig, "umount", m.at)
    check("not mounted" in err, err)


def umount(rig, m):
    with open(m.hf("bert-base/config.json"), "rb"):
        err = failing(rig, "umount", m.at)
        check("EBUSY" in err and "--lazy" in err, err)
        os.listdir(m.at)
        rig.run(lib.OMNIHUB, "umount", "--lazy", m.at)
        check(not os.path.ismount(m.at), "still mounted")
    equal(m.proc.wait(20), 0, "the daemon")


def stranger(rig):
    """A live mount of somebody else, into which not even root can look: it is
    not dead, and is not taken from whoever uses it."""
    if os.geteuid() or not shutil.which("setpriv"):
        print("# not root, or no setpriv")
        return
    at, cache = rig.dir("mnt"), rig.dir("cache")
    for path in (at, cache):
        os.chown(path, 65534, 65534)
    caps = "+sys_admin,+dac_override"
    other = ["setpriv", "--reuid", "65534", "--regid", "65534",
             "--clear-groups", "--inh-caps", caps, "--ambient-caps", caps]
    # One that we may look into: its settings are not ours for all that. They
    # say where our tokens go.
    rig.run(*other, lib.MOUNT, "--demo", "--cache", cache, "-o", "allow_other",
            at)
    err = failing(rig, "ls", os.path.join(at, "huggingface/bert-base"))
    check("EACCES: " in err and "another user" in err, err)
    err = failing(rig, "status", at)
    check("EACCES: " in err and "another user" in err, err)
    got = rig.run(lib.OMNIHUB, "ls", "--demo", "--cache", rig.dir("cache"),
                  os.path.join(at, "huggingface/bert-base"))
    check("config.json" in got, got)
    lib.umount(at)
    rig.run(*other, lib.MOUNT, "--demo", "--cache", cache, at)
    err = failing(rig, "status", at)
    check("EACCES" in err and "gone" not in err, err)
    p = subprocess.run([lib.OMNIHUB, "doctor", "--offline", "--json",
                        "--cache", rig.dir("cache")], env=rig.env(),
                       check=False, stdout=subprocess.PIPE, timeout=50,
                       stderr=subprocess.DEVNULL)
    equal([r["verdict"] for r in json.loads(p.stdout)
           if r["check"] == "mount" and at in r["text"]], ["note"])
    user = subprocess.Popen([*other, "sh", "-c", 'exec 3<"$1" && echo in &&'
                             "read x", "-", os.path.join(
                                 at, "huggingface/bert-base/config.json")],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    equal(user.stdout.readline(), b"in\n")
    err = failing(rig, "umount", at)
    check("EBUSY" in err, err)
    check(at in lib.mounted_below(rig.top), "taken away")
    user.communicate(b"\n", timeout=20)
    lib.umount(at, lib.OMNIHUB, "umount", env=rig.env())


def closed(rig):
    """What is logged never goes into a file of the cache that was opened as
    number two."""
    at = rig.dir("mnt")
    p = subprocess.Popen(["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', lib.MOUNT,
                          "-f", "--demo", "--cache", rig.dir("cache"), at],
                         env=rig.env())
    lib.until(lambda: os.path.ismount(at), 20, "the mount")
    for pid in (p.pid, lib.server_of(p.pid)):
        equal([os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)],
              ["/dev/null"] * 3, "standard files")
    lib.umount(at, lib.OMNIHUB, "umount", env=rig.env())
    equal(p.wait(20), 0, "the daemon")


def up(rig):
    """omnihub mount finds the daemon beside itself and passes options on."""
    at = os.path.join(rig.dir("new"), "made")
    rig.run(lib.OMNIHUB, "mount", "--demo", "--cache", rig.dir("cache"), at)
    check(os.path.ismount(at), "not mounted")
    shown = rig.run(lib.OMNIHUB, "ls", at).split()
    check({".omnihub/", "huggingface/"} <= set(shown), "ls shows", shown)
    lib.umount(at, lib.OMNIHUB, "umount", env=rig.env())
    check(not os.path.ismount(at), "still mounted")


def run(rig):
    m = rig.mount(None, "--demo")
    for test in (paths, status):
        print("#", test.__name__, flush=True)
        test(rig, m)
    umount(rig, m)
    dead(rig)
    stranger(rig)
    closed(rig)
    up(rig)


lib.main(run)
