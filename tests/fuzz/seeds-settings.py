#!/usr/bin/env python3
"""Configuration files."""
import os
import sys


def seed(name, *lines):
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write("\n".join(lines).encode("latin-1"))


seed("good-empty")
seed("good-comments", "# all of it", "", " \t # indented", "offline = yes # why")
seed("good-quotes", "cache.dir = \"/a # b/c'd\"", "huggingface.token='hf_x'",
     "fetch.rate = '4M'   # behind", "cache.dir=\"~/x\"")
seed("good-sizes", "cache.size = 20GiB", "fetch.rate=1500k", "cache.size = 7")
seed("good-urls", "huggingface.endpoint = https://hub.example:8080/a/",
     "onnx.endpoint = file:///srv/a%20b/", "demo = on")
seed("good-aliases", "alias.bert = google-bert/bert-base-uncased",
     "alias.n = gpt2", "alias.bert-base = other/model")
seed("good-crlf", "offline = 1\r", "stage.opset = 17\r")
seed("bad-key", "no.such = 1")
seed("bad-line", "offline")
seed("bad-quotes", "cache.dir = \"/a")
seed("bad-behind-quotes", "cache.dir = \"/a\" b")
seed("bad-alias", "alias. = a/b")
seed("bad-alias-value", "alias.x = a/b/c")
seed("bad-url", "huggingface.endpoint = ftp://a")
seed("bad-number", "fetch.retries = -1")
seed("bad-large", "cache.size = 99999999999999999999G")
seed("bad-nul", "offline = 1\0")
seed("bad-choice", "cache.verify = sometimes")
