#!/usr/bin/env python3
"""Recipes as stage/recipe-io.c writes them; the hash is filled in by the
target."""
import os
import struct
import sys

INLINE, REF, ZERO, XFORM = range(4)
TO_F16, TO_I8, TO_SCALE = 1, 2, 3
F32, F16, BF16 = 1, 10, 16


def recipe(name, sources, extents, pool=b"", size=None, version=3):
    out = b"omnircp\n" + struct.pack(
        "<IIQQQ", version, len(sources), len(extents), len(pool),
        sum(e[3] for e in extents) if size is None else size)
    for path, n in sources:
        out += struct.pack("<QI", n, len(path)) + path
    for e in extents:
        e = tuple(e) + (0, 0, 0)[len(e) - 4:]
        out += struct.pack("<BIQQBBH", *e)
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(out + pool + bytes(8))


recipe("good-empty", [], [])
recipe("good-model", [(b"pytorch_model.bin", 5000), (b"a/b.bin", 7)],
       [(INLINE, 0, 0, 40), (REF, 0, 100, 4000), (INLINE, 0, 40, 9),
        (REF, 1, 0, 7), (ZERO, 0, 0, 11)], bytes(range(49)))
recipe("good-zeros", [], [(ZERO, 0, 0, 1 << 40)])
recipe("bad-outside", [(b"x", 10)], [(REF, 0, 5, 6)])
recipe("bad-source", [(b"x", 10)], [(REF, 1, 5, 5)])
recipe("bad-pool", [], [(INLINE, 0, 1, 4)], b"1234")
recipe("bad-kind", [], [(9, 0, 0, 4)])
recipe("bad-length", [], [(ZERO, 0, 0, 0)])
recipe("bad-size", [], [(ZERO, 0, 0, 5)], size=6)
recipe("bad-overflow", [], [(ZERO, 0, 0, 1 << 63), (ZERO, 0, 0, 1 << 63)],
       size=0)
recipe("bad-path", [(b"../x", 10)], [])
recipe("bad-twice", [(b"x", 10), (b"x", 10)], [])
recipe("good-xform", [(b"x", 4000)],
       [(XFORM, 0, 3, 200, TO_F16, F32), (XFORM, 0, 5, 14, TO_F16, BF16),
        (XFORM, 0, 7, 98, TO_F16, F16)])
recipe("good-groups", [(b"x", 400)],
       [(XFORM, 0, 0, 96, TO_I8, F32, 32), (XFORM, 0, 0, 12, TO_SCALE, F32, 32),
        (XFORM, 0, 8, 9, TO_I8, BF16, 9)])
recipe("bad-group-none", [(b"x", 400)], [(XFORM, 0, 0, 96, TO_I8, F32)])
recipe("bad-group-part", [(b"x", 400)], [(XFORM, 0, 0, 95, TO_I8, F32, 32)])
recipe("bad-group-long", [(b"x", 8000)],
       [(XFORM, 0, 0, 1025, TO_I8, F32, 1025)])
recipe("bad-group-f16", [(b"x", 400)], [(XFORM, 0, 0, 64, TO_F16, F32, 32)])
recipe("bad-xform-inside", [(b"x", 400)], [(XFORM, 0, 0, 3, TO_F16, F32)])
recipe("bad-xform-type", [(b"x", 400)], [(XFORM, 0, 0, 4, TO_F16, 7)])
recipe("bad-xform-kind", [(b"x", 400)], [(XFORM, 0, 0, 4, 2, F32)])
recipe("bad-xform-outside", [(b"x", 400)], [(XFORM, 0, 4, 200, TO_F16, F32)])
recipe("bad-xform-overflow", [(b"x", 400)],
       [(XFORM, 0, 0, 1 << 63, TO_F16, F32)])
recipe("bad-ref-with-xform", [(b"x", 400)], [(REF, 0, 0, 4, TO_F16, 0)])
recipe("bad-ref-with-type", [(b"x", 400)], [(REF, 0, 0, 4, 0, F32)])
recipe("unsupported-version", [], [], version=1)
