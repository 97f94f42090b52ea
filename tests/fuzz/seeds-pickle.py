#!/usr/bin/env python3
"""Pickles of every protocol, and every opcode there is at least once."""
import collections
import os
import pickle
import pickletools
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "stage"))
from checkpoints import Tensor, dump  # noqa: E402


def put(name, data):
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(data)


loop = []
loop.append(loop)
value = {"int": [0, 1, -1, 255, 65535, 1 << 31, -(1 << 63), 1 << 200],
         "float": (1.5, -0.0, 1e300), "text": "é\n'\"\\", "bytes": b"\0\xff",
         "none": (None, True, False), "set": {1, 2}, "frozen": frozenset([3]),
         "od": collections.OrderedDict(a=1), "loop": loop,
         "t4": (1, 2, 3, 4), "array": bytearray(b"xy"), "empty": ((), [], {})}
for protocol in range(6):
    put(f"good-protocol{protocol}", pickle.dumps(value, protocol))
put("good-torch", dump({"w": Tensor("Float", [2, 3])}))
put("good-torch4", dump({"w": Tensor("Float", [2, 3])}, 4))
put("good-instances", b"(ios\nsystem\n(cos\nsystem\nK\1o\x86.")
for op in pickletools.opcodes:
    put(f"op-{op.name}", b"(K\1K\2K\3" + op.code.encode("latin-1") +
        b"\1\0\0\0\0\0\0\0\n\n.")
