"""A branch moves at the hub: who looks it up again sees the new revision, who
has a file open reads on in the old one, and a hub that does not answer holds
nobody up who has been answered before."""
import errno
import json
import os
import subprocess
import threading
import time

import lib
from lib import check, equal, figure, raises, read

MIB = lib.MIB
OLD = {"config.json": b'{"v": "old"}', "gone.txt": b"only in the old one\n",
       "sub/x": b"old x", "big.bin": lib.noise("old", 8 * MIB)}
NEW = {"config.json": b'{"v": "the new one"}', "sub/x": b"new x",
       "came.txt": b"only in the new one\n",
       "big.bin": lib.noise("new", 8 * MIB)}
REPOS = {
    "org/moving": {"at-0": OLD, "v1.0": {"config.json": b"tagged"},
                   "refs/pr/1": {"config.json": b"proposed"}},
    "org/still": {"main": {"README.md": b"still\n"}},
}


SET = {"tags": ["v1.0"], "refs": {"main": "at-0", "v1.0": "v1.0",
                                  "refs/pr/1": "refs/pr/1"}}


def move(hub, files, then=lambda: None):
    """The branch gets a new commit; the hub keeps the old ones, as all do."""
    move.n += 1
    rev = f"at-{move.n}"
    hub.put("org/moving", rev, dict(files, n=b"%d" % move.n))
    SET["refs"]["main"] = rev
    with open(os.path.join(hub.root, "org/moving/hub.json"), "w",
              encoding="ascii") as f:
        json.dump(SET, f)
    hub.ctl(reload=True)
    then()
    return hub.commit("org/moving")


move.n = 0


def revisions(rig, hub):
    """Every form of a revision, and that of another kind beside it."""
    m = rig.mount(hub)
    commit = hub.commit("org/moving")
    for rev, want in (("main", OLD["config.json"]), ("v1.0", b"tagged"),
                      ("refs%2Fpr%2F1", b"proposed"),
                      (commit, OLD["config.json"]),
                      (hub.commit("org/moving", "v1.0"), b"tagged")):
        equal(read(m.hf(f"org/moving@{rev}/config.json")), want, rev)
    for none in ("nope", "v1", "refs%2Fpr%2F2", "0" * 40, "refs/pr/1",
                 "v1.0%2F", ""):
        with raises(errno.ENOENT):
            os.stat(m.hf(f"org/moving@{none}"))
    m.stop()


def moves(rig, hub):
    """By itself, after cache.fresh seconds; readers keep what they opened."""
    old = hub.commit("org/moving")
    m = rig.mount(hub, "--set", "cache.fresh=1")
    top = m.hf("org/moving")
    equal(lib.xattr(top + "/config.json", "revision"), old)
    os.stat(top + "/gone.txt")
    os.stat(top + "/sub/x")
    with raises(errno.ENOENT):
        os.stat(top + "/came.txt")
    with open(top + "/big.bin", "rb", buffering=0) as f, \
            open(top + "/sub/x", "rb", buffering=0) as g:
        equal(f.read(4096), OLD["big.bin"][:4096])
        inside = os.open(top + "/sub", os.O_RDONLY)
        new = move(hub, NEW)
        check(new != old, "the branch did not move")
        start = time.monotonic()
        lib.until(lambda: lib.xattr(top + "/config.json", "revision") == new,
                  8, "the new revision")
        figure("seconds until the new revision shows",
               time.monotonic() - start, "s")
        equal(read(top + "/config.json"), NEW["config.json"])
        equal(os.stat(top + "/config.json").st_size, len(NEW["config.json"]))
        # Each name has a life of its own in the kernel, counted from when it
        # got the answer.
        lib.until(lambda: read(top + "/sub/x") != OLD["sub/x"], 5,
                  "a name in a directory")
        equal(read(top + "/sub/x"), NEW["sub/x"])
        lib.until(lambda: os.path.exists(top + "/came.txt"), 5,
                  "a name that was not there")
        equal(read(top + "/came.txt"), NEW["came.txt"])
        lib.until(lambda: not os.path.exists(top + "/gone.txt"), 5,
                  "a name to go")
        with raises(errno.ENOENT):
            os.stat(top + "/gone.txt")
        equal(sorted(os.listdir(top)), ["big.bin", "came.txt", "config.json",
                                        "n", "sub"])
        # The rest of what was open, fetched only now.
        equal(os.pread(f.fileno(), MIB, 7 * MIB), OLD["big.bin"][7 * MIB:])
        equal(os.pread(g.fileno(), 99, 0), OLD["sub/x"])
        equal(read(top + "/big.bin") == NEW["big.bin"], True, "new big.bin")
        equal(os.pread(f.fileno(), MIB, 5 * MIB),
              OLD["big.bin"][5 * MIB:6 * MIB])
        equal(os.listdir(inside), ["x"], "a directory that was open")
        os.close(inside)
    equal(read(m.hf(f"org/moving@{old}/config.json")), OLD["config.json"])
    m.stop()


def refreshed(rig, hub):
    """At once, when a user asks for it on the command line."""
    old = move(hub, OLD)
    m = rig.mount(hub)
    top = m.hf("org/moving")
    equal(lib.xattr(top + "/config.json", "revision"), old)
    os.stat(top + "/sub/x")
    errors = []
    stop, opened = threading.Event(), threading.Barrier(4)

    def reader():
        with open(top + "/big.bin", "rb", buffering=0) as f:
            at = 0
            opened.wait(30)
            while not stop.is_set():
                if os.pread(f.fileno(), 65536, at) != \
                        OLD["big.bin"][at:at + 65536]:
                    errors.append(at)
                at = (at + 65536) % len(OLD["big.bin"])
    threads = [threading.Thread(target=reader) for _ in range(3)]
    for t in threads:
        t.start()
    opened.wait(30)
    new = move(hub, NEW)
    equal(lib.xattr(top + "/config.json", "revision"), old, "in its lifetime")
    out = rig.run(lib.OMNIHUB, "ls", "--refresh", top).split()
    equal(out, ["big.bin", "came.txt", "config.json", "n", "sub/"])
    equal(lib.xattr(top + "/config.json", "revision"), new)
    equal(read(top + "/sub/x"), NEW["sub/x"])
    # Below a repository, and of what only the newest revision has.
    newer = move(hub, dict(NEW, **{"deep/er/y": b"y"}))
    with raises(errno.ENOENT):
        os.stat(top + "/deep")
    out = rig.run(lib.OMNIHUB, "ls", "--refresh", top + "/deep/er").split()
    equal(out, ["y"])
    equal(lib.xattr(top + "/deep/er/y", "revision"), newer)
    # A repository that is new, and the listing of its owner.
    equal(sorted(os.listdir(m.hf("org"))), ["moving", "still"])
    with raises(errno.ENOENT):
        os.stat(m.hf("org/made/README.md"))
    hub.put("org/made", "main", {"README.md": b"made\n"})
    hub.ctl(reload=True)
    out = rig.run(lib.OMNIHUB, "ls", "--refresh", m.hf("org")).split()
    equal(out, ["made/", "moving/", "still/"])
    equal(sorted(os.listdir(m.hf("org"))), ["made", "moving", "still"])
    equal(read(m.hf("org/made/README.md")), b"made\n", "a refusal stays")
    for at in (m.hf(), m.at):
        rig.run(lib.OMNIHUB, "ls", "--refresh", at)
    stop.set()
    for t in threads:
        t.join()
    equal(errors, [], "readers of the old revision")
    # The attribute that does it is none.
    check("user.omnihub.refresh" not in os.listxattr(top), "listed")
    m.stop()


def patient(rig, hub):
    """The hub takes requests and does not answer."""
    move(hub, OLD)
    m = rig.mount(hub, "--set", "cache.fresh=1", "--set", "fetch.timeout=20")
    top = m.hf("org/moving")
    equal(read(top + "/config.json"), OLD["config.json"])
    time.sleep(1.2)
    hub.spoil("stall", at="start", match="/api/models/org/moving/revision")
    start = time.monotonic()
    equal(read(top + "/config.json"), OLD["config.json"])
    took = time.monotonic() - start
    figure("a look-up while the hub hangs", took, "s", 4.0)
    check(took > 1, "the hub was not asked")
    for n in ("gone.txt", "sub/x", "config.json"):
        start = time.monotonic()
        equal(read(top + "/" + n), OLD[n])
        figure("the next one", time.monotonic() - start, "s", 1.0)
    # What it says in the end is used.
    new = move(hub, NEW, hub.clear)
    lib.until(lambda: lib.xattr(top + "/config.json", "revision") == new, 10,
              "the late answer")
    # A name nobody asked for before has to wait; a refresh wants the truth.
    hub.spoil("stall", at="start", match="/api/models/org/moving/revision")
    p = subprocess.Popen([lib.OMNIHUB, "ls", "--refresh", top],
                         stdout=subprocess.DEVNULL, env=rig.env(),
                         stderr=subprocess.DEVNULL)
    time.sleep(3)
    equal(p.poll(), None, "a refresh took an old answer")
    p.kill()
    p.wait()
    hub.clear()
    m.stop()


def run(rig):
    hub = rig.hub(REPOS, {"org/moving": SET})
    for test in (revisions, moves, refreshed, patient):
        print("#", test.__name__, flush=True)
        test(rig, hub)


lib.main(run)
