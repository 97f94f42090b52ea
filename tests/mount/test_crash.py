"""kill -9 at random moments of a download; the next mount takes over the dead
mountpoint and goes on from what is there."""
import os
import random
import subprocess
import time

import lib
from lib import MIB, check, equal, figure

KILLS = 20
REPO = "org/large"
SIZE = 96 * MIB


def run(rig):
    data = lib.noise("crash", SIZE)
    hub = rig.hub({REPO: {"main": {"weights.bin": data,
                                   "config.json": b"{}\n"}}})
    want = lib.hashlib.sha256(data).hexdigest()
    cache, at = rig.dir("cache"), rig.dir("mnt")
    rnd = random.Random(os.getpid())
    print(f"# seed {os.getpid()}")
    # Slow enough that the kills find it under way.
    hub.spoil("drip", rate=MIB, host="cdn")
    before, killed_reading = hub.sent(), 0
    for i in range(KILLS):
        m = rig.mount(hub, cache=cache, at=at)
        p = subprocess.Popen(["cat", m.hf(REPO, "weights.bin")],
                             stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
        sink = lib.threading.Thread(target=p.stdout.read, daemon=True)
        sink.start()
        time.sleep(rnd.uniform(0.0, 0.25))
        m.kill()
        killed_reading += p.wait(10) != 0
        sink.join()
        with lib.raises(lib.errno.ENOTCONN):
            os.listdir(at)
    figure("kills that hit a reader", killed_reading, f"of {KILLS}")
    check(killed_reading >= 3, "the kills came too late to mean anything")
    hub.clear()
    m = rig.mount(hub, cache=cache, at=at)
    equal(lib.digest(m.hf(REPO, "weights.bin")), want, "bytes after kills")
    moved = hub.sent() - before
    figure("moved / size", moved / SIZE, "", 1.5)
    equal(lib.xattr(m.hf(REPO, "weights.bin"), "state"), "verified")
    m.stop()
    rig.run(lib.OMNIHUB, "cache", "verify", "--cache", cache)


lib.main(run, 75)
