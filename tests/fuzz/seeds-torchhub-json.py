#!/usr/bin/env python3
"""Replies of GitHub, right and wrong, behind the letter that says which."""
import json
import os
import sys

SHA = "ce013625030ba8dba906f756967f9e9ca394464a"
OID = "097417381d6c7230bd9e3557456d726de6e83245ec8b24f529f60198a67b203a"


def put(name, kind, value):
    text = value if isinstance(value, str) else json.dumps(value)
    with open(os.path.join(sys.argv[1], name), "w", encoding="utf-8") as f:
        f.write(kind + text)


def blob(path, **more):
    return {"path": path, "mode": "100644", "type": "blob", "sha": SHA,
            "size": 6, **more}


def folder(path, **more):
    return {"path": path, "mode": "040000", "type": "tree", "sha": SHA, **more}


put("good-commit", "c", {
    "sha": SHA, "html_url": f"https://github.com/O/R/commit/{SHA}",
    "commit": {"committer": {"date": "2024-05-06T07:08:09Z"}}})
put("good-bare", "c", {"sha": SHA, "html_url": "https:///commit/", "commit": 1})
put("bad-commit", "c", {"sha": SHA[1:]})
put("bad-url", "c", {"sha": SHA, "html_url": "a://b/../commit/c"})
put("good-tree", "t", {"truncated": False, "tree": [
    blob("a"), folder("d"), blob("d/e"), blob("l", mode="120000"),
    {"path": "s", "mode": "160000", "type": "commit", "sha": SHA}]})
put("good-cut", "t", {"truncated": True, "tree": [blob("a")]})
put("bad-tree", "t", {"tree": [
    blob("../x"), blob("/x"), blob("a\nb"), blob("x" * 5000), blob("a//b"),
    blob("b", size=-1), blob("c", size=2 ** 63), blob("e", sha="12"), 7, None,
    blob("f", size=None), folder("../d"), {}]})
put("bad-list", "t", [])
put("good-dir", "d", {"tree": [blob("a"), folder("d"), folder("e")]})
put("bad-dir", "d", {"truncated": True, "tree": []})
put("good-owner", "o", [{"full_name": "o/a"}, {"full_name": "O/b"}])
put("bad-owner", "o", [{"full_name": "o/../x"}, {"full_name": "p/a"}, {}, 1,
                       {"full_name": "o/"}])
put("good-attributes", "a",
    "# x\n*.bin filter=lfs diff=lfs merge=lfs -text\n"
    '"with blank.bin" filter=lfs\n**/deep/*.pt filter=lfs\n'
    "*.txt text\n*.x -filter\n[attr]lfs filter=lfs\n")
put("good-macros", "a", "[attr]a b -text\n[attr]b filter=lfs\n*.x a\n"
    '"q\\"\\303\\244\\t" b -filter\n')
put("bad-escape", "a", '"a\\9" a\n"\\400" a\n"b\\')
put("bad-attributes", "a", '"open filter=lfs\n[ filter\n\\ filter=lfs')
put("good-pointer", "p", "version https://git-lfs.github.com/spec/v1\n"
    f"oid sha256:{OID}\nsize 12345\n")
put("bad-pointer", "p", "version https://git-lfs.github.com/spec/v1\n"
    f"oid sha256:{OID}\nsize 99999999999999999999\n")
put("bad-short", "p", f"version https://git-lfs.github.com/spec/v1\noid {OID}")
