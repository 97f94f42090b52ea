#!/usr/bin/env python3
"""Zip archives and torch checkpoints, by the generator of tests/stage."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "stage"))
from checkpoints import (Storage, Tensor, Zip, contents,  # noqa: E402
                         members, torch_legacy, torch_zip)


def put(name, data):
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(data)


shared = Storage("Float", contents(48, 1))
model = {"a": Tensor("Float", [3, 4], storage=shared),
         "b": Tensor("Float", [4], storage=shared, offset=8),
         "c": Tensor("Long", []), "d": Tensor("Half", [0, 2])}
put("good-zip", torch_zip(model))
put("good-wrapped", torch_zip({"epoch": 1, "state_dict": model}, protocol=4))
put("good-unaligned", torch_zip(model, z=Zip(align=0, descriptor=False)))
put("good-legacy", torch_legacy(model))
put("good-empty", Zip().end())
plain = members(model)
plain.zip64 = False
put("good-no-zip64", plain.end())
for name, value in (("count", 9), ("dir_len", 50), ("dir_off", 1 << 40)):
    bad = members(model)
    setattr(bad, name, value)
    put("bad-" + name.replace("_", "-"), bad.end())
put("unsupported-deflated", Zip().add("x/data.pkl", b"..", 8, size=9).end())
