"""Listings that come broken, and hubs that stay broken: healed, or the errno
of the contract with a reason; nothing hangs."""
import errno
import os

import lib
from lib import check, equal, raises, read

SIZE = 1 << 20
LISTING_FAULTS = [
    ("503 twice", dict(do="status", code=503, times=2)),
    ("429 once", dict(do="status", code=429, wait=1, times=1)),
    ("cut", dict(do="cut", at=40, times=2)),
    ("stall", dict(do="stall", at="start", times=1)),
    ("stall inside", dict(do="stall", at=30, times=1)),
]
ERRORS = [
    ("503", dict(do="status", code=503), (errno.EIO,)),
    ("stall", dict(do="stall", at="start"), (errno.ETIMEDOUT,)),
    ("stall2", dict(do="stall", at=50000), (errno.ETIMEDOUT,)),
    ("loop", dict(do="loop"), (errno.EIO, errno.ELOOP)),
    ("html", dict(do="html"), (errno.EIO,)),
    ("range", dict(do="content-range", shift=1), (errno.EIO,)),
    ("cut", dict(do="cut", at="start"), (errno.EIO, errno.ETIMEDOUT)),
    ("commit", dict(do="commit"), (errno.EIO,)),
    ("404", dict(do="status", code=404), (errno.ENOENT, errno.EIO)),
]


def args(rule):
    """Only what stalls is given up soon; a busy machine is no stall."""
    return ("--set", "fetch.retries=2", "--set",
            f"fetch.timeout={1 if rule['do'] == 'stall' else 20}")


def listings(rig, hub):
    """What is told of a repository comes the same way, and is as fragile."""
    for i, (name, rule) in enumerate(LISTING_FAULTS):
        m = rig.mount(hub, *args(rule))
        for j, what in enumerate(("/revision/", "/tree/")):
            repo = f"org/l{i}{j}"
            hub.clear()
            hub.ctl(add=[dict(rule, match=f"GET /api/models/{repo}"
                              f"({what})")])
            equal(sorted(os.listdir(m.hf(repo))), ["git.txt", "lfs.bin"],
                  f"{name} of {what}")
            check(hub.ctl()["rules"][0]["hits"], name, what,
                  "never happened")
        m.stop()
    for j, rule in enumerate((dict(do="html"), dict(do="status", code=500))):
        m = rig.mount(hub, *args(rule))
        hub.clear()
        hub.spoil(match=f"/api/models/org/bad{j}", **rule)
        with raises(errno.EIO):
            os.listdir(m.hf(f"org/bad{j}"))
        m.stop()
    hub.clear()


def errors(rig, hub):
    """Faults that do not go away: the errno of the contract, in time."""
    m = rig.mount(hub)
    for name, _, _ in ERRORS:       # what is told of them is known then
        equal(os.stat(m.hf(f"org/e-{name}/lfs.bin")).st_size, SIZE)
    cache = m.cache
    m.stop()
    for name, rule, want in ERRORS:
        m = rig.mount(hub, *args(rule), cache=cache)
        hub.clear()
        hub.ctl(add=[dict(rule, match=f"org/e-{name}/lfs.bin$")])
        path = m.hf(f"org/e-{name}/lfs.bin")
        equal(os.stat(path).st_size, SIZE)
        with lib.timed(f"{name}: error after"), raises(*want):
            read(path)
        check(lib.xattr(path, "error"), name, "no reason told")
        check(os.listdir(m.hf(f"org/e-{name}")), "ls still works")
        m.stop()
    hub.clear()


def run(rig):
    data = {"lfs.bin": lib.noise("broken", SIZE), "git.txt": b"some text\n"}
    # The bytes differ by repository, or the cache would know them.
    repos = [f"l{i}{j}" for i in range(len(LISTING_FAULTS)) for j in (0, 1)]
    repos += ["e-" + e[0] for e in ERRORS] + ["bad0", "bad1"]
    hub = rig.hub({"org/" + r: {"main": {
        k: r.encode() + v[len(r):] for k, v in data.items()}}
        for r in repos})
    listings(rig, hub)
    errors(rig, hub)


lib.main(run)
