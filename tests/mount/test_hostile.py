"""Hubs that list what no file can be called: what is safe is shown, the rest
is refused, nothing escapes, and memory stays bounded."""
import errno
import http.server
import json
import os
import stat
import threading
import time
import urllib.parse

import lib
from lib import MIB, check, equal, figure, raises

SHA = "0123456789abcdef0123456789abcdef01234567"
LONG = "x" * 300
# Names that must not be shown, and others that are beside them.
BAD = ["../escape", "..", ".", "a/../../escape", "/etc/passwd", LONG,
       "dir/" + LONG, "a//b", "trailing/", "", "back/./x", "new\nline"]
GOOD = ["plain.bin", "Twin.bin", "twin.bin", "sub/deep.bin"]
SIZES = [(f"size{i}", s) for i, s in enumerate(
    [-1, -2**63, 1.5, "7", None, True, 1e300])]
# No text and no number that we read at all: then nothing of the reply counts.
POISON = [("nul\0byte", 3), ("\ud800", 3), ("a", 2**63), ("a", 2**64)]
MANY = 1000000
PAGE = 50000


def entries(row):
    out = [row(n, 3) for n in BAD + GOOD]
    out += [row("twice.bin", 3), row("twice.bin", 4)]
    out += [row("file", 3), row("file/below", 3)]
    return out + [row(n, s) for n, s in SIZES]


def hf_file(path, size):
    return {"type": "file", "path": path, "size": size, "oid": "1" * 40}


def git_file(path, size):
    return {"type": "blob", "mode": "100644", "path": path, "size": size,
            "sha": "1" * 40}


def kaggle_file(path, size):
    return {"name": path, "size": size}


def zoo_file(path, size):
    return {"model": "m", "model_path": path, "onnx_version": "1",
            "opset_version": 8, "metadata": {
                "model_sha": "1" * 64, "model_bytes": size}}


class Evil(http.server.BaseHTTPRequestHandler):
    """Every API at one address; each reply is hostile."""

    protocol_version = "HTTP/1.1"
    log_message = lambda self, *a: None     # noqa: E731

    def say(self, value, headers=()):
        data = json.dumps(value).encode()
        self.send_response(200)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def many(self, query):
        at = int(query.get("cursor", ["0"])[0])
        rows = [hf_file(f"f{i}", 1) for i in range(at, at + PAGE)]
        url = "http://%s:%d" % self.server.server_address[:2]
        self.say(rows, [("Link", f'<{url}{self.path.partition("?")[0]}?'
                         f'recursive=true&cursor={at + PAGE}>; rel="next"')])

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        query = urllib.parse.parse_qs(query)
        self.server.seen.append(path + " " + body.decode())
        if "/api/v1/models" in path:
            self.kaggle(path)
        elif path.startswith("/api/models/") and "/tree/" in path:
            if "org/many" in path:
                self.many(query)
            elif "org/poison" in path:
                n = int(path.partition("org/poison")[2].partition("/")[0])
                self.say([hf_file("plain.bin", 3), hf_file(*POISON[n])])
            else:
                self.say(entries(hf_file))
        elif path.startswith("/api/models/") and "/" in path[12:].partition(
                "/revision")[0]:
            name = "/".join(path.split("/")[3:5])
            self.say({"id": name, "sha": SHA,
                      "lastModified": "2024-01-01T00:00:00.000Z"})
        elif path.startswith("/api/models"):
            self.say([{"id": f"evil/{n}"} for n in BAD + ["one", "one"]] +
                     [{"id": "other/two"}, {"id": 7}, {}])
        elif "/git/trees/" in path:
            self.say({"truncated": False, "tree": entries(git_file)})
        elif "/commits/" in path:
            self.say({"sha": SHA, "html_url":
                      f"https://github.com/o/r/commit/{SHA}",
                      "commit": {"committer":
                                 {"date": "2024-01-01T00:00:00Z"}}})
        elif path.startswith("/users/") or path.startswith("/orgs/"):
            self.say([{"name": n, "full_name": f"o/{n}"}
                      for n in BAD + ["r"]])
        elif path.endswith("MANIFEST.json"):
            self.say(entries(zoo_file))
        else:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def kaggle(self, path):
        kind = path.rpartition("/")[2]
        if kind in ("files", "ListModelInstanceVersionFiles"):
            self.say({"files": entries(kaggle_file)})
        elif kind in ("get", "GetModelInstance"):
            self.say({"versionNumber": 1, "framework": "TENSOR_FLOW_2",
                      "slug": "v"})
        elif path.count("/") > 7 or kind == "ListModelInstanceVersions":
            self.say({"versionList": {"versions": [
                {"versionNumber": n} for n in
                (1, 1, -1, 0, 2**63, 2**64, "2", None, 1.5)]}})
        elif path.count("/") > 5 or kind == "ListModelInstances":
            self.say({"instances": [
                {"framework": "TENSOR_FLOW_2", "slug": n}
                for n in BAD + ["v"]] + [
                {"framework": n, "slug": "v"} for n in BAD]})
        else:
            self.say({"models": [{"ref": f"o/{n}", "slug": n}
                                 for n in BAD + ["m"]]})

    do_POST = do_HEAD = do_GET


class EvilHub:
    def __init__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
        self.server.daemon_threads = True
        self.server.seen = []
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()
        url = "http://%s:%d" % self.server.server_address[:2]
        self.endpoints = {k: url for k in (
            "huggingface.endpoint", "onnx.endpoint", "kaggle.endpoint",
            "torchhub.endpoint", "torchhub.api")}
        self.endpoints["onnx.manifest"] = url + "/ONNX_HUB_MANIFEST.json"


def safe(m, path):
    """What is shown can be looked at, and is below the directory."""
    shown = os.listdir(m.path(path))
    equal(len(shown), len(set(shown)), f"{path}: a name twice")
    for n in shown:
        check(n not in (".", "..") and "/" not in n and "\0" not in n and
              len(n.encode("utf-8", "surrogateescape")) <= 255, path,
              "shows", ascii(n))
        try:
            st = os.lstat(m.path(path, n))
        except OSError as e:
            check(e.errno in (errno.EHOSTUNREACH, errno.EIO, errno.ENOTSUP,
                              errno.ENOENT, errno.EACCES), path, ascii(n), e)
            check(e.errno != errno.ENOENT or n.startswith("size"), path,
                  ascii(n), "is shown, but is not there")
            continue
        check(stat.S_ISDIR(st.st_mode) or stat.S_ISREG(st.st_mode), n)
        check(0 <= st.st_size < 2**63, path, n, "has", st.st_size, "bytes")
    return shown


def repositories(m):
    for repo in ("huggingface/org/bad", "pytorch/hub/o/r",
                 "kaggle/o/m/tensorFlow2/v/1", "onnx"):
        shown = safe(m, repo)
        for n in GOOD:
            check(n.partition("/")[0] in shown, repo, "shows no", n)
            equal(os.stat(m.path(repo, n)).st_size, 3, f"{repo}/{n}")
        for bad in ("escape", "passwd", LONG[:255], "nul", "etc"):
            with raises(errno.ENOENT):
                os.stat(m.path(repo, bad))
        with raises(errno.ENAMETOOLONG):
            os.stat(m.path(repo, LONG))


def poisoned(m):
    for i, poison in enumerate(POISON):
        with raises(errno.EIO):
            os.listdir(m.hf(f"org/poison{i}"))
        check(f"org/poison{i}" in lib.read(m.path(".omnihub/errors"))
              .decode(), ascii(poison), "without a reason")


def names(m):
    check("one" in safe(m, "huggingface/evil"), "the good one is missing")
    check("m" in safe(m, "kaggle/o"), "the good model is missing")
    equal(safe(m, "kaggle/o/m"), ["tensorFlow2"])
    equal(safe(m, "kaggle/o/m/tensorFlow2"), ["v"])
    shown = safe(m, "kaggle/o/m/tensorFlow2/v")
    check({n for n in shown if n.isdigit()} <= {"1", "2"}, shown)


def endless(m, hub):
    """A listing that never ends is refused; what it took is given back."""
    before = m.rss()["RssAnon"]
    start = time.monotonic()
    with raises(errno.EFBIG):
        os.listdir(m.hf("org/many"))
    figure("a listing without end", time.monotonic() - start, "s")
    pages = sum("org/many/tree" in s for s in hub.server.seen)
    figure("pages asked for", pages, "", MANY // PAGE + 1)
    figure("grown by", (m.rss()["RssAnon"] - before) // MIB, "MiB", 400)
    figure("at most", m.rss()["VmHWM"] // MIB, "MiB", 900)
    os.stat(m.hf("org/bad/plain.bin"))
    check("org/many" in lib.read(m.path(".omnihub/errors")).decode(),
          "the reason is not among the errors")


def run(rig):
    hub = EvilHub()
    m = rig.mount(hub, "--set", "fetch.retries=0")
    repositories(m)
    poisoned(m)
    names(m)
    if not rig.sanitized:       # a million entries take their time there
        endless(m, hub)
    m.stop()


lib.main(run, 110)
