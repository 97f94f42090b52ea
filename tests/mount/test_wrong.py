"""What the network does to bytes: each fault once is healed, wrong bytes for
good are an error with a reason, and nothing wrong is kept."""
import errno
import os
import time

import lib
from lib import MIB, check, equal, figure, raises, read

SIZE = 2 * MIB
LARGE = 12 * MIB
FEW = ("--set", "fetch.retries=2")
# For stalls alone: on a busy machine a hub that means well may be silent for a
# second, too, and that is a retry less for the fault.
QUICK = (*FEW, "--set", "fetch.timeout=1")
FAULTS = [
    # (name, rule); each applies to requests for content
    ("wrong byte once", dict(do="flip", offset=70007, times=1)),
    ("wrong first byte once", dict(do="flip", offset=0, times=1)),
    ("cut body", dict(do="cut", at=100000, times=2)),
    ("cut before the answer", dict(do="cut", at="start", times=1)),
    ("cut inside the head", dict(do="cut", at="headers", times=1)),
    ("short but consistent", dict(do="truncate", at=5000, times=1)),
    ("503 twice", dict(do="status", code=503, times=2)),
    ("500 once", dict(do="status", code=500, times=1)),
    ("408 once", dict(do="status", code=408, times=1)),
    ("429 once", dict(do="status", code=429, wait=1, times=1)),
    ("wrong Content-Range", dict(do="content-range", shift=4096, times=1)),
    ("ignored range", dict(do="ignore-range", times=2)),
    ("a page of HTML", dict(do="html", times=1)),
    ("stall before the answer", dict(do="stall", at="start", times=1)),
    ("stall inside the head", dict(do="stall", at="headers", times=1)),
    ("stall inside the body", dict(do="stall", at=70000, times=1)),
    ("expired signature", dict(do="status", code=403, host="cdn", times=1)),
    ("gzip though identity was asked", dict(do="gzip", times=1)),
]


def told(path):
    """Why, in words, if there are any."""
    try:
        return lib.xattr(path, "error")
    except OSError:
        return ""


def before_read(rig, hub, tree):
    """cache.verify=before-read hands out nothing unverified, so the reader
    sees no error either."""
    m = rig.mount(hub, *FEW, "--set", "cache.verify=before-read")
    for kind in ("lfs.bin", "git.txt"):
        hub.clear()
        hub.spoil("flip", offset=70007, times=1,
                  match=f"org/before/{kind}$")
        equal(read(m.hf("org/before", kind)) ==
              tree["org/before"]["main"][kind], True, kind)
        equal(hub.ctl()["rules"][0]["hits"], 1)
    hub.clear()
    m.stop()


def healed(rig, hub, tree):
    """Every fault of a few times ends in the right file."""
    mounts = {args: rig.mount(hub, *args) for args in (FEW, QUICK)}
    for i, (name, rule) in enumerate(FAULTS):
        start = time.monotonic()
        m = mounts[QUICK if rule["do"] == "stall" else FEW]
        for kind in ("lfs.bin", "git.txt"):
            if rule.get("host") == "cdn" and kind == "git.txt":
                continue
            path = f"org/f{i}/{kind}"
            hub.clear()
            hub.ctl(add=[dict(rule, match=rf"GET /(xet|api/resolve-cache).*"
                              rf"{path}$")])
            want = tree[f"org/f{i}"]["main"][kind]
            try:
                got = read(m.hf(path))
            except OSError as e:
                # Only who was handed the wrong byte must be told so.
                check(rule["do"] == "flip" and e.errno == errno.EIO,
                      name, kind, e, told(m.hf(path)))
                got = read(m.hf(path))
            check(got == want, name, kind, "wrong bytes")
            hits = hub.ctl()["rules"][0]["hits"]
            check(hits, name, kind, "never happened")
        figure(name, time.monotonic() - start, "s")
    hub.clear()
    for m in mounts.values():
        m.stop()


def signed_for_a_moment(rig, hub, data):
    """Addresses that live for a second are asked for again."""
    hub.ctl(set={"sign_seconds": 1})
    hub.spoil("drip", rate=8 * MIB, host="cdn")
    m = rig.mount(hub, *FEW)
    path = m.hf("org/signed/lfs.bin")
    equal(read(path, 4096), data["lfs.bin"][:4096])
    time.sleep(2.2)
    equal(read(path) == data["lfs.bin"], True, "after expiry")
    hub.clear()
    hub.ctl(set={"sign_seconds": 3600})
    m.stop()


def once_too_late(rig, hub, data):
    """A wrong byte in a file that is read while it comes: whoever got it is
    told, and who reads again gets the right file."""
    m = rig.mount(hub, *FEW)
    path = m.hf("org/once/lfs.bin")
    hub.spoil("flip", offset=MIB + 7, times=1, match="org/once/lfs.bin$")
    try:
        got = read(path)
        check(got == data, "wrong bytes and no error")
    except OSError as e:
        equal(e.errno, errno.EIO, told(path))
        figure("who read the wrong byte was told", repr(told(path)))
        check("digest" in told(path), told(path))
    equal(read(path) == data, True, "the second read")
    equal(lib.xattr(path, "state"), "verified")
    m.stop()

    # The wrong byte is read and the file closed again; what the kernel keeps
    # of it must not pass for the truth later.
    hub.clear()
    hub.spoil("flip", offset=100, times=1, match="org/once/lfs.bin$")
    m = rig.mount(hub, *FEW)
    path = m.hf("org/once/lfs.bin")
    check(read(path, 65536) != data[:65536], "the fault did not happen")
    for _ in range(2):
        try:
            equal(read(path) == data, True, "a read after a wrong one")
        except OSError as e:
            equal(e.errno, errno.EIO, told(path))
    equal(read(path) == data, True, "at last")
    hub.clear()
    m.stop()


def never_right(rig, hub, data):
    """One wrong byte each time: EIO, a reason, and no object of it."""
    hub.spoil("flip", offset=MIB + 7, match="org/always/lfs.bin$")
    hub.spoil("flip", offset=5, match="org/always/git.txt$")
    m = rig.mount(hub, *FEW)
    for kind in ("lfs.bin", "git.txt"):
        path = m.hf("org/always", kind)
        with raises(errno.EIO):
            lib.digest(path)
        why = lib.xattr(path, "error")
        figure(f"words for {kind}", repr(why))
        check(len(why) > 10, "no reason told")
        # It stays an error, and is never short or zero.
        with raises(errno.EIO):
            lib.digest(path)
        log = read(m.path(".omnihub/errors")).decode()
        check(kind in log, "not in /.omnihub/errors:", log)
    p = lib.subprocess.run(["cat", m.hf("org/always/lfs.bin")],
                           capture_output=True, check=False)
    check(p.returncode != 0, "cat ends 0 on wrong bytes")
    sums = set()
    for where, _, files in os.walk(os.path.join(m.cache, "objects")):
        for f in files:
            sums.add(lib.digest(os.path.join(where, f)))
    wrong = bytearray(data["lfs.bin"])
    wrong[MIB + 7] ^= 0x55
    check(lib.hashlib.sha256(wrong).hexdigest() not in sums,
          "the wrong bytes are an object of the cache")
    hub.clear()
    # Once the hub is right again, so is the file (after a new mount at last).
    cache = m.cache
    m.stop()
    m = rig.mount(hub, *FEW, cache=cache)
    for kind in ("lfs.bin", "git.txt"):
        equal(read(m.hf("org/always", kind)) == data[kind], True,
              kind + " after the hub was healed")
    m.stop()


def run(rig):
    # The bytes differ by repository, or the cache would know them.
    tree = {}
    for r in [f"f{i}" for i in range(len(FAULTS))] + ["before"]:
        tree["org/" + r] = {"main": {"lfs.bin": lib.noise(r, SIZE),
                                     "git.txt": lib.noise(r + "g", 300000)}}
    # Large enough that bytes are handed out before the digest is known.
    for r in ("signed", "once", "always"):
        tree["org/" + r] = {"main": {"lfs.bin": lib.noise(r, LARGE),
                                     "git.txt": lib.noise(r + "g", 300000)}}
    hub = rig.hub(tree)
    healed(rig, hub, tree)
    before_read(rig, hub, tree)
    signed_for_a_moment(rig, hub, tree["org/signed"]["main"])
    once_too_late(rig, hub, tree["org/once"]["main"]["lfs.bin"])
    never_right(rig, hub, tree["org/always"]["main"])


lib.main(run)
