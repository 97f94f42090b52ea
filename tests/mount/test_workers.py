"""Planners are processes of their own, with nothing in their hands; killing
them is not seen, and they go when the mount goes."""
import os
import signal
import subprocess
import time

import lib
from lib import check, equal, figure

TOKEN = "hf_alice"


def workers(pid):
    """The mount's worker processes."""
    out = []
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{p}/stat", encoding="utf-8") as f:
                name, rest = f.read().rsplit(")", 1)
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if name.endswith("(omnihub-worker") and int(parent) == pid and \
                state != "Z":
            out.append(int(p))
    return out


def walls(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.split(":\t", 1) for line in f)


def bare(rig, pid):
    """What a worker holds and may do, as the kernel tells."""
    status = walls(pid)
    equal(status["NoNewPrivs"].strip(), "1", "no new privileges")
    equal(status["Seccomp"].strip(), "2", "a filter")
    equal(int(status["CapEff"], 16), 0, "capabilities")
    held = sorted(os.readlink(f"/proc/{pid}/fd/{n}").split(":")[0]
                  for n in os.listdir(f"/proc/{pid}/fd"))
    if not rig.sanitized:
        equal(held, ["/dev/null", "socket"], "descriptors")
    with open(f"/proc/{pid}/environ", "rb") as f:
        check(TOKEN.encode() not in f.read(), "the token is in a worker")
    with open(f"/proc/{pid}/limits", encoding="ascii") as f:
        limits = {line[:26].strip(): line[26:].split()[0]
                  for line in f.read().splitlines()[1:]}
    equal(limits["Max core file size"], "0", "core size")
    if not rig.sanitized:
        equal(limits["Max file size"], "0", "file size")
        equal(limits["Max address space"], str(1 << 30), "address space")


def status(m, key):
    for line in lib.read(m.path(".omnihub", "status")).decode().splitlines():
        if line.startswith(key + " "):
            return line[len(key):].strip()
    return ""


def killed_at_work(rig):
    """Once while it waits for bytes of the checkpoint: the planner has begun
    and cannot have ended."""
    hub = rig.hub({"org/slow": {"main": lib.bulky_bert(16)}})
    m = rig.mount(hub, token=TOKEN)
    hub.spoil("stall", at=0, match="model.safetensors", content=True)
    p = subprocess.Popen(["stat", "-c", "%s",
                          m.hf("org/slow/pytorch/model.onnx")],
                         stdout=subprocess.PIPE)
    lib.until(lambda: any("model.safetensors" in str(r) for r in hub.log()),
              20, "the planner's first range")
    at_work = workers(m.serving())
    check(at_work, "no worker is there")
    if os.geteuid() == 0:
        # The one at work has its walls; one that begins comes to have them.
        check(any(walls(pid)["Seccomp"].strip() == "2" for pid in at_work),
              "it works without walls")
        for pid in at_work:
            lib.until(lambda p=pid: walls(p)["Seccomp"].strip() == "2", 10,
                      "the walls of one that begins")
            bare(rig, pid)
    for pid in at_work:
        os.kill(pid, signal.SIGKILL)
    hub.clear()
    out, _ = p.communicate(timeout=30)
    equal(p.returncode, 0, "stat")
    check(int(out) > 8 * lib.MIB, "size", out)
    equal(os.stat(m.hf("org/slow/pytorch/model.onnx")).st_size, int(out))
    check("1 lost" in status(m, "sandbox"), status(m, "sandbox"))
    equal(status(m, "errors"), "0", "errors")
    return m


def gone_with_the_mount(m):
    left = workers(m.serving())
    check(left, "no worker is idle")
    figure("idle workers", len(left), "", 3)
    m.kill()
    lib.until(lambda: all(map(lib.has_ended, left)), 5,
              "workers of a mount that was killed")


def choices(rig):
    hub = rig.hub({"org/tiny": {"main": lib.bulky_bert(8)}})
    m = rig.mount(hub, "--set", "sandbox=off")
    size = os.stat(m.hf("org/tiny/pytorch/model.onnx")).st_size
    equal(workers(m.serving()), [], "workers that are off")
    equal(status(m, "sandbox"), "off")
    m.stop()
    m = rig.mount(hub, "--set", "sandbox=auto")
    start = time.monotonic()
    equal(os.stat(m.hf("org/tiny/pytorch/model.onnx")).st_size, size)
    figure("a stat that plans", time.monotonic() - start, "s")
    check("seccomp" in status(m, "sandbox"), status(m, "sandbox"))
    left = workers(m.serving())
    check(left, "no worker is idle")
    m.stop()
    lib.until(lambda: all(map(lib.has_ended, left)), 5,
              "workers of a mount that ended")
    # A program that is missing: planned in the daemon, or not mounted at all.
    nowhere = {"OMNIHUB_LIBEXECDIR": rig.dir("nowhere")}
    m = rig.mount(hub, env=nowhere)
    equal(os.stat(m.hf("org/tiny/pytorch/model.onnx")).st_size, size)
    check("omnihub-worker" in status(m, "sandbox"), status(m, "sandbox"))
    m.stop()
    p = subprocess.run([lib.MOUNT, "-f", "--set", "sandbox=require",
                        rig.dir("mnt")], env=rig.env(**nowhere), timeout=30,
                       stderr=subprocess.PIPE, check=False)
    equal(p.returncode, 1, "a mount without workers")
    check(b"omnihub-worker" in p.stderr, p.stderr)


def run(rig):
    m = killed_at_work(rig)
    gone_with_the_mount(m)
    choices(rig)


lib.main(run, 120)
