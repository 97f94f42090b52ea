#!/usr/bin/env python3
"""The command line beside a live mount and a dead one: whose settings it uses,
what it says of the mount, and how it takes it down."""
import json
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRCDIR"], "tests", "mount"))
import lib  # noqa: E402
from lib import check, equal  # noqa: E402

ONNX = "bert-base/pytorch/model.onnx"

# Mounts, says yes to INIT, and takes all requests without an answer: who waits
# for one of them cannot be killed.
DEAF = r"""
import ctypes, os, struct, sys
fd = os.open("/dev/fuse", os.O_RDWR)
if ctypes.CDLL(None).mount(b"omnihub", sys.argv[1].encode(), b"fuse.omnihub",
                           6, b"fd=%d,rootmode=40000,user_id=0,group_id=0"
                           % fd):
    sys.exit("mount failed")
asked = os.read(fd, 1 << 18)
os.write(fd, asked[8:16].join((struct.pack("<Ii", 80, 0), struct.pack(
    "<IIIIHHIIHHI28x", 7, 31, 0, 0, 12, 9, 4096, 1, 1, 0, 0))))
print("up", flush=True)
while os.read(fd, 1 << 18):
    pass
"""


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


def standing(rig, at, *argv):
    """Who goes into a directory now, and runs a command later."""
    p = subprocess.Popen(["sh", "-c", 'cd "$0" && echo in && read x && '
                          'exec "$@"', at, lib.OMNIHUB, *argv],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, env=rig.env(), text=True)
    equal(p.stdout.readline(), "in\n")
    return p


def go(p):
    out, err = p.communicate("\n", timeout=30)
    return out, err, p.returncode


def dead(rig):
    m = rig.mount(None, "--demo")
    stood = [standing(rig, m.hf("bert-base"), "ls", *argv) for argv in (
        ["pytorch"], ["--demo", "--cache", rig.dir("cache"),
                      "huggingface/bert-base/pytorch"])]
    m.kill()
    (out, err, code), (found, said, done) = map(go, stood)
    equal((out, code, done, said), ("", 1, 0, ""), err)
    check("ENOTCONN: " in err and f"omnihub mount {m.at}" in err, err)
    check("model.onnx" in found.split(), found)
    err = failing(rig, "status", m.at)
    check(m.at in err and "daemon" in err, err)
    # Its settings are not known, and are not taken from elsewhere.
    own = ("--demo", "--cache", rig.dir("cache"))
    for command in ("ls", "get", "du", "info"):
        err = failing(rig, command, m.hf("bert-base/config.json"))
        check("ENOTCONN: " in err and f"omnihub mount {m.at}" in err, err)
        rig.run(lib.OMNIHUB, command, *own, m.hf("bert-base/config.json"))
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
    link = os.path.join(rig.dir("links"), "hub")
    os.symlink(m.at, link)
    # Mounted anew in its place, by a link to it; then once more.
    m = rig.mount(None, "--demo", at=link)
    equal(lib.mounted_below(rig.top), [os.path.realpath(link)])
    m.kill()
    rig.run(lib.OMNIHUB, "umount", link + "/")
    equal(lib.mounted_below(rig.top), [], "the dead mount is still there")
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


def stop(pid):
    """With all its threads: one that still runs may take a request with it."""
    os.kill(pid, signal.SIGSTOP)
    for task in os.listdir(f"/proc/{pid}/task"):
        lib.until(lambda: lib.process_state(f"{pid}/task/{task}") == "T", 10,
                  "a thread to stop")


def deaf(at):
    p = subprocess.Popen([sys.executable, "-c", DEAF, at],
                         stdout=subprocess.PIPE)
    equal(p.stdout.readline(), b"up\n")
    return p


def all_ended(rig, *commands):
    """All at once: [(stdout, stderr, code)]."""
    ps = [subprocess.Popen([lib.OMNIHUB, *c], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env=rig.env(), text=True) for c in commands]
    try:
        return [(*p.communicate(timeout=30), p.returncode) for p in ps]
    finally:
        for p in ps:
            p.kill()


def silent(rig):
    """A daemon that stands still, and one that never answers what it has
    taken: nobody waits for long, and what is in use is not taken away."""
    m = rig.mount(None, "--demo")
    here = [m.at]
    both = [m.proc.pid, m.serving()]
    link = os.path.join(rig.dir("links"), "link")
    os.symlink(m.hf("x"), link)
    root = os.path.join(rig.dir("links"), "root")
    os.symlink(m.at, root)
    other = None
    stood = standing(rig, m.hf("bert-base"), "ls", "pytorch")
    held = open(m.hf("bert-base/config.json"), "rb")
    try:
        for pid in both:
            stop(pid)
        if not os.geteuid():
            here.append(rig.dir("deaf"))
            other = deaf(here[1])
        found, *told = all_ended(
            rig, ["doctor", "--json", "--demo", "--cache", rig.dir("cache")],
            *(["status", at + "/"] for at in here),
            ["status", m.hf("x")], ["ls", m.hf("x")], ["ls", link],
            ["umount", m.hf("x")],
            *(["mount", "--demo", "--cache", rig.dir("cache"), at]
              for at in (*here, root, m.hf("x"))), ["umount", m.at])
        for out, err, code in (*told, go(stood)):
            equal((code, out), (1, ""), err)
            check("does not answer" in err, err)
        for _, err, _ in told[-3 - len(here):-2]:
            check("umount --lazy" in err, err)
        err = told[-1][1]
        check("EBUSY" in err and "--lazy" in err, err)
        rows = [r for r in json.loads(found[0]) if r["check"] == "mount"]
        for at in here:
            equal([r["verdict"] for r in rows if at in r["text"]
                   and "does not answer" in r["text"]], ["bad"], at)
        equal(lib.mounted_below(rig.top), here, "still mounted")
        held.close()
        # The commands before may have left children that are still to end.
        lib.until(lambda: all_ended(rig, ["umount", m.at]) == [("", "", 0)],
                  60, "umount of what nobody uses")
        equal(all_ended(rig, *(["umount", "--lazy", at] for at in here[1:])),
              [("", "", 0)] * (len(here) - 1))
        equal(lib.mounted_below(rig.top), [], "mounted")
    finally:
        for pid in both:
            os.kill(pid, signal.SIGCONT)
        if other:
            other.kill()
            other.communicate()
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


def two(rig):
    """Each mount has its hubs and its cache: one command works with those of
    one, unless it is told which."""
    a, b = (rig.mount(None, "--demo").hf("bert-base") for _ in range(2))
    cache = rig.dir("cache")
    rig.run(lib.OMNIHUB, "du", a, a + "/config.json")
    for first, second in ((a, b), (b, a)):
        p = subprocess.run([lib.OMNIHUB, "du", first, second],
                           env=rig.env(), check=False, timeout=50,
                           capture_output=True, text=True)
        equal(p.returncode, 1, p.stderr)
        check(f"{second}: EXDEV: in another mount" in p.stderr, p.stderr)
        equal(p.stderr.count("\n"), 1, p.stderr)
        check("huggingface/bert-base" in p.stdout, p.stdout)
    rig.run(lib.OMNIHUB, "du", "--demo", "--cache", cache, a, b)
    for m in a, b:
        lib.umount(m.split("/huggingface")[0], lib.OMNIHUB, "umount",
                   env=rig.env())


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
    top = rig.dir("new")
    at = os.path.join(top, "a", "b", "made")
    p = subprocess.run([lib.OMNIHUB, "mount", "--demo", "--cache",
                        rig.dir("cache"), "a//b/made/"], cwd=top, timeout=50,
                       env=rig.env(), check=False, capture_output=True)
    equal((p.returncode, p.stderr), (0, b""), "mount")
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
    silent(rig)
    stranger(rig)
    two(rig)
    closed(rig)
    up(rig)


lib.main(run)
