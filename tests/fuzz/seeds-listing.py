#!/usr/bin/env python3
"""Listings as the index keeps them, and JSON that is hard on a parser."""
import json
import os
import sys


def put(name, text):
    with open(os.path.join(sys.argv[1], name), "w", encoding="utf-8") as f:
        f.write(text)


def listing(name, *entries, refused=0):
    put(name, json.dumps({"refused": refused, "entries": entries},
                         separators=(",", ":")))


listing("good-empty")
listing("good-repo",
        ["config.json", 571, "gitsha1:" + "0123456789abcdef0123" * 2],
        ["model.safetensors", 90868376, "sha256:" + "ab" * 32],
        ["onnx", True], ["onnx/model.onnx", None], ["onnx-old/x", 1])
listing("good-conflicts", ["a", 1], ["a", 2], ["a/b", 3], ["a-b", 4],
        ["a", True], refused=7)
listing("good-utf8", ["módèl/重み.bin", 5, "md5:" + "f" * 32])
listing("bad-path", ["../../etc/passwd", 1])
listing("bad-control", ["a\nb", 1])
listing("bad-size", ["a", -1])
listing("bad-digest", ["a", 1, "sha256:xyz"])
put("bad-twice", '{"refused":0,"refused":0,"entries":[]}')
put("bad-deep", "[" * 65 + "]" * 65)
put("bad-deeper", "[" * 100000)
put("bad-number", '{"refused":99999999999999999999,"entries":[]}')
put("bad-nul", '{"refused":0,"entries":[["a\\u0000b",1]]}')
put("bad-surrogate", '{"refused":0,"entries":[["a\\ud800b",1]]}')
