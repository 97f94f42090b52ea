#!/usr/bin/env python3
"""Replies of Kaggle and Google's storage behind the letter that says which."""
import json
import os
import sys

MD5 = "1B2M2Y8AsgTpgAmY7PhCfg=="


def put(name, kind, value):
    text = value if isinstance(value, str) else json.dumps(value)
    with open(os.path.join(sys.argv[1], name), "w", encoding="utf-8") as f:
        f.write(kind + text)


put("good-models", "m", {"models": [
    {"id": 1, "ref": "google/nnlm", "slug": "nnlm"}, {"slug": "bert"},
    {"ref": "other/x"}, {"ref": "Google/Case"}], "nextPageToken": "abc",
    "totalResults": 4})
put("bad-models", "m", {"models": [
    {"ref": "google/"}, {"ref": "google/../x"}, {"ref": 7}, None, "x",
    {"slug": "a/b"}, {"slug": "." * 300}, {"ref": "google/a/b"}]})
put("good-hits", "s", {"models": [
    {"ref": "ann/flowers", "subtitle": "small", "voteCount": 3}] * 9})
put("bad-hits", "s", {"models": [
    {"ref": "../x"}, {"ref": 1}, 2, {"ref": "a/b", "voteCount": -1}]})
put("bad-hits-list", "s", {"models": {}})
put("bad-list", "m", {"models": {"a": 1}, "nextPageToken": 7})
for kind, key in (("w", "instances"), ("v", "instances"), ("n", "versions"),
                  ("f", "files")):
    put(f"bad-{kind}", kind, {key: 7})
put("bad-array", "m", [])
put("bad-cut", "m", '{"models":[{"ref":"goo')
FRAMEWORKS = [{"framework": f, "slug": "x"} for f in (
    "MODEL_FRAMEWORK_TENSOR_FLOW_2", "tensorFlow2", "TENSOR_FLOW_2", "pyTorch",
    "a/b", "", "_", 7, "MODEL_FRAMEWORK_", "X" * 200)]
put("good-frameworks", "w", {"instances": FRAMEWORKS})
put("good-variations", "v", {"instances": FRAMEWORKS + [
    {"framework": "tensorFlow2"}, {"framework": "tensorFlow2", "slug": "/"}]})
put("good-versions", "n", {"versionList": {"versions": [
    {"versionNumber": n} for n in (1, 2, 0, -1, 2 ** 40, "3", None)]}})
put("good-files", "f", {"files": [
    {"name": "saved_model.pb", "size": 10,
     "creationDate": "2024-03-01T12:34:56.7890123Z"},
    {"name": "variables/variables.index"}]})
put("bad-files", "f", {"files": [
    {"name": "../x", "size": 1}, {"name": "/x"}, {"name": "a", "size": -1},
    {"name": "b", "size": 2 ** 63}, {"name": "c", "size": "7"},
    {"name": "d" * 5000}, {"name": "e\n"}, {}, 1, {"name": "f"},
    {"name": "f"}, {"name": "f/g"}]})
put("good-instance", "i", {"versionNumber": 3, "framework": "keras"})
put("bad-instance", "i", {"versionNumber": 0})
put("good-refusal", "f", {"code": 404, "message": "Not found"})
put("good-busy", "f", {"error": {"code": 429, "message": "Too many requests",
                                 "status": "RESOURCE_EXHAUSTED"}})
put("good-denied", "f", {"errors": ["Permission 'models.get' was denied"],
                         "error": {"code": 7, "details": []}})
put("bad-code", "f", {"code": 2 ** 40, "message": 7})
put("good-objects", "g", {"items": [
    {"name": "m/1/saved_model.pb", "size": "17", "md5Hash": MD5},
    {"name": "m/1/variables/x", "size": "0"}], "nextPageToken": "n"})
put("bad-objects", "g", {"items": [
    {"name": "m/1/", "size": "1"}, {"name": "m/2/x", "size": "1"},
    {"name": "m/1/../x", "size": "1"}, {"name": "m/1/a", "size": 1},
    {"name": "m/1/b", "size": "-1"}, {"name": "m/1/c", "size": "9" * 30},
    {"name": "m/1/d", "size": "1", "md5Hash": "x" * 100}, 7]})
put("bad-items", "g", {"items": 7})
