"""A hub that sends a byte now and then is never silent, and yet ends."""
import errno
import os

import lib
from lib import MIB, check, equal, raises, read

BYTES = lib.noise("drip", MIB)
REPOS = {"org/slow": {"main": {"a.bin": BYTES, "b.bin": BYTES[::-1],
                               "README.md": b"slow\n"}},
         "org/never": {"main": {"README.md": b"never\n"}}}


def run(rig):
    hub = rig.hub(REPOS)

    # An answer: four times fetch.timeout. A second has its eye on it.
    m = rig.mount(hub, "--set", "fetch.timeout=1", "--set", "fetch.retries=0")
    hub.spoil("drip", rate=3, match="/api/models/org/never")
    with lib.timed("an answer that drips", 8.0), raises(errno.ETIMEDOUT):
        os.stat(m.hf("org/never/README.md"))
    hub.clear()
    lib.until(lambda: os.path.exists(m.hf("org/never/README.md")), 10,
              "the refusal to be forgotten")
    m.stop()

    # A download: 1 KiB a second over twice fetch.timeout, of which nothing is
    # silent for as long as that, however busy the machine.
    m = rig.mount(hub, "--set", "fetch.timeout=4", "--set", "fetch.retries=0")
    read(m.hf("org/slow/README.md"))
    hub.spoil("drip", rate=100, match="a.bin")
    with lib.timed("a download that drips", 20.0), \
            raises(errno.ETIMEDOUT):
        read(m.hf("org/slow/a.bin"), 4096)
    why = lib.xattr(m.hf("org/slow/a.bin"), "error")
    check("fewer than 1024 bytes a second" in why, why)
    hub.clear()

    # Slow is not too slow.
    hub.spoil("drip", rate=200000, match="b.bin")
    with lib.timed("a slow download"):
        equal(read(m.hf("org/slow/b.bin")) == BYTES[::-1], True, "b.bin")
    hub.clear()
    m.stop()


lib.main(run)
