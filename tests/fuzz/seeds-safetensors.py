#!/usr/bin/env python3
"""safetensors files: a few tensors, and headers that lie."""
import json
import os
import struct
import sys


def put(name, header, data=b"", length=None):
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(struct.pack("<Q", len(header) if length is None else length))
        f.write(header + data)


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


put("good-none", {})
put("good-model", {"__metadata__": {"format": "pt"},
                   "a.weight": tensor("F32", [2, 3], 0, 24),
                   "b": tensor("BF16", [], 24, 26),
                   "e": tensor("I64", [0, 4], 26, 26),
                   "c": tensor("BOOL", [1, 1, 5], 26, 31)}, bytes(31))
put("bad-hole", {"a": tensor("U8", [1], 1, 2)}, bytes(2))
put("bad-overlap", {"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [2], 1, 3)},
    bytes(3))
put("bad-overflow", {"a": tensor("F64", [1 << 62, 8], 0, 0)})
put("bad-length", {}, length=1 << 40)
put("bad-json", b'{"a":')
put("bad-rank", {"a": tensor("U8", [1] * 9, 0, 1)}, b"x")
put("unsupported-type", {"a": tensor("F4", [2], 0, 1)}, b"x")
