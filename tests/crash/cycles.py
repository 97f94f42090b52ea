#!/usr/bin/env python3
"""kill -9 a thousand times, on one cache that is never cleaned in between: at a
random operation of a random command. No object ever has wrong bytes; every now
and then all must be readable, sound and counted right.

    cycles.py [KILLS] [SEED]
"""
import os
import random
import shutil
import sys
import tempfile
import time

import desk
import each_operation

LOOK = 25       # kills between two looks at everything


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else os.getpid()
    rnd, start, done, runs = random.Random(seed), time.monotonic(), 0, 0
    top = tempfile.mkdtemp(prefix="omnihub-cycles-")
    d = None
    print(f"# seed {seed}", flush=True)
    try:
        d = desk.Desk(top)
        scripts = each_operation.scripts(d)
        # What empties the cache comes often, or nothing would be cold.
        scripts += [s for s in scripts if s.name in ("clear", "evict")] * 3
        cache = d.dir("cache")
        while done < kills:
            s = rnd.choice(scripts)
            most = 400 if s.name in ("large", "resumed") else 70
            met, code, _ = each_operation.spoil(
                d, s, cache, rnd.randrange(1, most),
                rnd.choice(("kill", "torn")))
            runs += 1
            if code != -9:
                continue
            done += 1
            try:
                desk.objects_right(cache)
                if done % LOOK == 0:
                    d.sound(cache)
                    d.right(cache, rnd.sample(sorted(d.want), 3))
            except desk.Wrong as e:
                print(f"FAILED after {done} kills, at {s.name}, {met}: {e}")
                return 1
        d.sound(cache)
        d.right(cache, sorted(d.want))
    finally:
        if d:
            d.hub.stop()
        if not os.environ.get("KEEP"):
            shutil.rmtree(top, ignore_errors=True)
    print(f"{done} kills in {runs} runs, no wrong byte, "
          f"{time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
