"""A hub that stops answering stalls who needs it, and nobody else."""
import os
import signal
import subprocess
import sys
import time

import lib
from lib import MIB, check, equal, figure, read

READERS = 200
# Generous: the machine may be busy; a stall lasts for ten minutes. The figures
# are printed.
BOUND = 15.0 if os.path.exists(lib.MOUNT) and lib.sanitized() else 5.0

STALL = r"""
import os, signal, sys, threading
signal.signal(signal.SIGINT, signal.SIG_DFL)
def one(path, off):
    fd = os.open(path, os.O_RDONLY)
    os.pread(fd, 4096, off)
files = sys.argv[2:]
for i in range(int(sys.argv[1])):
    threading.Thread(target=one, args=(
        files[i % len(files)], (i // len(files)) * (1 << 20))).start()
print("all", flush=True)
"""


def big(size):
    def make(path):
        with open(path, "wb") as f:
            f.truncate(size)
            f.write(lib.noise(path, 1000))
    return make


def worst(fn, times=20):
    out = 0.0
    for _ in range(times):
        start = time.monotonic()
        fn()
        out = max(out, time.monotonic() - start)
    return out


def stat_cold(m):
    """Names the kernel has not cached, in a listed repository."""
    for i in range(30):
        os.stat(m.hf("org/many", f"f{i:02}"))


def responsive(m, want):
    figure("ls with stalled reads", worst(
        lambda: subprocess.run(["ls", "-l", m.hf("org/warm")], check=True,
                               stdout=subprocess.DEVNULL)), "s", BOUND)
    figure("stat with stalled reads", worst(
        lambda: os.stat(m.hf("org/warm/pytorch/model.onnx"))), "s", BOUND)
    figure("30 cold stats with stalled reads", worst(
        lambda: stat_cold(m), 1), "s", BOUND)

    def cached():
        equal(read(m.hf("org/warm/model.safetensors")) == want, True,
              "cached bytes")
    figure("read of a cached file with stalled reads", worst(cached), "s",
           BOUND)
    figure("status with stalled reads", worst(
        lambda: read(m.path(".omnihub/status"))), "s", BOUND)
    figure("ls of the stalled directory", worst(
        lambda: os.listdir(m.hf("org/big"))), "s", BOUND)


def ends_on(m, sig):
    """A reader alone on a stalled file, and one beside many others."""
    for name in ("big-0.bin", "alone.bin"):
        p = subprocess.Popen(["cat", m.hf("org/big", name)],
                             stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        equal(p.poll(), None, "cat does not wait")
        start = time.monotonic()
        p.send_signal(sig)
        equal(p.wait(10), -sig, f"cat {name} on {sig!r}")
        figure(f"cat {name} ends after {sig.name}",
               time.monotonic() - start, "s", BOUND)


def slow_names(rig, hub):
    """A name that the hub does not answer for blocks who asks for it, and not
    the directory it stands in."""
    m = rig.mount(hub, "--set", "fetch.timeout=600")
    os.listdir(m.hf("org/warm"))
    hub.spoil("stall", at="start", match="/api/models/org/slow")
    slow = [subprocess.Popen(["ls", "-l", m.hf("org", n)],
                             stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
            for n in ("slow", "slow@v1")]
    time.sleep(0.3)
    figure("ls of a sibling of a slow name", worst(
        lambda: os.listdir(m.hf("org/warm"))), "s", BOUND)
    with lib.timed("lookup of another name", BOUND):
        equal(read(m.hf("org/many/f01")), b"1")
    with lib.timed("a listing of the owner", BOUND):
        check("warm" in os.listdir(m.hf("org")), "org/")
    for p in slow:
        equal(p.poll(), None, "ls does not wait")
        p.send_signal(signal.SIGINT)
        equal(p.wait(5), -signal.SIGINT, "ls of a slow name on SIGINT")
    hub.clear()
    m.stop()


def slow_plans(rig, hub):
    """The same for the size of a staged file, whose headers do not come. (One
    asks: a second one waits in the kernel for the first, deaf to signals.)"""
    m = rig.mount(hub, "--set", "fetch.timeout=600")
    hub.spoil("stall", at="start", match="GET .* org/cold/model.safetensors$")
    slow = [subprocess.Popen(["stat", m.hf("org/cold/pytorch/model.onnx")],
                             stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)]
    time.sleep(0.3)
    with lib.timed("config.json beside it", BOUND):
        check(read(m.hf("org/cold/config.json")), "config.json")
    with lib.timed("another staged file", BOUND):
        check(os.stat(m.hf("org/warm/pytorch/model.onnx")).st_size, "size")
    with lib.timed("names of the staged files", BOUND):
        check("model.onnx" in os.listdir(m.hf("org/cold/pytorch")), "names")
    slow[0].send_signal(signal.SIGINT)
    equal(slow[0].wait(5), -signal.SIGINT, "stat on SIGINT")
    slow = [subprocess.Popen(["stat", m.hf("org/cold/pytorch/model.onnx")],
                             stdout=subprocess.DEVNULL) for _ in range(3)]
    time.sleep(0.3)
    hub.clear()
    for p in slow:
        equal(p.wait(20), 0, "stat once the hub answers")
    m.stop()


def run(rig):
    names = [f"big-{i}.bin" for i in range(4)] + ["alone.bin"]
    warm = lib.models.minilm("org/warm")
    hub = rig.hub({
        "org/big": {"main": {n: big(64 * MIB) for n in names}},
        "org/warm": {"main": warm},
        "org/cold": {"main": lib.models.minilm("org/cold")},
        "org/slow": {"main": warm, "v1": warm},
        "org/many": {"main": {f"f{i:02}": b"%d" % i for i in range(30)}}})
    m = rig.mount(hub, "--set", "fetch.timeout=600")
    want = warm["model.safetensors"]
    equal(read(m.hf("org/warm/model.safetensors")) == want, True)
    read(m.hf("org/warm/pytorch/model.onnx"))
    os.listdir(m.hf("org/warm"))
    os.listdir(m.hf("org/many"))
    os.listdir(m.hf("org/big"))

    hub.spoil("stall", at="start", match=r"org/big/.*\.bin$")
    p = subprocess.Popen([sys.executable, "-c", STALL, str(READERS)]
                         + [m.hf("org/big", n) for n in names[:4]],
                         stdout=subprocess.PIPE)
    equal(p.stdout.readline(), b"all\n")
    time.sleep(0.5)
    equal(p.poll(), None, "the readers do not wait")
    check(len(os.listdir(f"/proc/{p.pid}/task")) > READERS * 0.9,
          "readers have ended")
    responsive(m, want)
    ends_on(m, signal.SIGINT)
    ends_on(m, signal.SIGKILL)
    with lib.timed("stalled readers end, once the hub answers", 25):
        hub.clear()
        equal(p.wait(25), 0, "stalled readers")
    equal(read(m.hf("org/big/alone.bin"), 1000),
          read(os.path.join(hub.root, "org/big/main/alone.bin"), 1000))

    # A few stalled readers do not keep others from what is not here yet, nor
    # the program from ending.
    hub.spoil("stall", at=100, match=r"org/big/.*\.bin$")
    cats = [subprocess.Popen(["cat", m.hf("org/big", n)],
                             stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL) for n in names]
    time.sleep(0.3)
    with lib.timed("an uncached file beside stalled ones", 20):
        equal(read(m.hf("org/many/f07")), b"7")
    with lib.timed("SIGTERM with a stalled reader", 15):
        m.stop()
    for p in cats:
        check(p.wait(10) != 0, "cat ended 0 without its bytes")
    hub.clear()
    slow_names(rig, hub)
    slow_plans(rig, hub)


lib.main(run)
