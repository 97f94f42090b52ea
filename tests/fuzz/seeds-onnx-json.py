#!/usr/bin/env python3
"""Replies about the ONNX zoo, right and wrong, behind the letter that says
which: m a manifest, l an LFS server's answer."""
import json
import os
import sys

SHA = "2f06e72de813a8635c9bc0397ac447a601bdbfa7df4bebc278723b958831c9bf"


def put(name, kind, value):
    text = value if isinstance(value, str) else json.dumps(value)
    with open(os.path.join(sys.argv[1], name), "w", encoding="utf-8") as f:
        f.write(kind + text)


def entry(path, sha=SHA, size=26454, **more):
    about = {"model_sha": sha, "model_bytes": size, "tags": ["vision"],
             "io_ports": {"inputs": [{"name": "Input3", "shape": [1, 28],
                                      "type": "tensor(float)"}],
                          "outputs": []}}
    about.update(more)
    return {"model": "MNIST", "model_path": path, "onnx_version": "1.3",
            "opset_version": 8, "metadata": about}


def archive(path, sha=SHA, size=7):
    return {"model_with_data_path": path, "model_with_data_sha": sha,
            "model_with_data_bytes": size}


def answer(**of):
    return {"transfer": "basic", "hash_algo": "sha256",
            "objects": [dict({"oid": SHA, "size": 100000}, **of)]}


def download(**more):
    return answer(actions={"download": dict(
        {"href": "https://store.example/x?sig=1"}, **more)})


put("good-manifest", "m", [
    entry("v/mnist-8.onnx", **archive("v/mnist-8.tar.gz")),
    entry("v/a b [c].onnx")])
put("bad-entries", "m", [
    entry("good.onnx"), entry("../x"), entry("/x"), entry("a//b"),
    entry("a\nb"), entry("x" * 5000), entry(7), entry("a", sha="12"),
    entry("b", sha=None), entry("c", size=-1), entry("d", size=0),
    entry("e", size=1.5), entry("f", size="7"), 7, None, [], {},
    {"model_path": "g"}, {"model_path": "h", "metadata": []},
    entry("good.onnx"), entry("good.onnx/below"),
    entry("i", **archive("../y")), entry("j", **archive("j", size=-1))])
put("bad-size", "m", [entry("a", size=2 ** 63)])
put("bad-cut", "m", json.dumps([entry("a")])[:-9])
put("bad-two", "m", json.dumps([entry("a")]) * 2)
put("bad-deep", "m", "[" * 5000)
put("bad-object", "m", {})
put("bad-empty", "m", [])
put("bad-many", "m", [{}] * 20001)
put("good-answer", "l", download(expires_in=3600))
put("good-header", "l", download(
    header={"Authorization": "RemoteAuth x", "Host": "other"},
    expires_at="2026-11-10T15:29:07Z"))
put("good-offset", "l", download(expires_at="2016-11-10T15:29:07.123+02:00"))
put("bad-header", "l", download(header={"A": "b\r\nC: d", "E F": "g"}))
put("bad-headers", "l", download(header={f"H{i}": "v" for i in range(40)}))
put("bad-href", "l", download(href="file:///etc/passwd"))
put("bad-scheme", "l", download(href="http://store.example/x"))
put("bad-missing", "l", answer(error={"code": 404, "message": "none"}))
put("bad-quota", "l", answer(error={"code": 509, "message": "over"}))
put("bad-other", "l", {"objects": [{"oid": "0" * 64, "size": 1}]})
put("bad-shape", "l", {"objects": {"oid": SHA}})
