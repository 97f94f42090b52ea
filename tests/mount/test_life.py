"""From exec to unmount: the program in the background, dead mountpoints,
signals, wrong use."""
import errno
import os
import signal
import subprocess
import time

import lib
from lib import check, equal, figure, raises, read


def daemon(rig, hub, at, *more, code=0):
    start = time.monotonic()
    p = subprocess.run(
        [lib.MOUNT, "--cache", os.path.join(rig.top, "cache"), "--set",
         "huggingface.endpoint=" + hub.url, *more, at],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env=rig.env(), timeout=20, check=False)
    took = time.monotonic() - start
    if code == 0:
        equal(p.returncode, 0, p.stderr)
    else:
        check(p.returncode != 0, "returned 0")
    return p, took


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # Our session's child reaper may leave a zombie, or take it right now.
    try:
        return b") Z " in read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return True


def background(rig, hub):
    """The mountpoint is made; the answer is there when the program returns;
    SIGTERM, SIGINT, SIGHUP and umount all end it."""
    at = os.path.join(rig.top, "made", "deep")
    for how in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, "umount",
                "omnihub"):
        _, took = daemon(rig, hub, at)
        equal(read(os.path.join(at, "huggingface/org/a/f")), b"bytes",
              "right after the program returned")
        figure(f"ready in the background ({how})", took * 1000, "ms")
        pid = lib.supervisor_of(at)
        if how == "umount":
            lib.umount(at)
        elif how == "omnihub":
            lib.umount(at, lib.OMNIHUB, "umount", env=rig.env())
        else:
            os.kill(pid, how)
        lib.until(lambda: gone(pid), 15, f"the end after {how}")
        check(not os.path.ismount(at), how, "leaves it mounted")


def unheard(rig, hub):
    """Who starts it may have chosen not to hear of the end of children, and
    hands that on: the mount lives on and ends all the same."""
    at = rig.dir("mnt")
    rig.run("env", "--ignore-signal=CHLD", lib.MOUNT, "--set",
            "huggingface.endpoint=" + hub.url, at)
    equal(read(os.path.join(at, "huggingface/org/a/f")), b"bytes")
    pid = lib.supervisor_of(at)
    server = lib.server_of(pid)
    os.kill(server, signal.SIGKILL)
    lib.until(lambda: lib.server_of(pid) not in (None, server), 10,
              "another server")
    equal(os.listdir(os.path.join(at, "huggingface/org/a")), ["f"])
    lib.umount(at)
    lib.until(lambda: gone(pid), 10, "the end")


def busy(rig, hub):
    """A signal unmounts although a file is open."""
    m = rig.mount(hub)
    with open(m.hf("org/a/f"), "rb") as f:
        m.stop()
        with raises(errno.ENOTCONN, errno.EIO, errno.ECONNABORTED):
            os.pread(f.fileno(), 1, 0)
            os.listdir(m.at)
            raise OSError(errno.ENOTCONN, "unmounted, pages cached")


def dead(rig, hub):
    at = rig.dir("mnt")
    for _ in range(3):
        m = rig.mount(hub, at=at)
        held = open(m.hf("org/a/f"), "rb")  # keeps the dead mount busy
        m.kill()
        daemon(rig, hub, at)
        equal(read(os.path.join(at, "huggingface/org/a/f")), b"bytes")
        held.close()
        pid = lib.supervisor_of(at)
        lib.kill_both(pid)
        lib.until(lambda: gone(pid), 10, "death")
    daemon(rig, hub, at)
    lib.umount(at)
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        check(at not in f.read(), "dead mounts are left below")


def wrong_use(rig, hub):
    for argv in (["--no-such"], ["--set", "nonsense"],
                 ["--set", "no.such=1"], ["--cache-size", "many"]):
        p = subprocess.run([lib.MOUNT, *argv, rig.dir("x")],
                           capture_output=True, text=True, env=rig.env(),
                           stdin=subprocess.DEVNULL, timeout=20, check=False)
        check(p.returncode != 0, argv, "returned 0")
        check(p.stderr.strip(), argv, "no word of why")
        equal(p.stdout, "", "on standard output")
    file = os.path.join(rig.top, "file")
    with open(file, "w", encoding="ascii") as f:
        f.write("x")
    for at in (file, os.path.join(file, "below")):
        p, _ = daemon(rig, hub, at, code=1)
        equal(len(p.stderr.strip().splitlines()), 1, p.stderr)
    out = rig.run(lib.MOUNT, "--help")
    for option in ("--cache", "--offline", "--demo", "--set", "--foreground"):
        check(option in out, option, "is not in --help")
    check(rig.run(lib.MOUNT, "--version").strip(), "--version")


def places(rig, hub):
    """$MODELHUB_PATH, $OMNIHUB_HOME, ~/.modelhub, in this order."""
    home = os.path.join(rig.top, "home")
    one, two = os.path.join(rig.top, "one"), os.path.join(rig.top, "two")
    for env, at in (({"MODELHUB_PATH": one, "OMNIHUB_HOME": two}, one),
                    ({"OMNIHUB_HOME": two}, two),
                    ({}, os.path.join(home, ".modelhub"))):
        rig.run(lib.MOUNT, "--set", "huggingface.endpoint=" + hub.url, **env)
        equal(read(os.path.join(at, "huggingface/org/a/f")), b"bytes", at)
        lib.umount(at)


def run(rig):
    hub = rig.hub({"org/a": {"main": {"f": b"bytes"}}})
    background(rig, hub)
    unheard(rig, hub)
    busy(rig, hub)
    dead(rig, hub)
    places(rig, hub)
    wrong_use(rig, hub)


lib.main(run)
