#!/usr/bin/env python3
"""Replies of Hugging Face, right and wrong, behind the letter that says which."""
import json
import os
import sys

GIT = "dc08351d4dc0732d9c8af04070ced089b201ce2f"
SHA = "097417381d6c7230bd9e3557456d726de6e83245ec8b24f529f60198a67b203a"


def put(name, kind, value):
    text = value if isinstance(value, str) else json.dumps(value)
    with open(os.path.join(sys.argv[1], name), "w", encoding="utf-8") as f:
        f.write(kind + text)


def file(path, **more):
    return {"type": "file", "path": path, "size": 345, "oid": GIT, **more}


put("good-info", "i", {
    "_id": "621ffdc036468d709f174328", "id": "google-bert/bert-base-uncased",
    "sha": GIT, "lastModified": "2026-08-14T14:44:41.000Z", "gated": False,
    "disabled": False, "tags": ["pytorch"], "siblings": [
        {"rfilename": "config.json"}]})
put("good-gated", "i", {"modelId": "a/b", "sha": GIT, "gated": "manual",
                        "disabled": True, "lastModified": "yesterday"})
put("bad-info", "i", {"id": 7, "sha": None})
put("bad-type", "i", [])
put("bad-cut", "i", '{"id":"a/b","sha":"')
put("good-tree", "t", [
    file(".gitattributes"),
    {"type": "directory", "path": "onnx", "size": 0, "oid": GIT},
    file("model.bin", lfs={"oid": SHA, "size": 440473133,
                           "pointerSize": 134}, xetHash=SHA),
    file("onnx/model.onnx", lfs={"oid": "sha256:" + SHA, "size": 1})])
put("bad-tree", "t", [
    file("../x"), file("/x"), file("a\nb"), file("x" * 5000), file("a//b"),
    {"type": "link", "path": "l"}, {"type": "file"}, 7, None, [],
    file("a", size=-1), file("b", size=1.5), file("c", size=2 ** 63),
    file("d", oid="12"), file("e", lfs={"oid": GIT}), file("f", lfs=[]),
    file("g"), file("g/h")])
put("bad-object", "t", {})
put("good-owner", "o", [{"id": "org/a"}, {"id": "Org/b"}])
put("bad-owner", "o", [{"id": "org/"}, {"id": "org/../x"}, {"id": "bare"},
                       {"id": "orgx/a"}, {}, 1])
put("good-hits", "s", [{"id": f"org/a{i}", "downloads": i, "likes": 1,
                        "pipeline_tag": "fill-mask"} for i in range(9)])
put("bad-hits", "s", [{"id": "org/a", "downloads": -1, "likes": "x",
                       "pipeline_tag": 7}, {}, 1])
