#!/usr/bin/env python3
"""What a worker says: as it should, and as one would that was taken over."""
import json
import os
import struct
import sys

DONE, READ, HINT, RESULT = 3, 5, 6, 7
OPEN, PREFERRED, BEGIN, DATA, END, DROP = range(32, 38)
PLAN, NAMES, LIST, UNHEARD, INFLATE, DECODE, LOOK = range(7)
SEGV, XCPU = 1, 3
STREAM = 3
EIO, ENOMEM, ENOTSUP = -5, -12, -95


def say(what, a=0, b=0, c=0, err=0, text=b""):
    return struct.pack("<BhIIIB", what, err, a, b, c, len(text)) + text


def window(data):
    return struct.pack("<BH", 64, len(data)) + data


def seed(name, job, *words, ends=0):
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(bytes([job, ends]) + b"".join(words))


def recipe(*sources):
    """As stage/recipe-io.c writes it: some bytes, then those of each source."""
    sizes = [4] + [n for _, n in sources]
    out = b"omnircp\n" + struct.pack("<IIQQQ", 3, len(sources), len(sizes), 4,
                                     sum(sizes))
    for path, n in sources:
        out += struct.pack("<QI", n, len(path)) + path
    for i, n in enumerate(sizes):
        out += struct.pack("<BIQQBBH", i > 0, max(i - 1, 0), 0, n, 0, 0, 0)
    return out + b"pool" + bytes(8)


def whole(data):
    """A window, and the message that it is the result."""
    return window(data), say(RESULT, len(data))


def asked(what, name, b=0):
    return window(name), say(what, len(name), b)


def listing(*paths):
    return json.dumps({"refused": 0, "entries": [[p, 7] for p in paths]},
                      separators=(",", ":")).encode()


def archive(*members):
    return json.dumps({"version": 1, "refused": [], "n_refused": 0, "members": [
        f"{how:x} {size:x} - 0 0 5 0 40 {path}"
        for path, how, size in members]}).encode()


WEIGHTS, SICK, ODD = b"model.safetensors", b"sick.bin", b"a/w.h5"
MADE = b"a/w.h5//#dense"
GOOD = recipe((WEIGHTS, 64))

seed("good-plan", PLAN, *asked(OPEN, WEIGHTS), say(READ, 1, 8, 56),
     say(HINT, 1, 0, 64), *whole(GOOD), say(DONE))
seed("good-made", PLAN, *asked(OPEN, MADE, 100), say(READ, 1, 0, 100),
     *asked(PREFERRED, WEIGHTS), *whole(recipe((MADE, 100), (ODD, 9))),
     say(DONE))
seed("good-input", PLAN, say(READ, 0, 0, 4), *whole(GOOD), say(DONE))
seed("good-parts", PLAN, window(GOOD), say(RESULT, len(GOOD)),
     say(RESULT, 4), say(DONE))
seed("unsupported-sick", PLAN, *asked(OPEN, SICK),
     say(DONE, err=EIO, text=b"the hub is down"))
seed("unsupported-model", PLAN, say(DONE, err=ENOTSUP, text=b"\x1b[2J no"))
seed("unsupported-memory", PLAN, say(DONE, err=ENOMEM))
seed("unsupported-crash", PLAN, say(READ, 0, 0, 4), ends=SEGV)
seed("unsupported-long", PLAN, say(READ, 0, 0, 4), ends=XCPU)
seed("bad-error", PLAN, say(DONE, err=7))
seed("bad-stranger", PLAN, *whole(recipe((b"etc/passwd", 64))), say(DONE))
seed("bad-length", PLAN, *whole(recipe((WEIGHTS, 65))), say(DONE))
seed("bad-directory", PLAN, *asked(OPEN, b"a"), say(DONE))
seed("bad-name", PLAN, *asked(OPEN, b"../etc/passwd"), say(DONE))
seed("bad-nul", PLAN, *asked(OPEN, b"a\0b"), say(DONE))
seed("bad-text", PLAN, window(WEIGHTS), say(OPEN, 0xffffffff))
seed("bad-made", PLAN, *asked(OPEN, MADE, 0xffffffff), say(DONE))
seed("bad-source", PLAN, say(READ, 1, 0, 4), say(DONE))
seed("bad-read", PLAN, *asked(OPEN, WEIGHTS), say(READ, 1, 60, 5))
seed("bad-read-overflow", PLAN, *asked(OPEN, WEIGHTS),
     say(READ, 1, 0xffffffff, 2))
seed("bad-read-large", PLAN, say(READ, 0, 0, 0x40001))
seed("bad-result", PLAN, say(RESULT, 0x40001))
seed("bad-word", PLAN, say(9))
seed("bad-nothing", PLAN, say(DONE))

seed("good-names", NAMES, *whole(listing("pytorch/a.onnx", "pytorch/b.onnx")),
     say(DONE))
seed("bad-names-above", NAMES, *whole(listing("a.onnx")), say(DONE))
seed("bad-names-below", NAMES, *whole(listing("pytorch/a/b.onnx")), say(DONE))
seed("bad-names-own", NAMES, *whole(listing(WEIGHTS.decode())), say(DONE))
seed("bad-names-text", NAMES, *whole(b"{"), say(DONE))


def member(path, data):
    return (*asked(BEGIN, path, len(data)), window(data),
            say(DATA, len(data)), say(END))


seed("good-list", LIST, say(OPEN), say(READ, 1, 0, 4096),
     *member(b"m/a", b"abc"), *member(b"m/b", b"d"),
     *whole(archive(("m", 0, 0), ("m/a", STREAM, 3), ("m/b", STREAM, 1))),
     say(DONE))
seed("good-dropped", LIST, say(OPEN), *asked(BEGIN, b"m", 3), say(DROP),
     *whole(archive()), say(DONE))
seed("good-full", LIST, *asked(BEGIN, b"full", 3), say(DONE, err=-28))
seed("bad-list-never-came", LIST, *whole(archive(("m/a", STREAM, 3))),
     say(DONE))
seed("bad-list-size", LIST, *member(b"m/a", b"abc"),
     *whole(archive(("m/a", STREAM, 2))), say(DONE))
seed("bad-list-order", LIST, *whole(archive(("b", 1, 3), ("a", 1, 3))),
     say(DONE))
seed("bad-list-open", LIST, *asked(BEGIN, b"m/a", 3), *whole(archive()),
     say(DONE))
seed("bad-begin-twice", LIST, *asked(BEGIN, b"m/a", 3),
     *asked(BEGIN, b"m/b", 3))
seed("bad-begin-path", LIST, *asked(BEGIN, b"../m", 3))
seed("bad-begin-bomb", LIST, *asked(BEGIN, b"m/a", 0xffffffff))
seed("bad-data-long", LIST, *asked(BEGIN, b"m/a", 3), say(DATA, 4))
seed("bad-end-early", LIST, *asked(BEGIN, b"m/a", 3), say(DATA, 2), say(END))
seed("bad-end-first", LIST, say(END))
seed("bad-open-twice", LIST, say(OPEN), say(OPEN))

seed("good-unheard", UNHEARD, say(OPEN),
     *whole(archive(("m/a", STREAM, 3), ("n", 1, 7), ("o", 2, 9))), say(DONE))
seed("bad-heard", UNHEARD, *asked(BEGIN, b"m/a", 3))
for job, kind in (INFLATE, "inflate"), (DECODE, "decode"):
    seed(f"good-{kind}", job, say(OPEN), *member(b"one", b"abc"), say(DONE))
    seed(f"bad-{kind}-other", job, *member(b"two", b"abc"), say(DONE))
    seed(f"bad-{kind}-short", job, *member(b"one", b"ab"), say(DONE))
    seed(f"bad-{kind}-nothing", job, say(RESULT, 0), say(DONE))
    seed(f"bad-{kind}-twice", job, *member(b"one", b"abc"),
         *member(b"one", b"abd"), say(DONE))
seed("good-look", LOOK, say(OPEN), *whole(b'{"format": "onnx"}'), say(DONE))
seed("good-look-nothing-read", LOOK, say(READ), *whole(b"{}"), say(DONE))
seed("bad-look-nul", LOOK, *whole(b'{\0}'), say(DONE))
seed("bad-look-nothing", LOOK, say(DONE))
