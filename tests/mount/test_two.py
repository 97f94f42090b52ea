"""Two programs on one cache: each byte is fetched once, and either may lose
the index under its feet."""
import os
import subprocess
import threading

import lib
from lib import MIB, check, equal, figure, read, until

REPO = "org/shared"
SIZE = 24 * MIB


def no_index(rig, hub, old):
    """Somebody deletes the index, as he may, while a mount has it open: the
    file only, then with what SQLite keeps beside it."""
    path = os.path.join(old.cache, "index.sqlite")
    for ends in (("",), ("", "-wal"), ("", "-shm"), ("", "-wal", "-shm")):
        for e in ends:
            os.unlink(path + e)
        new = rig.mount(hub, cache=old.cache)
        before = hub.content()
        for m in (new, old):
            equal(lib.digest(m.hf("org/more/w.bin")), lib.hashlib.sha256(
                lib.noise("more", 4 * MIB)).hexdigest(), f"without {ends}")
        equal(hub.content(), before, "content fetched again")
        old.stop()
        old = rig.mount(hub, cache=old.cache)
        equal(len(os.listdir(old.hf("org/third"))), 1, "beside the old one")
        new.stop()


def whole(path):
    try:
        return read(path)
    except OSError:
        return None     # it was among those who got wrong bytes


def wrong_beside(rig, hub, new):
    """The bytes that one mount has read and closed are wrong, as the other one
    finds out: what the kernel has of them is not read again."""
    old = rig.mount(hub, "--set", "mount.passthrough=no", cache=new.cache)
    data = lib.noise("wrong", 24 * MIB)
    hub.put("org/wrong", "main", {"w.bin": data})
    hub.ctl(reload=True)
    paths = [m.hf("org/wrong/w.bin") for m in (old, new)]
    hub.spoil("flip", offset=100, times=1, match="org/wrong/w.bin$")
    check(read(paths[0], 65536) != data[:65536], "the fault did not happen")
    old.until_closed()
    check(lib.xattr(paths[0], "state") == "partial", "it has all of it")
    until(lambda: whole(paths[1]) == data, 20, "the right bytes")
    equal(read(paths[0], 65536) == data[:65536], True, "of the other mount")
    old.stop()


def run(rig):
    data = lib.noise("two", SIZE)
    hub = rig.hub({REPO: {"main": {"weights.bin": data}}})
    want = lib.hashlib.sha256(data).hexdigest()
    cache = rig.dir("cache")
    mounts = [rig.mount(hub, cache=cache) for _ in range(2)]
    hub.spoil("drip", rate=8 * MIB, host="cdn")
    before, got = hub.sent(), [None, None]

    def reader(i):
        got[i] = lib.digest(mounts[i].hf(REPO, "weights.bin"))

    threads = [threading.Thread(target=reader, args=(i,)) for i in (0, 1)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(got, [want, want])
    figure("two mounts at once: moved / size", (hub.sent() - before) / SIZE,
           "", 1.05)

    # The command line beside a mount: get what the mount then serves.
    hub.clear()
    hub.put("org/more", "main", {"w.bin": lib.noise("more", 4 * MIB)})
    hub.ctl(reload=True)
    rig.run(lib.OMNIHUB, "get", "--cache", cache, "--set",
            "huggingface.endpoint=" + hub.url, "huggingface/org/more/w.bin")
    before = hub.content()
    equal(lib.digest(mounts[0].hf("org/more/w.bin")),
          lib.hashlib.sha256(lib.noise("more", 4 * MIB)).hexdigest())
    figure("content requests after omnihub get", hub.content() - before, "",
           0)

    wrong_beside(rig, hub, mounts[1])

    # One dies while both wait for the same bytes; the other goes on.
    hub.put("org/third", "main", {"w.bin": lib.noise("third", 8 * MIB)})
    hub.ctl(reload=True)
    hub.spoil("drip", rate=2 * MIB, host="cdn")
    cats = [subprocess.Popen(["sha256sum", m.hf("org/third/w.bin")],
                             stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL) for m in mounts]
    lib.time.sleep(0.6)
    mounts[0].kill()
    hub.clear()
    out = cats[1].communicate(timeout=30)[0]
    check(out.startswith(lib.hashlib.sha256(
        lib.noise("third", 8 * MIB)).hexdigest().encode()), out)
    cats[0].wait(10)
    no_index(rig, hub, mounts[1])


lib.main(run)
