#!/usr/bin/env python3
"""A cache must survive anything at any operation on its disk.

Each script below is run once for every operation of its own that changes the
disk (shim.c counts them) and every way in which that operation can go wrong.
After each: a program that was refused says so in one line, no signal; what it
left is right, or repaired by `omnihub cache verify` and `gc`, which leave
nothing over and nothing miscounted; and everything can be read and is right.

    each_operation.py [--part | --every] [--beside] [WORD...]
        --part: what `make check` does; WORDs: only that script, that way
        --beside: another process has the cache open all the time, so that
        nobody repairs it at open
"""
import argparse
import collections
import contextlib
import os
import shutil
import sys
import tempfile
import time

import desk
from desk import BERT, HF, LARGE, MAR, OTHER, READ, SMALL, STAGED, TAR, check

WAYS = ("kill", "after", "torn", "short", "eio", "enospc", "edquot", "full")
Script = collections.namedtuple("Script", "name first run paths env")


def scripts(d):
    """name, what the cache holds before, what is run, what must be readable"""
    none = {}
    tool = {"HF_HUB_CACHE": d.foreign}
    whole = [("get", SMALL), ("get", LARGE)]
    part = [(READ, "--part", "1000000:400000", LARGE)]
    return [
        Script("small", [], (READ, SMALL), [SMALL], none),
        Script("large", [], (READ, LARGE), [LARGE], none),
        Script("resumed", part, ("get", LARGE), [LARGE], none),
        Script("staged", [], ("get", STAGED), [STAGED], none),
        Script("member", [], ("get", MAR + "words.txt"),
               [MAR + "words.txt", MAR + "weights.pth"], none),
        Script("tar", [], ("get", TAR + "in.pb"),
               [TAR + "in.pb", TAR + "out.pb"], none),
        Script("adopt", [], ("cache adopt",), [OTHER], tool),
        Script("adopted", [], ("get", OTHER), [OTHER], tool),
        Script("evict", whole + part, ("cache gc", "300000"),
               [SMALL, LARGE], none),
        Script("dropped", part, ("cache gc", "1000"), [LARGE], none),
        Script("squeezed", [("get", LARGE)],
               ("get --set cache.size=5600K", OTHER, SMALL),
               [SMALL, OTHER, LARGE], none),
        Script("gc", whole, ("cache gc",), [SMALL, LARGE], none),
        Script("pin", whole, ("cache pin", HF), [SMALL, LARGE], none),
        Script("unpin", [*whole, ("cache pin", HF)], ("cache unpin", HF),
               [SMALL, LARGE], none),
        Script("clear", whole + part, ("cache clear",), [SMALL, LARGE], none),
        Script("verify", whole, ("cache verify",), [SMALL, LARGE], none),
    ]


def template(d, s):
    cache = d.dir("template")
    for step in s.first:
        d.must(cache, *step, env=s.env)
    return cache


def spoil(d, s, cache, n, way):
    """Run it; the operation that was met, or None: it has fewer."""
    hit = os.path.join(d.top, "hit")
    if os.path.exists(hit):
        os.unlink(hit)
    code, out, err = d.run(cache, *s.run, env={
        **s.env, "LD_PRELOAD": desk.SHIM, "CRASH_ROOT": cache,
        "CRASH_AT": str(n), "CRASH_DO": way, "CRASH_HIT": hit})
    met = None
    if os.path.exists(hit):
        with open(hit, encoding="utf-8") as f:
            met = f.read().strip()
    if code == -9:
        check(met and way in ("kill", "after", "torn"), "killed by somebody else")
    else:
        check(code in (0, 1), "ended with", code, out, err)
        check(code == 0 or s.run[0] == READ or err.strip(),
              "failed and said nothing")
        check(err.count("\n") <= len(s.paths) + 1, "said too much:", err)
        if way == "short":
            check(code == 0, "a short write is no error:", err)
    return met, code, err


def look(d, s, cache, alone):
    d.sound(cache, "before", alone)
    d.right(cache, s.paths)
    d.sound(cache, "after", alone)


def play(d, s, base, n, way, beside):
    cache = d.copy(base)
    try:
        with desk.somebody(cache) if beside else contextlib.nullcontext():
            met, code, err = spoil(d, s, cache, n, way)
        if not met:
            return None
        try:
            desk.objects_right(cache)
            check(desk.used(cache) >= desk.counted(cache), "usage says",
                  desk.used(cache), "and there is", desk.counted(cache))
            if beside:
                with desk.somebody(cache):
                    look(d, s, cache, False)
            look(d, s, cache, True)
        except desk.Wrong as e:
            raise desk.Wrong(f"{met} (ended {code}, {err.strip()!r}): {e}") \
                from e
        return met
    finally:
        if not os.environ.get("KEEP"):
            shutil.rmtree(cache, ignore_errors=True)


def all_of(d, s, way, stride, args):
    base = template(d, s)
    n, bad, played = args.first, [], 0
    while True:
        try:
            if play(d, s, base, n, way, args.beside) is None:
                break
            played += 1
        except desk.Wrong as e:
            bad.append(f"{s.name} / {way} / {n}: {e}")
            played += 1
        n += stride
    shutil.rmtree(base, ignore_errors=True)
    return played, bad


def main():
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--part", action="store_true")
    p.add_argument("--every", action="store_true",
                   help="all of a long row of equal operations, too")
    p.add_argument("--beside", action="store_true")
    p.add_argument("--first", type=int, default=1)
    p.add_argument("word", nargs="*")
    args = p.parse_args()
    if not os.path.exists(desk.SHIM):
        print("no shim here")
        return 77
    top = tempfile.mkdtemp(prefix="omnihub-crash-")
    start, total, bad = time.monotonic(), 0, []
    d = None
    try:
        d = desk.Desk(top)
        for s in scripts(d):
            row = []
            for way in WAYS:
                if any(w not in (s.name, way) for w in args.word):
                    continue
                if args.part and (s.name, way) not in PART:
                    continue
                stride = PART[s.name, way] if args.part else \
                    LONG.get(s.name, 1) if not args.every else 1
                played, wrong = all_of(d, s, way, stride, args)
                row.append(f"{way} {played}")
                total += played
                bad += wrong
                for w in wrong:
                    print("FAILED:", w, flush=True)
            if row:
                print(f"{s.name:9}", ", ".join(row), flush=True)
    finally:
        if d:
            d.hub.stop()
        if not os.environ.get("KEEP"):
            shutil.rmtree(top, ignore_errors=True)
    print(f"{total} operations, {len(bad)} not survived, "
          f"{time.monotonic() - start:.0f} s")
    return bool(bad) or not total


# Of some hundred operations most write one more chunk.
LONG = {"large": 7, "resumed": 7}
PART = {("small", "kill"): 8, ("large", "kill"): 61, ("small", "enospc"): 13,
        ("large", "full"): 67, ("evict", "kill"): 3, ("small", "torn"): 19,
        ("resumed", "kill"): 131, ("tar", "after"): 61, ("adopt", "kill"): 17,
        ("gc", "kill"): 2, ("pin", "after"): 5}

if __name__ == "__main__":
    sys.exit(main())
