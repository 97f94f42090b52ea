#!/usr/bin/env python3
"""What a power cut can leave of a cache, from the log of what was done to it.

The shim logs every change with its bytes. Only what was fsync()ed is sure to
be on the disk; of the rest any part may be: bytes of a file without those
written before, a file's length without its bytes (zeros), a name without the
file's contents, a later change of a directory without an earlier one. (One
rename is one step, as in every file system with a journal.) For every moment
several such disks are made up: everything lost, names without bytes, bytes
without names, and some at random. On each of them a file that has the name of
a digest must have that digest. Some are then made into directories, and the
programs must read right bytes from them, repair them and leave nothing over.
"""
import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time

import desk
import each_operation as scripts_of
from desk import check


class Node:
    """A file or directory. `writes` are (time, offset, bytes) or (time,
    length); a change is on the disk from `synced` on, if it is before that."""

    def __init__(self, kind, text=None):
        self.kind, self.text = kind, text
        self.writes, self.synced_at = [], []
        self.names = {}


class Disk:
    """All that was done, in order, and the tree that programs see of it."""

    def __init__(self, base):
        self.top = Node("dir")
        self.by_ino = {}
        self.moves = []     # (time, [(dir, name, node or None)...])
        self.now = 0
        self.load(self.top, base)

    def load(self, node, path):
        """What was there before is on the disk."""
        self.by_ino[os.lstat(path).st_ino] = node
        for e in os.scandir(path):
            if e.name.startswith("index.sqlite"):
                continue
            if e.is_symlink():
                child = Node("link", os.readlink(e.path))
            elif e.is_dir():
                child = Node("dir")
                self.load(child, e.path)
            else:
                child = Node("file")
                with open(e.path, "rb") as f:
                    child.writes.append((0, 0, f.read()))
                self.by_ino[e.inode()] = child
            node.names[e.name] = child
            self.moves.append((0, [(node, e.name, child)]))

    def walk(self, path):
        node = self.top
        for part in path.split("/") if path != "." else ():
            node = node.names[part]
        return node

    def split(self, path):
        at, _, name = path.rpartition("/")
        return self.walk(at or "."), name

    def move(self, *changes):
        self.moves.append((self.now, list(changes)))
        for where, name, node in changes:
            if node is None:
                where.names.pop(name, None)
            else:
                where.names[name] = node

    def do(self, op, ino, off, data, a, b):
        self.now += 1
        if op == "create":
            node = self.by_ino[ino] = Node("file")
            self.move((*self.split(a), node))
        elif op == "mkdir":
            self.move((*self.split(a), Node("dir")))
        elif op == "symlink":
            self.move((*self.split(a), Node("link", b)))
        elif op == "unlink":
            self.move((*self.split(a), None))
        elif op == "rename":
            node = self.walk(a)
            self.move((*self.split(a), None), (*self.split(b), node))
        elif op == "write":
            self.by_ino[ino].writes.append((self.now, off, data))
        elif op == "truncate":
            self.by_ino[ino].writes.append((self.now, off))
        elif op == "sync":
            node = self.by_ino.get(ino)
            if node is None:        # a directory made meanwhile
                node = self.walk(a)
            node.synced_at.append(self.now)
        else:
            raise ValueError(op)


def read_log(path):
    with open(path, "rb") as f:
        while True:
            line = f.readline()
            if not line:
                return
            op, ino, off, size, a, b = line.decode().rstrip("\n").split("\t")
            yield op, int(ino), int(off), f.read(int(size)), a, b


def synced(node, end):
    return max((t for t in node.synced_at if t <= end),
               default=0)


class Cut:
    """The disk after a cut at `end`: keep_names and keep_bytes say of what was
    not synced which part is there (a chance of 0 to 1)."""

    def __init__(self, disk, end, rnd, keep_names, keep_bytes):
        self.end, self.rnd, self.keep = end, rnd, keep_bytes
        self.trees, self.seen = {}, {}
        for when, changes in disk.moves:
            if when > end:
                break
            sure = any(synced(where, end) >= when for where, _, _ in changes)
            if when and not sure and rnd.random() >= keep_names:
                continue
            for where, name, node in changes:
                names = self.trees.setdefault(id(where), {})
                if node is None:
                    names.pop(name, None)
                else:
                    names[name] = node
        self.top = disk.top

    def names(self, node):
        return self.trees.get(id(node), {})

    def content(self, node):
        """(which changes are there, bytes)"""
        if id(node) in self.seen:
            return self.seen[id(node)]
        sure = synced(node, self.end)
        kept = [w for w in node.writes if w[0] <= sure or
                w[0] <= self.end and self.rnd.random() < self.keep(w)]
        self.seen[id(node)] = kept
        return kept

    def files(self, node=None, path=""):
        for name, child in self.names(node or self.top).items():
            at = path + name
            if child.kind == "dir":
                yield at, child
                yield from self.files(child, at + "/")
            else:
                yield at, child


def put_together(kept):
    out = bytearray()
    for w in kept:
        if len(w) == 2:
            out = out[:w[1]] + bytes(max(0, w[1] - len(out)))
            continue
        _, off, data = w
        if len(out) < off + len(data):
            out += bytes(off + len(data) - len(out))
        out[off:off + len(data)] = data
    return bytes(out)


def lengths_only(w):
    return 1.0 if len(w) == 2 else 0.0


KINDS = {
    "all lost": (0.0, lambda w: 0.0),
    "names, no bytes": (1.0, lengths_only),
    "names, nothing of files": (1.0, lambda w: 0.0),
    "bytes, no names": (0.0, lambda w: 1.0),
    "all there": (1.0, lambda w: 1.0),
    "any": (0.6, lambda w: 0.5),
    "any at all": (0.8, lambda w: 0.7),
}


class Digests:
    """Of bytes that were hashed before; most states share most files."""

    def __init__(self):
        self.known = {}

    def of(self, node, kept):
        key = id(node), tuple(w[0] for w in kept), len(kept)
        if key not in self.known:
            self.known[key] = hashlib.sha256(put_together(kept)).hexdigest()
        return self.known[key]


def objects_right(cut, digests):
    n = 0
    for path, node in cut.files():
        if not path.startswith("objects/sha256/") or node.kind != "file":
            continue
        got = digests.of(node, cut.content(node))
        want = "".join(path.split("/")[2:])
        check(got == want, f"after {cut.end} operations {path} has other "
              "bytes")
        n += 1
    return n


def make_real(cut, where, index):
    for path, node in cut.files():
        at = os.path.join(where, path)
        if node.kind == "dir":
            os.mkdir(at, 0o700)
        elif node.kind == "link":
            os.symlink(node.text, at)
        else:
            with open(at, "wb") as f:
                f.write(put_together(cut.content(node)))
    if index:
        shutil.copy(index, where)


def record(d, s, base):
    cache, log = d.copy(base), os.path.join(d.top, "log")
    if os.path.exists(log):
        os.unlink(log)
    before = Disk(cache)
    d.must(cache, *s.run, env={**s.env, "LD_PRELOAD": desk.SHIM,
                               "CRASH_ROOT": cache, "CRASH_LOG": log})
    for entry in read_log(log):
        before.do(*entry)
    return before, cache


def play(d, s, rnd, real):
    """(states looked at, objects in them, states tried with the programs)"""
    disk, cache = record(d, s, scripts_of.template(d, s))
    digests, states, objects, tried = Digests(), 0, 0, 0
    for end in range(1, disk.now + 1):
        for kind, (names, keep) in KINDS.items():
            cut = Cut(disk, end, rnd, names, keep)
            objects += objects_right(cut, digests)
            states += 1
            if rnd.random() >= real / disk.now:
                continue
            where = d.dir("cut")
            index = os.path.join(cache, "index.sqlite")
            make_real(cut, where, rnd.choice((None, index)))
            try:
                d.right(where, s.paths)
                d.sound(where)
            except desk.Wrong as e:
                raise desk.Wrong(f"after {end} operations, {kind}: {e}") \
                    from e
            tried += 1
            shutil.rmtree(where)
    shutil.rmtree(cache)
    return disk.now, states, objects, tried


def main():
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--part", action="store_true")
    p.add_argument("--real", type=float, default=3, help="how many states of "
                   "each kind and script the programs are run on")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("word", nargs="*")
    args = p.parse_args()
    if args.part:
        args.word = ["small"]
    rnd = random.Random(args.seed)
    top = tempfile.mkdtemp(prefix="omnihub-cut-")
    d, bad, start = None, 0, time.monotonic()
    try:
        d = desk.Desk(top)
        for s in scripts_of.scripts(d):
            if args.word and s.name not in args.word:
                continue
            try:
                n, states, objects, tried = play(d, s, rnd, args.real)
                print(f"{s.name:9} {n} operations, {states} states with "
                      f"{objects} objects, {tried} tried", flush=True)
            except desk.Wrong as e:
                bad += 1
                print(f"FAILED: {s.name}: {e}", flush=True)
    finally:
        if d:
            d.hub.stop()
        if not os.environ.get("KEEP"):
            shutil.rmtree(top, ignore_errors=True)
    print(f"{bad} not survived, {time.monotonic() - start:.0f} s")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
