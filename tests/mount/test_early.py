"""Who wants the first bytes of a chunk has them when they have come, though the
rest of the chunk has not; where verification comes first, nobody has."""
import errno
import os
import threading

import lib
from lib import MIB, check, equal, raises, read

BYTES = lib.noise("early", 5 * MIB)
REPOS = {"org/m": {"main": {name: BYTES + name.encode() for name in
                            ("a.bin", "b.bin", "c.bin", "d.bin")}}}
COME = 50000        # bytes of the chunk


class Reader(threading.Thread):
    def __init__(self, path, size, off):
        super().__init__(daemon=True)
        self.args, self.got = (path, size, off), None
        self.start()

    def run(self):
        try:
            self.got = read(*self.args)
        except OSError as e:
            self.got = e.errno


def held(hub, name):
    """Its chunks stop short from now on."""
    hub.spoil("stall", at=COME, match=name, host="cdn")


def has_come(hub, name):
    lib.until(lambda: any(name in str(e) for e in hub.log()), 20,
              "a request for " + name)


def run(rig):
    hub = rig.hub(REPOS)
    m = rig.mount(hub)
    os.stat(m.hf("org/m/a.bin"))

    # Two at once, and one who has to wait.
    held(hub, "a.bin")
    with lib.timed("the first bytes", 20.0):
        equal(read(m.hf("org/m/a.bin"), 4096) == BYTES[:4096], True, "a.bin")
    end = Reader(m.hf("org/m/a.bin"), 1, 128 * 1024 - 1)
    end.join(0.5)
    check(end.is_alive(), "the end of the chunk was read", end.got)
    hub.clear()
    end.join(20)
    equal(end.got, BYTES[128 * 1024 - 1:128 * 1024], "the end")

    # The rest comes of another request.
    hub.spoil("cut", at=COME, match="b.bin", host="cdn")
    with open(m.hf("org/m/b.bin"), "rb", buffering=0) as f:
        equal(os.pread(f.fileno(), 4096, 0) == BYTES[:4096], True, "b.bin")
        hub.clear()
        equal(os.pread(f.fileno(), 4096, 120000) ==
              BYTES[120000:124096], True, "the rest of b.bin")
        equal(os.pread(f.fileno(), 4096, 0) == BYTES[:4096], True, "again")

    # Another version: its headers are looked at first.
    hub.spoil("version", by=0, match="c.bin")
    with raises(errno.EIO):
        read(m.hf("org/m/c.bin"), 4096)
    hub.clear()
    m.stop()

    m = rig.mount(hub, "--set", "cache.verify=before-read")
    os.stat(m.hf("org/m/d.bin"))
    held(hub, "d.bin")
    first = Reader(m.hf("org/m/d.bin"), 4096, 0)
    has_come(hub, "d.bin")
    first.join(1)
    check(first.is_alive(), "read before the comparison", first.got)
    hub.clear()
    first.join(20)
    equal(first.got == BYTES[:4096], True, "d.bin")
    m.stop()


lib.main(run)
