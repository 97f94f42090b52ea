#!/usr/bin/env python3
"""Model hubs on this machine, from a directory: Hugging Face, and others.

Two hosts, because redirects and tokens are about hosts: the hub (API and
resolve addresses) and the CDN (signed addresses of LFS files), on 127.0.0.1
and 127.0.0.2. Standard library only. See repos.py for the directory,
huggingface.py for these two and faults.py for what can be made to go wrong.

    hubd.py [--port N] [--cdn-port N] [--host NAME[:PORT]]... [--log FILE]
            [--until-eof] ROOT

prints one line of JSON when every host answers: {"hub": URL, "cdn": URL, ...,
"endpoints": {KEY: URL}}, the latter as omnihub's configuration wants them.

--host NAME brings in host_NAME.py, whose SITES are the hosts of another hub. A
site is a class with a name, keys (the configuration's endpoints that it is;
paths_of says what an address that is no root goes on with),
answer(Request) and, if it reads a directory, load(); its files are below
ROOT/.hosts/ (Hub.files). SETTINGS of the module join those below.

POST /_ctl takes JSON, does in this order what it names, and answers as GET
/_ctl does, with rules, settings and running counters:

    "clear": true       forget the fault rules (ends stalls)
    "reset": true       forget the counters and the log kept in memory; what
                        came before it is not logged when it ends
    "reload": true      read the directory again
    "set": {KEY: V}     settings, see SETTINGS
    "add": [RULE...]    fault rules

GET /_ctl/log?since=N answers the log entries from the Nth on, as they came in;
--log FILE appends each as a line of JSON: n, t, host, method, path, file,
range, auth (the user, "bad", or null), content, status, sent (body bytes),
done, fault.
"""
import argparse
import http.server
import importlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.parse

import faults
import repos
from huggingface import CdnSite, HubSite, json_reply

SETTINGS = {
    "tokens": {"hf_alice": "alice", "hf_bob": "bob"},
    "sign_seconds": 3600,       # life of a signed address
    "rename_resolve": "canonical",      # or "direct": no hop in between
    "small_linked_size": True,  # X-Linked-Size on the 307 of a git file
    "page": 1000,               # entries a page of a listing at most
    "expand_page": 50,
    "quota": {"api": 1000000, "resolvers": 1000000, "pages": 1000000},
    "window": 300,              # seconds
}
NOTHING = {"requests": 0, "content": 0, "sent": 0, "content_sent": 0}


class Hub:
    """What both hosts share."""

    def __init__(self, root, log):
        self.store = repos.Store(root)
        self.faults = faults.Faults()
        self.set = json.loads(json.dumps(SETTINGS))
        self.lock = threading.Lock()
        self.log_file = log
        self.sites, self.urls = [], {}
        self.active = set()         # senders of the replies under way
        self.resets = 0
        self.reset()

    def files(self, *parts):
        """A path below the directory of the hosts that are not HF's."""
        return os.path.join(self.store.root, ".hosts", *parts)

    def join(self, site):
        self.sites.append(site)
        self.stats[site.name] = dict(NOTHING)

    def reset(self):
        with self.lock:
            self.resets += 1
            self.log = []
            self.used = {}
            self.stats = {s.name: dict(NOTHING) for s in self.sites}

    def count(self, host, key, n):
        with self.lock:
            self.stats[host][key] += n

    def note(self, entry, resets):
        with self.lock:
            entry["n"] = len(self.log)
            if resets == self.resets:
                self.log.append(entry)
            if self.log_file:
                self.log_file.write(json.dumps(entry) + "\n")
                self.log_file.flush()

    def state(self):
        with self.lock:
            return {**self.urls, "rules": self.faults.rules,
                    "set": self.set, "stats": self.stats,
                    "active": len(self.active), "logged": len(self.log)}

    def control(self, asked):
        if asked.get("reset"):
            self.reset()
        if asked.get("reload"):
            self.store.load()
            for s in self.sites:
                getattr(s, "load", lambda: None)()
        for k, v in asked.get("set", {}).items():
            if k not in self.set:
                raise ValueError(f"no setting {k}")
            self.set[k] = v
        self.faults.change(asked.get("clear", False), asked.get("add", []))

    def rate(self, path):
        """(headers, over the quota?) of one more request."""
        bucket = "pages"
        if path.startswith("/api/"):
            bucket = "api"
        elif "/resolve/" in path:
            bucket = "resolvers"
        quota, window = self.set["quota"][bucket], self.set["window"]
        now = time.time()
        with self.lock:
            since, n = self.used.get(bucket, (now, 0))
            if now - since >= window:
                since, n = now, 0
            self.used[bucket] = (since, n + 1)
        left = max(0, quota - n - 1)
        return [
            ("RateLimit", f'"{bucket}";r={left};'
             f't={max(1, int(since + window - now))}'),
            ("RateLimit-Policy",
             f'"fixed window";"{bucket}";q={quota};w={window}'),
        ], n >= quota


class Request:
    """One request, taken apart."""

    def __init__(self, method, target, headers, body, hub):
        self.method, self.target, self.headers = method, target, headers
        self.body, self.hub = body, hub
        raw, _, self.query_text = target.partition("?")
        self.path = raw
        self.segs = raw.strip("/").split("/")
        self.query = urllib.parse.parse_qs(self.query_text,
                                           keep_blank_values=True)
        self.auth = self.user = None
        given = headers.get("Authorization")
        if given:
            token = given.partition(" ")[2].strip()
            self.user = hub.set["tokens"].get(token)
            self.auth = self.user or "bad"

    def arg(self, name, default=None):
        return self.query.get(name, [default])[0]

    def flag(self, name):
        return (self.arg(name) or "").lower() in ("true", "1")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        # A small buffer: bytes a killed client never took are not counted.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17)
        super().setup()

    def log_message(self, *args):
        pass

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _serve(self):
        n = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(n) if n else b""
        hub, site = self.server.hub, self.server.site
        if self.path.startswith("/_ctl"):
            self._control(body)
            return
        resets = hub.resets
        q = Request(self.command, self.path, self.headers, body, hub)
        reply = site.answer(q)
        reply.content = reply.content and self.command != "HEAD"
        label = reply.label
        rule = hub.faults.pick(site.name, f"{self.command} {self.path} "
                               f"{label}", reply)
        if rule:
            reply = faults.spoil(rule, reply, self.path)
        entry = {"t": round(time.time(), 6), "host": site.name,
                 "method": self.command, "path": self.path, "file": label,
                 "range": self.headers.get("Range"), "auth": q.auth,
                 "content": reply.content, "status": reply.status,
                 "sent": 0, "done": False, "fault": rule and rule["do"]}
        self._send(reply, rule, entry, resets)

    def _head(self, reply):
        if reply.chunked:
            reply.put("Transfer-Encoding", "chunked")
        elif reply.status != 304:
            reply.put("Content-Length", str(reply.length + reply.lie))
        reply.put("Date", self.date_time_string())
        phrase = self.responses.get(reply.status, ("",))[0]
        lines = [f"HTTP/1.1 {reply.status} {phrase}"]
        lines += [f"{k}: {v}" for k, v in reply.headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _send(self, reply, rule, entry, resets):
        hub, host = self.server.hub, self.server.site.name

        def count(n):
            entry["sent"] += n
            with hub.lock:
                hub.stats[host]["sent"] += n
                if reply.content:
                    hub.stats[host]["content_sent"] += n

        sender = faults.Sender(self.connection, hub.faults, rule, count)
        with hub.lock:
            hub.active.add(sender)
            hub.stats[host]["requests"] += 1
            hub.stats[host]["content"] += reply.content
        try:
            self.wfile.flush()
            sender.send(self._head(reply), reply, self.command != "HEAD")
            entry["done"] = True
        except (faults.Closed, OSError):
            self.close_connection = True
        finally:
            hub.note(entry, resets)
            with hub.lock:
                hub.active.discard(sender)

    def _settle(self):
        """A client has its last byte before it is counted here: wait for
        replies that are at their end, and a moment for the others, which may
        stall."""
        hub = self.server.hub
        for i in range(2000):
            with hub.lock:
                left = [s for s in hub.active if i < 20 or s.ending()]
            if not left:
                return
            time.sleep(0.005)

    def _control(self, body):
        hub = self.server.hub
        self._settle()
        if self.command == "POST":
            try:
                hub.control(json.loads(body))
                reply = json_reply(hub.state())
            except (ValueError, KeyError, OSError) as e:
                reply = json_reply({"error": str(e)}, 400)
        elif self.path.startswith("/_ctl/log"):
            m = re.search(r"since=(\d+)", self.path)
            with hub.lock:
                rows = hub.log[int(m.group(1)) if m else 0:]
            # an entry is written at its end
            rows.sort(key=lambda e: e["t"])
            reply = json_reply(rows)
        else:
            reply = json_reply(hub.state())
        self.connection.sendall(self._head(reply) + reply.data)

    do_GET = do_HEAD = do_POST = _serve


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address, hub, site):
        super().__init__(address, Handler)
        self.hub, self.site = hub, site
        hub.join(site)
        hub.urls[site.name] = "http://%s:%d" % self.server_address[:2]


def more_sites(hub, asked):
    """The servers of host_NAME.py; PORT is for the first of its sites. Each
    site has an address of its own, as it would have a name of its own."""
    out = []
    for name in asked:
        name, _, port = name.partition(":")
        module = importlib.import_module("host_" + name)
        hub.set.update(json.loads(json.dumps(
            getattr(module, "SETTINGS", {}))))
        for i, site in enumerate(module.SITES):
            at = f"127.0.0.{3 + len(hub.sites)}"
            if i == 0 and port:
                at = "127.0.0.1"
            out.append(Server((at, int(port or 0) if i == 0 else 0), hub,
                              site(hub)))
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("root")
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--cdn-port", type=int, default=0)
    p.add_argument("--host", action="append", default=[])
    p.add_argument("--log", metavar="FILE")
    p.add_argument("--until-eof", action="store_true",
                   help="end when standard input does")
    args = p.parse_args()
    log = open(args.log, "a", encoding="utf-8") if args.log else None
    hub = Hub(args.root, log)
    servers = [Server(("127.0.0.1", args.port), hub, HubSite(hub)),
               Server(("127.0.0.2", args.cdn_port), hub, CdnSite(hub))]
    servers += more_sites(hub, args.host)
    for s in servers:
        threading.Thread(target=s.serve_forever, daemon=True).start()
    endpoints = {k: hub.urls[s.name] + getattr(s, "paths_of", {}).get(k, "")
                 for s in hub.sites for k in s.keys}
    print(json.dumps({**hub.urls, "endpoints": endpoints}), flush=True)
    signal.signal(signal.SIGTERM, lambda *a: os._exit(0))
    if args.until_eof:
        sys.stdin.read()
    else:
        signal.pause()


if __name__ == "__main__":
    main()
