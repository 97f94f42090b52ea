"""The local hub keeps its own promises: each fault does what it is called,
and a request without one is answered as Hugging Face answers it. That real
clients agree is tests/oracle/test_hub_client.py's to show."""
import gzip
import hashlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
BIG = bytes(i * 7 % 251 for i in range(200000))


def equal(got, want, what=""):
    if got != want:
        raise SystemExit(f"{what}: got {got!r:.200}, want {want!r:.200}")


class Client:
    def __init__(self, urls):
        self.urls = urls

    def ask(self, url, method="GET", body=None, **headers):
        """One request, no redirect followed: (status, headers, body)."""
        u = urllib.parse.urlsplit(urllib.parse.urljoin(self.urls["hub"], url))
        c = http.client.HTTPConnection(u.hostname, u.port, timeout=10)
        c.request(method, u.path + ("?" + u.query if u.query else ""), body,
                  {"Accept-Encoding": "identity", **headers})
        r = c.getresponse()
        out = r.status, r.headers, r.read()
        c.close()
        return out

    def ctl(self, **asked):
        status, _, body = self.ask("/_ctl", "POST", json.dumps(asked))
        equal(status, 200, body)
        return json.loads(body)

    def follow(self, url, **headers):
        for _ in range(5):
            status, h, body = self.ask(url, **headers)
            if status not in (302, 307):
                return status, h, body
            url = urllib.parse.urljoin(self.urls["hub"], h["Location"])
        raise SystemExit("redirected for ever")


def protocol(c):
    _, h, _ = c.ask("/org/a/resolve/main/big.bin", "HEAD")
    equal(h["X-Linked-ETag"], '"%s"' % hashlib.sha256(BIG).hexdigest())
    equal(h["X-Linked-Size"], str(len(BIG)))
    to = h["Location"]
    equal(to.startswith(c.urls["cdn"]), True, to)
    equal(c.ask(to)[2], BIG)
    equal(c.ask(to.replace("Signature=", "Signature=0"))[0], 403, "forged")
    equal(c.ask(to, Authorization="Bearer hf_alice")[0], 400, "leaked")
    for rng, want in (("bytes=5-9", BIG[5:10]), ("bytes=-3", BIG[-3:]),
                      ("bytes=199990-", BIG[199990:]),
                      ("bytes=199990-999999", BIG[199990:])):
        status, h, body = c.ask(to, Range=rng)
        equal((status, body), (206, want), rng)
    equal(h["Content-Range"], "bytes 199990-199999/200000")
    equal(c.ask(to, Range="bytes=200000-")[0], 416)

    status, h, _ = c.ask("/org/a/resolve/main/small.txt")
    equal(status, 307)
    equal(h["X-Linked-ETag"], '"%s"' % hashlib.sha1(
        b"blob 6\0small\n").hexdigest())
    equal(h["Location"].startswith("/api/resolve-cache/models/org/a/"), True)
    equal(c.follow("/org/a/resolve/main/small.txt")[2], b"small\n")
    _, h, body = c.follow("/org/a/resolve/main/small.txt",
                          **{"Accept-Encoding": "gzip"})
    equal((h["Content-Encoding"], gzip.decompress(body)),
          ("gzip", b"small\n"))
    for url, status, code in (
            ("/api/models/org/none", 401, None),
            ("/org/a/resolve/none/small.txt", 404, "RevisionNotFound"),
            ("/org/a/resolve/main/none", 404, "EntryNotFound"),
            ("/org/gated/resolve/main/f", 401, "GatedRepo"),
            ("/api/models/org/gated", 200, None)):
        got, h, _ = c.ask(url)
        equal((got, h["X-Error-Code"]), (status, code), url)
        equal(h["RateLimit"].startswith('"'), True, url)
    got, h, _ = c.ask("/api/models/org/none",
                      Authorization="Bearer hf_bob")
    equal((got, h["X-Error-Code"]), (404, "RepoNotFound"))
    got, h, _ = c.ask("/api/models/org/a", Authorization="Bearer bad")
    equal((got, h["X-Error-Message"]),
          (401, "Invalid credentials in Authorization header"))
    for url, to in (("/api/models/old", "/api/models/org/a"),
                    ("/api/models/ORG/A?x=1", "/api/models/org/a?x=1"),
                    ("/api/models/old/tree/main", "/api/models/org/a/tree/"
                     "main"),
                    ("/old/resolve/main/f", "/org/a/resolve/main/f")):
        got, h, _ = c.ask(url)
        equal((got, h["Location"]), (307, to), url)
    got, h, body = c.ask("/api/models/org/a/tree/main?limit=1")
    first = json.loads(body)
    rest = json.loads(c.ask(h["Link"][1:].partition(">")[0])[2])
    equal([e["path"] for e in first + rest], ["big.bin", "small.txt"])


def address(c):
    return c.ask("/org/a/resolve/main/big.bin", "HEAD")[1]["Location"]


def faults(c):
    to = address(c)

    def with_rule(do, method="GET", rng=None, **rule):
        c.ctl(clear=True, add=[dict(rule, do=do, host="cdn")])
        start = time.monotonic()
        try:
            out = c.ask(to, method, **({"Range": rng} if rng else {}))
        except (http.client.HTTPException, OSError) as e:
            out = e
        return out, time.monotonic() - start

    for rule in (dict(do="503"), dict(do="reset")):
        equal(c.ask("/_ctl", "POST", json.dumps({"add": [rule]}))[0], 400,
              rule)
    bad = bytearray(BIG)
    bad[77777] ^= 0x55
    equal(with_rule("flip", offset=77777, times=1)[0][2], bytes(bad))
    equal(c.ask(to)[2], BIG, "once")
    equal(with_rule("flip", offset=77777, times=1, rng="bytes=0-9")[0][2],
          BIG[:10])
    equal(c.ctl()["rules"][0]["hits"], 0, "a range without the byte")
    for at in ("start", "headers", 1000):
        out, _ = with_rule("cut", at=at, times=1)
        equal(isinstance(out, Exception) or out[2] != BIG, True, at)
        (status, _, body), took = with_rule("stall", at=at, seconds=0.3)
        equal((status, body, took >= 0.3), (200, BIG, True), f"stall {at}")
    (_, _, body), took = with_rule("drip", rate=500000)
    equal((body, took > 0.2), (BIG, True), f"drip took {took}")
    equal(len(with_rule("truncate", at=10)[0][2]), 10)
    out, _ = with_rule("content-range", rng="bytes=5-9", shift=2)
    equal((out[1]["Content-Range"], out[2]),
          ("bytes 7-11/200000", BIG[5:10]))
    out, _ = with_rule("ignore-range", rng="bytes=5-9")
    equal((out[0], out[1]["Content-Range"], out[2]), (200, None, BIG))
    out, _ = with_rule("html")
    equal((out[0], out[1]["Content-Type"][:9]), (200, "text/html"))
    out, _ = with_rule("gzip")
    equal((out[1]["Content-Encoding"], gzip.decompress(out[2])),
          ("gzip", BIG))
    equal(with_rule("etag")[0][1]["ETag"], '"' + "0" * 64 + '"')
    equal(with_rule("commit")[0][1]["X-Repo-Commit"], "0" * 40)
    equal(with_rule("loop")[0][0], 302)
    out, _ = with_rule("status", code=429, wait=3, times=1, skip=1)
    equal(out[0], 200, "skip")
    status, h, _ = c.ask(to)
    equal((status, h["RateLimit"]), (429, '"resolvers";r=0;t=3'))
    equal(c.ask(to)[0], 200, "times")
    c.ctl(clear=True, set={"sign_seconds": -1})
    equal(c.ask(address(c))[0], 403, "expired")
    c.ctl(set={"sign_seconds": 3600, "window": 60,
               "quota": {"api": 1, "resolvers": 1, "pages": 1}})
    equal(c.ask("/org/a/resolve/main/small.txt")[0], 429, "quota")


def counting(c):
    c.ctl(clear=True, reset=True, set={"window": 1, "quota": {
        "api": 100, "resolvers": 100, "pages": 100}})
    time.sleep(1)
    c.ask(address(c), Range="bytes=0-99")
    s = c.ctl()["stats"]
    equal((s["cdn"]["content"], s["cdn"]["content_sent"]), (1, 100))
    equal((s["hub"]["requests"], s["hub"]["content"]), (1, 0))
    rows = json.loads(c.ask("/_ctl/log")[2])
    equal([(r["host"], r["method"], r["range"], r["sent"], r["file"])
           for r in rows], [
               ("hub", "HEAD", None, 0, "org/a/big.bin"),
               ("cdn", "GET", "bytes=0-99", 100, "org/a/big.bin")])


def forgotten(c):
    """What came before a reset is not logged when it ends after it."""
    to = address(c)
    c.ctl(clear=True, add=[{"do": "stall", "at": "start", "host": "cdn"}])
    t = threading.Thread(target=c.ask, args=(to,))
    t.start()
    while not c.ctl()["rules"][0]["hits"]:
        time.sleep(0.01)
    c.ctl(reset=True)
    c.ctl(clear=True)
    t.join()
    equal(json.loads(c.ask("/_ctl/log")[2]), [], "of before")
    c.ask(to, "HEAD")
    equal(len(json.loads(c.ask("/_ctl/log")[2])), 1, "of after")


def main():
    with tempfile.TemporaryDirectory(prefix="omnihub-test-") as top:
        for path, data in (("a/main/big.bin", BIG),
                           ("a/main/small.txt", b"small\n"),
                           ("a/hub.json", b'{"renamed": ["old"]}'),
                           ("gated/main/f", b"f"),
                           ("gated/hub.json", b'{"gated": "auto"}')):
            full = os.path.join(top, "org", path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as f:
                f.write(data)
        with subprocess.Popen(
                [sys.executable, os.path.join(HERE, "hubd.py"),
                 "--until-eof", top],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
            try:
                c = Client(json.loads(p.stdout.readline()))
                protocol(c)
                faults(c)
                counting(c)
                forgotten(c)
            finally:
                p.kill()


if __name__ == "__main__":
    main()
