"""A cache that may not grow: it evicts, it refuses, and it is never over."""
import errno
import os

import lib
from lib import MIB, check, equal, figure, raises, read

BUDGET = 40 * MIB
SIZE = 12 * MIB


def on_disk(top):
    """Bytes that the cache's data takes, as du counts them."""
    total = 0
    for sub in ("objects", "partial", "tmp"):
        for where, _, files in os.walk(os.path.join(top, sub)):
            for n in files:
                try:
                    st = os.lstat(os.path.join(where, n))
                except FileNotFoundError:
                    continue
                total += st.st_blocks * 512
    return total


def names(top):
    """Of all files that hold data."""
    return {os.path.join(where, n) for sub in ("objects", "partial", "tmp")
            for where, _, files in os.walk(os.path.join(top, sub))
            for n in files}


def noise_digest(name):
    return lib.hashlib.sha256(lib.noise(name, SIZE)).hexdigest()


def digest(path):
    """Of what the mount gives: the kernel has the pages of what was read."""
    with open(path, "rb", buffering=0) as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return lib.digest(path)


def huge(m):
    """What there is never room for passes through, and is compared."""
    p = m.hf("org/huge/w.bin")
    before = names(m.cache)
    equal(read(p) == HUGE, True, "larger than the budget")
    equal(lib.xattr(p, "state"), "remote")
    equal(lib.xattr(p, "cached_bytes"), "0")
    check(lib.xattr(p, "kept").startswith("no: larger"), "kept")
    with open(p, "rb", buffering=0) as f:
        for off in (47 * MIB, 5, 30 * MIB + 77, len(HUGE) - 9):
            equal(os.pread(f.fileno(), 200000, off),
                  HUGE[off:off + 200000], f"at {off}")
        # The pages of what was read are the kernel's: another reader.
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        equal(lib.digest(p), lib.hashlib.sha256(HUGE).hexdigest())
        check("it was right" in lib.xattr(p, "kept"), lib.xattr(p, "kept"))
    # By names: the last bytes of what was refused may only come now. And what
    # is written under another name first has that for a moment.
    lib.until(lambda: not names(m.cache) - before, 10, "nothing kept of it")
    if not m.rig.sanitized:
        figure("memory", m.rss()["RssAnon"] / MIB, "MiB", 64)


def wrong(rig, hub):
    """Of one that is wrong nobody reads the end."""
    hub.spoil("flip", offset=40 * MIB, match="huge")
    m = rig.mount(hub, "--cache-size", "40M")
    p = m.hf("org/huge/w.bin")
    with raises(errno.EIO):
        read(p)
    said = rig.run(lib.OMNIHUB, "get", p, code=1)
    hub.clear()
    equal(read(p) == HUGE, True, "right again")
    check(not said, said)
    out = rig.run(lib.OMNIHUB, "get", p)
    check("verified, not kept" in out, out)
    m.stop()


HUGE = lib.noise("huge", 48 * MIB)


def run(rig):
    hub = rig.hub({
        f"org/m{i}": {"main": {"w.bin": lib.noise(f"m{i}", SIZE)}}
        for i in range(6)} | {
        "org/late": {"main": {"w.bin": lib.noise("late", SIZE)}},
        "org/huge": {"main": {"w.bin": HUGE}}})
    m = rig.mount(hub, "--cache-size", "40M")
    most = 0
    for i in range(6):
        equal(read(m.hf(f"org/m{i}/w.bin")) == lib.noise(f"m{i}", SIZE),
              True, f"m{i}")
        most = max(most, on_disk(m.cache))
        m.until_closed()
    figure("cache at most", most / MIB, "MiB", 1.02 * BUDGET / MIB)
    states = [lib.xattr(m.hf(f"org/m{i}/w.bin"), "cached_bytes")
              for i in range(6)]
    equal(int(states[5]), SIZE, "the last one stays")
    check("0" in states, "nothing was evicted:", states)
    # Evicted is only forgotten: it comes again.
    gone = states.index("0")
    p = m.hf(f"org/m{gone}/w.bin")
    equal(digest(p), noise_digest(f"m{gone}"), "fetched again")
    equal(int(lib.xattr(p, "cached_bytes")), SIZE, "fetched again")
    m.until_closed()

    # What is open stays; what cannot fit is refused in words.
    held = [open(m.hf(f"org/m{i}/w.bin"), "rb", buffering=0)
            for i in (3, 4, 5)]
    for i, f in zip((3, 4, 5), held):
        equal(digest(f.name), noise_digest(f"m{i}"), f"m{i}")
    with raises(errno.ENOSPC):
        read(m.hf("org/late/w.bin"))
    check(lib.xattr(m.hf("org/late/w.bin"), "error"), "no reason")
    figure("cache after that", on_disk(m.cache) / MIB, "MiB",
           1.02 * BUDGET / MIB)
    equal(os.pread(held[2].fileno(), 1000, 5000),
          lib.noise("m5", SIZE)[5000:6000], "an open file")
    huge(m)
    for f in held:
        f.close()
    m.until_closed()
    equal(read(m.hf("org/late/w.bin")) == lib.noise("late", SIZE), True,
          "after ENOSPC")
    m.stop()
    wrong(rig, hub)


lib.main(run)
