#!/usr/bin/env python3
"""What comes of a cache whose files have rotted, been cut, swapped or removed,
or that cannot be written.

damage.toml says it: a file of the cache, what is done to it, and what must
come of it. A case is played in three ways, each with a cache of its own:

    read     the files are read, then verify, gc, and read once more
    before   the same with cache.verify = before-read
    verify   verify, gc, then read

and where a kind names it in `mounted`, in two more: read through a real mount,
with both values of cache.verify, then verify, gc, and read once more.

    mount    as "read"
    mbefore  as "before"

After each everything has to be right: the bytes, what verify says, what is
counted, and nothing outside the cache has changed.

    damage.py [--table] [--part] [-j N] [WORD...]

--part plays what `make check` does, `make check-damage` all. With WORDs, the
cases whose name has them all.
"""
import argparse
import concurrent.futures
import glob
import os
import random
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
import tomllib

import desk
import lib
import through
from desk import HERE, LARGE, MAR, OTHER, READ, SMALL, STAGED, TAR, check, sha

WAYS = ("read", "before", "verify")
MOUNTED = ("mount", "mbefore")
BEFORE = ("--set", "cache.verify=before-read")
PATHS = {"small": SMALL, "large": LARGE, "staged": STAGED,
         "words": MAR + "words.txt", "weights": MAR + "weights.pth",
         "in": TAR + "in.pb", "out": TAR + "out.pb", "other": OTHER,
         "made": desk.HF + "made"}
LATE = 60              # seconds: then it hangs
NOBODY = 65534


# ---- states ------------------------------------------------------------------

def states(d):
    """{name: a cache}, made once."""
    out = {"warm": d.dir("warm"), "half": d.dir("half"),
           "staged": d.dir("staged"), "killed": d.dir("killed")}
    always = ("--set", "stage.materialize=always")
    warm, half = out["warm"], out["half"]
    d.must(warm, "get", SMALL, LARGE, PATHS["words"], PATHS["in"])
    d.must(warm, "cache pin", desk.HF)
    d.must(half, "get", SMALL)
    d.must(half, READ, "--part", "1000000:400000", LARGE)
    d.must(half, "cache pin", desk.HF)
    d.must(out["staged"], READ, *always, STAGED)
    if lib.fuse_here():
        killed(d, out["killed"])
    return out


def killed(d, cache):
    """What a mount leaves that is killed while bytes come: also the index's
    own files, its slot in `usage`, and a pair in tmp/."""
    def so_far():
        return all(glob.glob(os.path.join(cache, at)) for at in (
            "partial/*/map", "tmp/*/map", "index.sqlite-wal")) and \
            desk.counted(cache) > desk.MIB
    d.must(cache, "get", SMALL)
    d.must(cache, "cache pin", desk.HF)
    d.hub.spoil("stall", at=500000, match="large.bin", content=True)
    through.killed(d, cache, [OTHER, LARGE], so_far)
    d.hub.clear()


# ---- damages -----------------------------------------------------------------

def spot(path, share):
    size = os.path.getsize(path)
    return min(int(size * share), size - 1)


def flip(path, at):
    os.chmod(path, 0o600)
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x80]))


def resize(path, size):
    os.chmod(path, 0o600)
    os.truncate(path, size)


def gone(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def directory(path, _case):
    gone(path)
    os.mkdir(path)
    with open(os.path.join(path, "inside"), "wb") as f:
        f.write(b"x" * 3000)


def symlink(path, case):
    """To a file outside that has the very bytes, or others."""
    outside = os.path.join(case.outside, "file")
    if os.path.isdir(path):
        shutil.copytree(path, outside)
    elif os.path.exists(path):
        shutil.copy2(path, outside)
    else:
        with open(outside, "wb") as f:
            f.write(b"outside\n")
    gone(path)
    os.symlink(outside, path)


def fifo(path, _case):
    gone(path)
    os.mkfifo(path)


def another(path, case):
    """The contents of another file of that kind."""
    other = case.found[1] if len(case.found) > 1 else case.second
    if os.path.islink(path):
        to = os.readlink(other)
        gone(path)
        os.symlink(to, path)
        return
    gone(path)
    shutil.copy2(other, path)


def garbage(path, _case):
    size = os.path.getsize(path)
    with open(path, "wb") as f:
        f.write(random.Random("garbage").randbytes(size or 4096))


def foreign(path, case):
    """What SQLite keeps beside a database of somebody else, sound in itself."""
    other = os.path.join(case.outside, "other.sqlite")
    db = sqlite3.connect(other)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE facts(a, b)")
        db.executemany("INSERT INTO facts VALUES(?, ?)",
                       [(n, "x" * 200) for n in range(300)])
        db.commit()
        end = path.removeprefix(os.path.join(case.cache, "index.sqlite"))
        shutil.copyfile(other + end, path)
    finally:
        db.close()


def text(path, case):
    gone(path)
    with open(path, "w", encoding="ascii") as f:
        f.write(case.damage["text"])


DAMAGES = {
    "middle": lambda p, c: flip(p, spot(p, 0.5)),
    "head": lambda p, c: flip(p, 3),
    "end": lambda p, c: flip(p, spot(p, 1)),
    "half": lambda p, c: resize(p, os.path.getsize(p) // 2),
    "empty": lambda p, c: resize(p, 0),
    "longer": lambda p, c: resize(p, os.path.getsize(p) + 5000),
    "directory": directory,
    "symlink": symlink,
    "fifo": fifo,
    "another": another,
    "removed": lambda p, c: gone(p),
    "unreadable": lambda p, c: os.chmod(p, 0),
    "read-only": lambda p, c: os.chmod(p, 0o555 if os.path.isdir(p)
                                        else 0o444),
    "text": text,
    "garbage": garbage,
    "foreign": foreign,
    "nothing": lambda p, c: None,
}


# ---- who runs it -------------------------------------------------------------

class Root:
    """As whoever we are."""
    prefix = ()
    ready = staticmethod(lambda cache: None)


class Nobody:
    """A user whom modes bind."""
    prefix = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
              "--clear-groups")

    @staticmethod
    def ready(cache):
        subprocess.run(["chown", "-hR", f"{NOBODY}:{NOBODY}", cache],
                       check=True)


class Sealed:
    """The cache on a file system that is mounted read-only."""
    prefix = ("unshare", "-m", "sh", "-c", 'mount --bind "$CACHE" "$CACHE" '
              '&& mount -o remount,ro,bind "$CACHE" && exec "$@"', "sh")
    ready = staticmethod(lambda cache: None)


def missing(who, d):
    """Why nobody can be that here; None: it can be."""
    if who is Root:
        return None
    if who is Nobody and os.geteuid():
        return None
    if os.geteuid():
        return "not root"
    if not shutil.which(who.prefix[0]):
        return f"no {who.prefix[0]}"
    cache = d.dir("try")
    who.ready(cache)
    p = subprocess.run([*who.prefix, desk.OMNIHUB, "--version"], check=False,
                       env={**d.env(), "CACHE": cache}, capture_output=True)
    return None if p.returncode == 0 else p.stderr.decode().strip()


# ---- a case ------------------------------------------------------------------

class Case:
    def __init__(self, kind, damage, way, name):
        self.kind, self.damage, self.way, self.name = kind, damage, way, name
        self.state = kind["state"]
        self.want = {"read": "right", "verify": 0}
        for of in (kind, damage):
            self.want.update(of.get("want", {}))
        but = {**kind.get("but", {}), **damage.get("but", {})}
        for key in (damage["name"], kind["name"], way,
                    f"{kind['name']} {damage['name']}",
                    f"{damage['name']} {way}", f"{kind['name']} {way}",
                    f"{kind['name']} {damage['name']} {way}"):
            self.want.update(but.get(key, {}))
        self.wrong, self.seen, self.skipped = [], "", None

    def check(self, true, *what):
        if not true:
            self.wrong.append(" ".join(map(str, what)))

    def find(self, d, cache):
        at = self.kind["at"].format_map(
            {k: d.want[p][:2] + "/" + d.want[p][2:] if p in d.want else ""
             for k, p in PATHS.items()})
        self.found = sorted(glob.glob(os.path.join(cache, at))) if at else \
            [cache]
        check(self.found, at, "is not in the cache")
        self.second = next((p for p in sorted(glob.glob(os.path.join(
            cache, "objects", "*", "*", "*"))) if p != self.found[0]), None)
        return self.found[0]


class Player:
    def __init__(self, d, top):
        self.d, self.top = d, top
        self.states = states(d)
        self.why = {w: missing(w, d) for w in (Root, Nobody, Sealed)}
        self.pinned = {s: self.pins(c) for s, c in self.states.items()
                       if os.listdir(c)}

    def pins(self, cache):
        top = os.path.join(cache, "pins")
        return sorted(os.listdir(top))

    def run(self, case, cmd, *args):
        who = case.who
        # How full the disk is is not of interest here.
        argv = [*who.prefix, *self.d.argv(case.cache, cmd, "--set",
                                          "cache.size=1G", *args)]
        try:
            p = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL,
                               capture_output=True, timeout=LATE,
                               cwd=self.top, env={
                                   **self.d.env(), "CACHE": case.cache})
        except subprocess.TimeoutExpired:
            case.check(False, cmd, "hangs")
            return -1, "", ""
        out, err = p.stdout.decode(), p.stderr.decode()
        case.check(p.returncode in (0, 1), cmd, "ended with", p.returncode,
                   err[-2000:])
        case.check(p.returncode == 0 or err.strip() or cmd == READ, cmd,
                   "failed and said nothing:", out)
        case.check("Sanitizer" not in err, err)
        return p.returncode, out, err

    def paths(self, case):
        return [PATHS[p] for p in case.kind["reads"]]

    def read(self, case, *args, through_mount=False):
        """"right", "wrong", or an errno."""
        paths = self.paths(case)
        if through_mount:
            code, out, err = through.read(self.d, case.cache, paths, args,
                                          LATE)
        else:
            code, out, err = self.run(case, READ, *args, *paths)
        lines = out.splitlines()
        got = set()
        for line in lines:
            what, _, path = line.partition(" ")
            got.add("right" if what == self.d.want[path] else
                    "wrong" if len(what) == 64 else what)
        if len(lines) != len(paths):
            got.add("nothing" if code in (0, 1) else str(code))
            case.said = err
        return " ".join(sorted(got))

    def reason(self, case, want, *args):
        code, _, err = self.run(case, "get", *args, *self.paths(case))
        case.check(code == 1, "get ended with", code)
        case.check(re.search(want["says"], err), "says", err.strip(),
                   "not", repr(want["says"]))

    def first_read(self, case, args):
        want = case.want["read"]
        got = self.read(case, *args, through_mount=case.way in MOUNTED)
        case.seen = got
        allowed = [want] if isinstance(want, str) else want
        case.check(got in allowed, "reads", got, "not", want,
                   getattr(case, "said", ""))
        if case.want.get("says"):
            self.reason(case, case.want, *args)

    def verify(self, case, rel):
        want = case.want["verify"]
        code, out, err = self.run(case, "cache verify")
        case.seen = f"verify {code}"
        case.check(code in (want if isinstance(want, list) else [want]),
                   "verify ended with", code, "not", want, out,
                   err)
        if code and not case.want.get("says"):
            names = case.want.get("names", rel)
            case.check(names in err, "verify does not name", names, err)
        if case.want.get("says"):
            case.check(re.search(case.want["says"], err), "verify says", err)

    def settled(self, case):
        """The end of every case that ends well."""
        d, cache = self.d, case.cache
        got = self.read(case, *case.args)
        case.check(got == "right", "afterwards reads", got,
                   getattr(case, "said", ""))
        code, out, err = self.run(case, "cache verify")
        case.check(code == 0 and " 0 bad" in out, "afterwards verify:", out,
                   err)
        try:
            desk.objects_right(cache)
            desk.tidy(cache)
            check(desk.used(cache) == desk.counted(cache), "usage says",
                  desk.used(cache), "and there is", desk.counted(cache))
            if "pins" not in case.kind["name"]:
                check(self.pins(cache) == self.pinned[case.state], "pins",
                      self.pins(cache))
        except desk.Wrong as e:
            case.check(False, "afterwards:", e)

    def play(self, case):
        case.who = {"nobody": Nobody, "sealed": Sealed}.get(
            case.damage.get("who"), Root)
        case.skipped = self.why[case.who]
        if (case.way in MOUNTED or case.state == "killed") and \
                not lib.fuse_here():
            case.skipped = "no FUSE"
        if case.skipped:
            return
        case.cache = tempfile.mkdtemp(dir=self.top, prefix="c-")
        case.outside = tempfile.mkdtemp(dir=self.top, prefix="o-")
        try:
            self.play_in(case)
        except (desk.Wrong, OSError, LookupError) as e:
            case.check(False, type(e).__name__, e)
        finally:
            if not os.environ.get("KEEP"):
                for top in (case.cache, case.outside):
                    subprocess.run(["chmod", "-R", "u+rwx", top], check=False,
                                   stderr=subprocess.DEVNULL)
                    shutil.rmtree(top, ignore_errors=True)

    def play_in(self, case):
        cache = case.cache
        subprocess.run(["cp", "-a", self.states[case.state] + "/.", cache],
                       check=True)
        at = case.find(self.d, cache)
        DAMAGES[case.damage["do"]](at, case)
        case.who.ready(cache)
        outside = snapshot(case.outside)
        args = BEFORE if case.way in ("before", "mbefore") else ()
        case.args = args
        if case.way != "verify":
            self.first_read(case, args)
        if case.way == "verify":
            self.verify(case, os.path.relpath(at, cache))
        elif not case.want.get("says"):
            self.run(case, "cache verify")
        if case.want.get("stays"):
            undo(case, at)
        code, out, err = self.run(case, "cache gc")
        case.check(code == 0, "gc ended with", code, out, err)
        self.settled(case)
        case.check(snapshot(case.outside) == outside, "changed outside",
                   snapshot(case.outside), "was", outside)


def undo(case, at):
    """What only the user can mend."""
    how = case.want["stays"]
    if how == "remove":
        gone(at)
    elif how == "mode":
        os.chmod(at, 0o755 if os.path.isdir(at) else 0o644)
    elif how == "unseal":
        case.who = Root


def snapshot(top):
    out = {}
    for at, dirs, names in os.walk(top):
        for n in dirs + names:
            full = os.path.join(at, n)
            st = os.lstat(full)
            what = ""
            if stat.S_ISREG(st.st_mode):
                with open(full, "rb") as f:
                    what = sha(f.read())
            out[os.path.relpath(full, top)] = (st.st_mode, st.st_size, what)
    return out


# ---- all of them -------------------------------------------------------------

def cases(path):
    with open(path, "rb") as f:
        asked = tomllib.load(f)
    damages = {x["name"]: {"do": x["name"], **x} for x in asked["damage"]}
    for kind in asked["kind"]:
        for name in kind["damages"]:
            damage = damages[name]
            ways = damage.get("ways", kind.get("ways", WAYS))
            if name in kind.get("mounted", ()):
                ways = (*ways, *MOUNTED)
            for way in ways:
                yield Case(kind, damage, way,
                           f"{kind['name']} / {name} / {way}")


def in_part(n, case):
    return n % 8 == 0 or case.name.startswith("object / middle")


def table(played):
    rows = {}
    for c in played:
        rows.setdefault((c.kind["name"], c.damage["name"]), {})[c.way] = \
            "-" if c.skipped else c.seen + ("!" if c.wrong else "")
    print(f"{'file':22} {'damage':11} " +
          " ".join(f"{w:12}" for w in WAYS + MOUNTED))
    for (kind, damage), row in rows.items():
        print(f"{kind:22} {damage:11} " +
              " ".join(f"{row.get(w, ''):12}" for w in WAYS + MOUNTED))


def main():
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--part", action="store_true")
    p.add_argument("--table", action="store_true")
    p.add_argument("-j", type=int, default=os.cpu_count() + 1)
    p.add_argument("word", nargs="*")
    args = p.parse_args()
    todo = [c for c in cases(os.path.join(HERE, "damage.toml"))
            if all(w in c.name for w in args.word)]
    if args.part:
        todo = [c for n, c in enumerate(todo) if in_part(n, c)]
    top = tempfile.mkdtemp(prefix="omnihub-damage-")
    os.chmod(top, 0o755)
    start, d = time.monotonic(), None
    try:
        d = desk.Desk(top)
        os.chmod(d.home, 0o777)
        player = Player(d, top)
        with concurrent.futures.ThreadPoolExecutor(args.j) as pool:
            list(pool.map(player.play, todo))
    finally:
        if d:
            d.hub.stop()
        if not os.environ.get("KEEP"):
            shutil.rmtree(top, ignore_errors=True)
    if args.table:
        table(todo)
    for c in todo:
        for w in c.wrong:
            print(f"FAILED: {c.name}: {w}")
    for why in {c.skipped for c in todo if c.skipped}:
        n = sum(c.skipped == why for c in todo)
        print(f"{n} skipped: {why}")
    bad = sum(bool(c.wrong) for c in todo)
    print(f"{len(todo)} cases, {bad} not as written, "
          f"{time.monotonic() - start:.0f} s")
    return bool(bad) or not todo


if __name__ == "__main__":
    sys.exit(main())
