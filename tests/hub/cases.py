#!/usr/bin/env python3
"""Play the cases of an adapter: replies, a command, and the exact requests it
must send. A case is data (TOML, cases/NAME.toml):

    [hosts]                     a name each, of a server on an address of its own
    hub = ["huggingface.endpoint"]      the keys that mean it; [] for none
    cdn = []

    [[case]]
    name = "an owner's models come in pages"
    [[case.reply]]              for every request of that first line
    to = "hub GET /api/models?author=org&limit=500"
    status = 200                        the default
    headers = ['Link: <{hub}/next>; rel="next"']
    body = '[{"id": "org/a"}]'          or noise = SIZE: bytes from the name
    ranges = true                       answers Range with 206
    cut = 5                             only so many bytes of the body come
    framed = false                      without a length: its end is the end
    [[case.step]]               with the cache the steps before it have left
    run = ["ls", "huggingface/org"]     of omnihub
    set = ["huggingface.token=hf_x"]    more configuration
    env = { HF_TOKEN = "x" }            more environment
    out = "a\\n"                        exact; left out: not looked at
    err = "no such"                     a part of it; "" for none at all
    exit = 0                            the default
    requests = ["hub GET /api/models?author=org&limit=500"]

Requests are compared as a whole and in order; `any-order = true` in the step
sorts both sides. " | Header: value" after a request makes that header part of
it ("| Authorization:" without a value: the header must not be there), and
" | = TEXT" its body. {NAME} stands for the address of a host, in replies, in
what is run, set and printed. A request without reply is answered 404 and fails
the case. Hosts of other hubs that are not in [hosts] refuse connections.

    cases.py FILE...            exit 0 when every case is as written
"""
import http.server
import os
import random
import subprocess
import sys
import tempfile
import threading
import tomllib

SRCDIR = os.environ.get("SRCDIR") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", ".."))
BUILDDIR = os.path.abspath(os.environ.get("BUILDDIR") or
                           os.path.join(SRCDIR, "build"))
sys.path.insert(0, os.path.join(SRCDIR, "tests", "mount"))
import lib  # noqa: E402


class Wrong(Exception):
    pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def _serve(self):
        n = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(n).decode("utf-8", "replace") if n else ""
        play, host = self.server.play, self.server.name
        first = f"{host} {self.command} {self.path}"
        with play.lock:
            play.seen.append((first, self.headers, body))
            reply = play.reply(first)
        data = reply.get("data", b"")
        status = reply.get("status", 200)
        lines = [h for h in reply.get("headers", ())]
        rng = self.headers.get("Range")
        if rng and reply.get("ranges") and status == 200:
            a, _, b = rng.partition("=")[2].partition("-")
            a, b = int(a), min(int(b or len(data) - 1), len(data) - 1)
            lines.append(f"Content-Range: bytes {a}-{b}/{len(data)}")
            data, status = data[a:b + 1], 206
        self.send_response_only(status)
        for line in lines:
            k, _, v = line.partition(":")
            self.send_header(k, v.strip())
        if reply.get("framed", True):
            self.send_header("Content-Length", str(len(data)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:reply.get("cut")])
        if "cut" in reply:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = _serve


class Play:
    """The hosts of one file, and what they were asked."""

    def __init__(self, hosts):
        self.lock = threading.Lock()
        self.seen, self.replies, self.hosts = [], {}, hosts
        self.urls = {}
        for i, name in enumerate(hosts):
            s = http.server.ThreadingHTTPServer((f"127.0.0.{1 + i}", 0),
                                                Handler)
            s.daemon_threads = True
            s.play, s.name = self, name
            self.urls[name] = "http://%s:%d" % s.server_address[:2]
            threading.Thread(target=s.serve_forever, daemon=True).start()

    def fill(self, text):
        for name, url in self.urls.items():
            text = text.replace("{" + name + "}", url)
        return text

    def load(self, case):
        self.replies = {}
        for r in case.get("reply", ()):
            r = dict(r, headers=[self.fill(h) for h in r.get("headers", ())])
            if "noise" in r:
                r["data"] = random.Random(r["to"]).randbytes(r["noise"])
            else:
                r["data"] = self.fill(r.get("body", "")).encode()
            self.replies[r["to"]] = r

    def reply(self, first):
        return self.replies.get(first, {"status": 404, "data": b"no case\n"})

    def told(self, want):
        """The requests so far, each as far as `want` looks at them."""
        out = []
        for i, (first, headers, body) in enumerate(self.seen):
            looks = want[i].split(" | ")[1:] if i < len(want) else ()
            for look in looks:
                if look.startswith("="):
                    first += " | = " + body
                    continue
                name = look.partition(":")[0]
                value = headers.get(name)
                first += f" | {name}:" + (f" {value}" if value else "")
            out.append(first)
        return out


def step(play, s, top):
    argv = [os.path.join(BUILDDIR, "omnihub"), s["run"][0],
            "--cache", os.path.join(top, "cache")]
    keys = dict(lib.NOWHERE)
    keys["huggingface.endpoint"] = "http://127.0.0.1:9"
    for name, used in play.hosts.items():
        keys.update({k: play.urls[name] for k in used})
    for k, v in keys.items():
        argv += ["--set", f"{k}={v}"]
    for kv in s.get("set", ()):
        argv += ["--set", play.fill(kv)]
    argv += [play.fill(a) for a in s["run"][1:]]
    env = {k: v for k, v in os.environ.items()
           if k in ("PATH",) or k.endswith("SAN_OPTIONS")}
    env.update(HOME=os.path.join(top, "home"), LC_ALL="C.UTF-8", TZ="UTC",
               OMNIHUB_DATADIR=os.path.join(BUILDDIR, "share"))
    env.update(s.get("env", {}))
    play.seen = []
    p = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True,
                       env=env, timeout=60, check=False, cwd=top)
    out = p.stdout.decode("utf-8", "replace").replace(top, "TMP")
    err = p.stderr.decode("utf-8", "replace").replace(top, "TMP")
    if p.returncode != s.get("exit", 0):
        raise Wrong(f"ended with {p.returncode} after\n  " + "\n  ".join(
            r[0] for r in play.seen) + f"\n{out}{err}")
    want = [play.fill(r) for r in s["requests"]]
    got = play.told(want)
    if s.get("any-order"):
        want, got = sorted(want), sorted(r[0] for r in play.seen)
    if got != want:
        raise Wrong("requests\n  " + "\n  ".join(got) + "\ninstead of\n  " +
                    "\n  ".join(want) + f"\n{out}{err}")
    if "out" in s and out != play.fill(s["out"]):
        raise Wrong(f"printed\n{out}\ninstead of\n{play.fill(s['out'])}{err}")
    if "err" in s and (play.fill(s["err"]) not in err if s["err"] else err):
        raise Wrong(f"said {err!r}, not {s['err']!r}")


def main():
    failed = 0
    for path in sys.argv[1:]:
        with open(path, "rb") as f:
            asked = tomllib.load(f)
        play = Play(asked["hosts"])
        for case in asked["case"]:
            play.load(case)
            with tempfile.TemporaryDirectory(prefix="omnihub-case-") as top:
                os.mkdir(os.path.join(top, "home"))
                try:
                    for s in case["step"]:
                        step(play, s, top)
                    print("ok:", case["name"])
                except Wrong as e:
                    print(f"FAILED: {case['name']}: {e}")
                    failed += 1
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
