#!/usr/bin/env python3
"""make bench: every load, over every line, for every program there is, in turn
(so that what disturbs the machine disturbs all alike), medians of the rounds.

    make bench [BENCH=WORDS] [BENCH_RUNS=N] [BENCH_MB=N] [BENCH_DIR=DIR]

WORDS: smoke (one round over tiny files), or any of line=A,B load=A,B
program=A,B with _ for a blank (see README.md). Each figure is a line of JSON in
build/bench/TIME.jsonl, whose first line says where and when.
"""
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
import traceback

import loads
import mirror
import peers
import report


def words():
    """BENCH taken apart."""
    out = {"line": None, "load": None, "program": None, "smoke": False}
    for w in os.environ.get("BENCH", "").split():
        key, _, names = w.partition("=")
        if w == "smoke":
            out["smoke"] = True
        elif key in out and names:
            out[key] = names.split(",")
        else:
            sys.exit(f"BENCH: {w}? See tests/bench/README.md")
    return out


def word(name):
    """A name as one word of BENCH: "curl N" is curl_N there."""
    return name.replace(",", "").replace(" ", "_")


def pick(rows, names, key):
    if not names:
        return rows
    have = {word(key(r)) for r in rows}
    names = {word(n) for n in names}
    for n in names - have:
        sys.exit(f"BENCH: there is no {n}, only " + ", ".join(sorted(have)))
    return [r for r in rows if word(key(r)) in names]


def cpu():
    model, flags = platform.machine(), ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            for row in f:
                k, _, v = row.partition(":")
                if k.strip() == "model name":
                    model = v.strip()
                if k.strip() == "flags" and " sha_ni" in v:
                    flags = ", SHA instructions"
    except OSError:
        pass
    return model + flags


def fs_of(path):
    best, kind = "", "?"
    with open("/proc/mounts", encoding="utf-8") as f:
        for row in f:
            _, at, fstype = row.split()[:3]
            if len(at) > len(best) and \
                    (path + "/").startswith(at.rstrip("/") + "/"):
                best, kind = at, fstype
    return kind


def machine(top):
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"{os.cpu_count()} CPUs ({cpu()}), {gib:.0f} GiB, Linux "
            f"{platform.release().split('-')[0]}, caches on {fs_of(top)}, "
            f"{'root' if os.geteuid() == 0 else 'no root'}; server and "
            "clients share it")


def has_sense(p, load, first):
    if p.only and load.key not in p.only:
        return False
    if p.far:
        return first or load.far
    return first and load.local


class Bench:
    def __init__(self, asked, out):
        self.asked, self.out, self.bad = asked, out, 0

    def note(self, row):
        self.out.write(json.dumps(row) + "\n")
        self.out.flush()

    def one(self, line, load, p, nth):
        row = {"line": line.name, "load": load.key, "program": p.name,
               "round": nth}
        try:
            r = load.run(p, line)
            if r is None:
                return
            r.pop("each", None)
            row.update(r)
        except peers.TooLong as e:
            row["late"] = str(e)
        except (peers.Failed, OSError) as e:
            row["failed"] = str(e)
            p.warm = None
            self.bad += isinstance(p, peers.OmniHub)
        self.note(row)
        print(f"  {line.name:14} {load.key:10} {p.name:24} "
              f"{report.show(row, load.unit)}", flush=True)

    def rounds(self, n, lines, todo, programs):
        given_up = set()
        for nth in range(n):
            print(f"round {nth + 1} of {n}", flush=True)
            for line in lines:
                for load in todo:
                    for p in programs:
                        if not has_sense(p, load, line is lines[0]) or \
                                (line, load, p) in given_up:
                            continue
                        before = time.monotonic()
                        self.one(line, load, p, nth)
                        if time.monotonic() - before > peers.LIMIT / 2:
                            given_up.add((line, load, p))


def measure(asked, top, out):
    smoke = asked["smoke"]
    runs = int(os.environ.get("BENCH_RUNS") or (1 if smoke else 5))
    mb = int(os.environ.get("BENCH_MB") or (8 if smoke else 512))
    lines = pick(mirror.LINES, asked["line"] or (["20ms"] if smoke else None),
                 lambda x: x.name)
    todo = pick(loads.ALL, asked["load"], lambda x: x.key)
    tools = {n: os.path.join(mirror.lib.BUILDDIR, "tests", "bench", n)
             for n in ("bench-io", "bench-net", "bench-curl")}
    content = mirror.Content(os.path.join(top, "site"), mb,
                             (1000,) if smoke else (1000, 100000),
                             100 if smoke else 10000)
    mirror.lib.share(top)
    there = []
    for kind in pick(peers.ALL, asked["program"] or
                     (peers.SMOKE if smoke else None), lambda k: k.name):
        why = kind.missing(tools)
        if why:
            print(f"left out: {kind.name}: {why}")
        else:
            there.append(kind)
    hub = mirror.Mirror(content.top, content, lines, tools)
    b = Bench(asked, out)
    programs = [kind(top, hub, tools) for kind in there]
    b.note({"date": time.strftime("%Y-%m-%d"), "machine": machine(top),
            "rounds": runs, "bytes": content.size,
            "lines": {x.name: x.words() for x in lines},
            "loads": {x.key: [x.words, x.unit] for x in loads.ALL},
            "settings": {p.name: p.settings for p in programs}})
    try:
        b.rounds(runs, lines, todo, programs)
    finally:
        for p in programs:
            p.stop()
        hub.stop()
    return b.bad


def main():
    asked = words()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not mirror.nginx():
        print("no nginx: nothing can be measured (apt install nginx-light)")
        sys.exit(mirror.lib.SKIP)
    if not mirror.lib.fuse_here():
        print("no FUSE here")
        sys.exit(mirror.lib.SKIP)
    keep = os.path.join(mirror.lib.BUILDDIR, "bench")
    os.makedirs(keep, exist_ok=True)
    top = tempfile.mkdtemp(prefix="bench-",
                           dir=os.environ.get("BENCH_DIR") or keep)
    os.chmod(top, 0o755)
    name = os.path.join(keep, time.strftime("%Y%m%d-%H%M%S") + ".jsonl")
    bad = 1
    try:
        with open(name, "w", encoding="utf-8") as out:
            bad = measure(asked, top, out)
        report.main([name] + ([] if asked["smoke"] else
                    ["--plot", os.path.join(keep, "bench.png")]))
        print(f"\nfigures: {name}")
    except Exception:  # noqa: B902 - what was mounted must go all the same
        traceback.print_exc()
    finally:
        mirror.lib.sweep(top, -1)
        if not os.environ.get("KEEP"):
            shutil.rmtree(top, ignore_errors=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
