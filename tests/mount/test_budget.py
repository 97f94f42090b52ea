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


def run(rig):
    hub = rig.hub({
        f"org/m{i}": {"main": {"w.bin": lib.noise(f"m{i}", SIZE)}}
        for i in range(6)} | {
        "org/huge": {"main": {"w.bin": lib.noise("huge", 48 * MIB)}}})
    m = rig.mount(hub, "--cache-size", "40M")
    most = 0
    for i in range(6):
        equal(read(m.hf(f"org/m{i}/w.bin")) == lib.noise(f"m{i}", SIZE),
              True, f"m{i}")
        most = max(most, on_disk(m.cache))
    figure("cache at most", most / MIB, "MiB", 1.02 * BUDGET / MIB)
    states = [lib.xattr(m.hf(f"org/m{i}/w.bin"), "cached_bytes")
              for i in range(6)]
    equal(int(states[5]), SIZE, "the last one stays")
    check("0" in states, "nothing was evicted:", states)
    # Evicted is only forgotten: it comes again.
    gone = states.index("0")
    equal(read(m.hf(f"org/m{gone}/w.bin")) == lib.noise(f"m{gone}", SIZE),
          True, "fetched again")

    # What is open stays; what cannot fit is refused in words.
    with open(m.hf("org/m5/w.bin"), "rb", buffering=0) as f:
        os.pread(f.fileno(), 10, 0)
        with raises(errno.ENOSPC):
            read(m.hf("org/huge/w.bin"))
        check(lib.xattr(m.hf("org/huge/w.bin"), "error"), "no reason")
        figure("cache after that", on_disk(m.cache) / MIB, "MiB",
               1.02 * BUDGET / MIB)
        equal(os.pread(f.fileno(), 1000, 5000),
              lib.noise("m5", SIZE)[5000:6000], "an open file")
    equal(read(m.hf("org/m0/w.bin")) == lib.noise("m0", SIZE), True,
          "after ENOSPC")
    m.stop()


lib.main(run)
