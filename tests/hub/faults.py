"""What can go wrong on the way: replies, and rules that spoil them.

A rule is a JSON object:

    do      what, see below
    match   regular expression searched in "METHOD URL ORG/NAME/FILE"
    host    "hub", "cdn" or another site's name (default all)
    times   how often it applies (default: until cleared)
    skip    how many matching requests it lets pass first
    content whether the reply must have bytes of a file, or must not
    from    the first of those bytes must be this one or later

    status         code, wait (429: RateLimit t), body, headers {}
    stall          at "start", "headers" or a count of body bytes; seconds;
                   rate: how fast those bytes come
    drip           rate: bytes a second
    cut            at, as in stall: the connection is closed there
    reset          at, as in stall: the connection is reset there
    truncate       at: a shorter body with a Content-Length that agrees
    flip           offset in the file: that byte is wrong; counts only when the
                   reply holds it
    content-range  shift: Content-Range tells another start than was sent
    version        of another one: ETag, and by: the file's length, differ
    length         by: Content-Length is wrong by so much
    extra          by: so many bytes more than there are, and counted
    tail           by: the same, but not counted
    ignore-range   200 and the whole file
    html           200 and a page of HTML
    gzip           Content-Encoding: gzip though identity was asked
    etag           another ETag and X-Linked-ETag
    commit         another X-Repo-Commit
    loop           302 to itself
    redirect       to: 302 to that address
    clock          file: gets the seconds `by` that a clock is off (clock.c)
    json           200 and a JSON that is deep: brackets, or size: bytes long

The first rule that matches is used, and no other. A stall ends when its rule
is cleared, and the reply then goes on.
"""
import gzip
import os
import re
import select
import socket
import struct
import threading
import time

BLOCK = 1 << 18
# What each must say.
NEEDS = {
    "status": ("code",), "stall": ("at",), "drip": ("rate",), "cut": ("at",),
    "reset": ("at",), "truncate": ("at",), "flip": ("offset",),
    "content-range": (), "version": ("by",), "length": ("by",),
    "extra": ("by",), "tail": ("by",), "ignore-range": (), "html": (),
    "gzip": (), "etag": (), "commit": (), "loop": (), "redirect": ("to",),
    "clock": ("file", "by"), "json": (),
}


class Closed(Exception):
    """The connection ends here, on purpose or because the client left."""


class Reply:
    """A status, headers, and a body: bytes, or a stretch of a file."""

    def __init__(self, status, body=b"", headers=(), kind=None):
        self.status = status
        self.headers = list(headers)
        self.data = body
        self.disk = None
        self.start = 0              # offset in the file of the first byte
        self.length = len(body)
        self.size = len(body)       # of the whole file
        self.content = False        # bytes of a repository's file
        self.label = ""             # ORG/NAME/FILE
        self.chunked = False
        self.lie = 0                # added to the Content-Length
        if kind:
            self.headers.append(("Content-Type", kind))

    def get(self, name):
        for k, v in self.headers:
            if k.lower() == name.lower():
                return v
        return None

    def put(self, name, value):
        self.headers = [(k, v) for k, v in self.headers
                        if k.lower() != name.lower()]
        self.headers.append((name, value))

    def of_file(self, disk, size, rng):
        """The body is a file; `rng` the request's Range header or None."""
        self.content = True
        self.disk, self.size, self.length = disk, size, size
        m = re.fullmatch(r"bytes=(\d*)-(\d*)", (rng or "").strip())
        if not m or m.groups() == ("", ""):
            return self
        first, last = m.groups()
        if first == "":
            start, end = max(0, size - int(last)), size
        else:
            start = int(first)
            end = min(size, int(last) + 1) if last else size
        if start >= size or start >= end:
            self.status, self.disk, self.data = 416, None, b""
            self.length = 0
            self.put("Content-Range", f"bytes */{size}")
            return self
        self.status = 206
        self.start, self.length = start, end - start
        self.put("Content-Range", f"bytes {start}-{end - 1}/{size}")
        return self

    def read(self, f, off, n):
        if f is None:
            return self.data[off:off + n]
        return os.pread(f, n, self.start + off)


class Faults:
    def __init__(self):
        self.cond = threading.Condition()
        self.rules = []

    def change(self, clear, add):
        for r in add:
            if r.get("do") not in NEEDS:
                raise ValueError(f"no fault {r.get('do')}")
            lacks = [k for k in NEEDS[r["do"]] if k not in r]
            if lacks:
                raise ValueError(f"{r['do']} lacks {lacks[0]}")
        with self.cond:
            if clear:
                self.rules = []
            for r in add:
                self.rules.append(dict(r, hits=0, seen=0))
            self.cond.notify_all()

    def pick(self, host, text, reply):
        with self.cond:
            for r in self.rules:
                if r.get("host") not in (None, host):
                    continue
                if not re.search(r.get("match", ""), text):
                    continue
                if r.get("content", reply.content) != reply.content or \
                        reply.start < r.get("from", 0):
                    continue
                if r["do"] == "flip" and not (
                        reply.content and reply.start <= r["offset"]
                        < reply.start + reply.length):
                    continue
                r["seen"] += 1
                if r["seen"] <= r.get("skip", 0):
                    continue
                if r["hits"] >= r.get("times", 1 << 60):
                    continue
                r["hits"] += 1
                return r
        return None

    def wait(self, rule, conn):
        """Until the rule is cleared, its seconds are over, or the client
        has gone (Closed)."""
        end = time.monotonic() + rule.get("seconds", 3600)
        while True:
            with self.cond:
                left = end - time.monotonic()
                if left <= 0 or not any(r is rule for r in self.rules):
                    return
                self.cond.wait(min(left, 0.5))
            gone(conn)


def gone(conn):
    """Raise Closed when the peer has closed its side."""
    ready, _, _ = select.select([conn], [], [], 0)
    try:
        if ready and not conn.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            raise Closed
    except BlockingIOError:
        pass
    except OSError as e:
        raise Closed from e


def spoil(rule, reply, url):
    """Apply what changes the reply itself; returns the reply to send."""
    do = rule["do"]
    if do == "status":
        code = rule["code"]
        out = Reply(code, rule.get("body", "spoiled\n").encode(),
                    rule.get("headers", {}).items(), "text/plain")
        if code == 429:
            out.put("RateLimit", f'"resolvers";r=0;t={rule.get("wait", 1)}')
        return out
    if do == "html":
        return Reply(200, b"<!doctype html><title>Sign in</title>\n" * 20,
                     (), "text/html; charset=utf-8")
    if do == "loop":
        return Reply(302, b"again", [("Location", url)], "text/plain")
    if do == "redirect":
        return Reply(302, b"there", [("Location", rule["to"])], "text/plain")
    if do == "json":
        return Reply(200, long_json(rule), (), "application/json")
    if do == "truncate":
        reply.length = min(reply.length, rule["at"])
    elif do == "ignore-range" and reply.status == 206:
        reply.status, reply.start, reply.length = 200, 0, reply.size
        reply.headers = [h for h in reply.headers if h[0] != "Content-Range"]
    elif do == "content-range" and reply.status == 206:
        at = reply.start + rule.get("shift", 1)
        reply.put("Content-Range",
                  f"bytes {at}-{at + reply.length - 1}/{reply.size}")
    elif do == "version":
        other_etag(reply)
        if reply.status == 206:
            reply.put("Content-Range", f"bytes {reply.start}-"
                      f"{reply.start + reply.length - 1}/"
                      f"{reply.size + rule['by']}")
    elif do == "etag":
        other_etag(reply)
    elif do == "commit":
        reply.put("X-Repo-Commit", "0" * 40)
    elif do == "clock":
        with open(rule["file"], "r+b") as f:
            f.write(struct.pack("=q", rule["by"]))
    elif do == "extra":
        reply.length += rule["by"]
    elif do == "length":
        reply.lie = rule["by"]
    elif do == "gzip" and reply.content:
        zipped(reply)
    return reply


def other_etag(reply):
    for name in ("ETag", "X-Linked-ETag"):
        old = reply.get(name)
        if old:
            reply.put(name, '"' + "0" * len(old.strip('"')) + '"')


def long_json(rule):
    if "deep" in rule:
        return b"[" * rule["deep"] + b"]" * rule["deep"]
    one = b'{"name": "' + b"x" * 1000 + b'"},'
    return b"[" + one * (rule["size"] // len(one)) + b"{}]"


def zipped(reply):
    """The whole file, gzip, chunked, no length: as a front end may send."""
    data = reply.data
    if reply.disk:
        with open(reply.disk, "rb") as f:
            data = f.read()
    reply.disk, reply.start, reply.status = None, 0, 200
    reply.data = gzip.compress(data, 1, mtime=0)
    reply.length = len(reply.data)
    reply.headers = [h for h in reply.headers if h[0] != "Content-Range"]
    reply.put("Content-Encoding", "gzip")
    reply.chunked = True


class Sender:
    """Writes one reply to a connection, and counts the body bytes."""

    def __init__(self, conn, faults, rule, count):
        self.conn, self.faults, self.rule = conn, faults, rule
        self.count = count      # called with each number of bytes sent
        self.do = rule["do"] if rule else None
        self.at = rule.get("at") if rule else None
        self.last = False       # the end of the reply is being sent, or was

    def ending(self):
        """The client may have all of the reply, and nothing but a busy machine
        keeps this thread from saying so."""
        try:
            return self.last and bool(select.select([], [self.conn], [], 0)[1])
        except (OSError, ValueError):
            return True         # closed

    def _hit(self, where):
        """What happens at "start", "headers" or a count of body bytes."""
        if self.do not in ("stall", "cut", "reset") or self.at != where:
            return
        if self.do == "stall":
            self.faults.wait(self.rule, self.conn)
            return
        self.last = True
        if self.do == "reset":
            self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 struct.pack("ii", 1, 0))
            os.close(self.conn.detach())
        raise Closed

    def send(self, head, reply, with_body):
        self._hit("start")
        if self.at == "headers":
            self.conn.sendall(head[:len(head) // 2])
            self._hit("headers")
            head = head[len(head) // 2:]
        small = with_body and not self.rule and not reply.chunked \
            and reply.length <= 65536
        self.last = small or not with_body or not reply.length
        if small:
            body = self._small(reply)
            self.conn.sendall(head + body)
            self.count(len(body))
            return
        self.conn.sendall(head)
        if with_body:
            self._body(reply)

    @staticmethod
    def _small(reply):
        if not reply.disk:
            return reply.data
        with open(reply.disk, "rb") as f:
            f.seek(reply.start)
            return f.read(reply.length)

    def _body(self, reply):
        f = os.open(reply.disk, os.O_RDONLY) if reply.disk else None
        try:
            plain = self.rule is None or self.do not in (
                "stall", "cut", "reset", "drip", "flip", "extra", "tail",
                "length")
            if plain and f is not None and not reply.chunked:
                self._sendfile(f, reply)
            else:
                self._slow(f, reply)
        finally:
            if f is not None:
                os.close(f)

    def _sendfile(self, f, reply):
        off, end = reply.start, reply.start + reply.length
        while off < end:
            self.last = end - off <= BLOCK
            n = os.sendfile(self.conn.fileno(), f, off,
                            min(end - off, BLOCK))
            if n == 0:
                raise Closed
            self.count(n)
            off += n

    def _stop(self):
        """Body offset at which something happens, or None."""
        if self.do in ("stall", "cut", "reset") and \
                isinstance(self.at, int):
            return self.at
        return None

    def _slow(self, f, reply):
        off, stop = 0, self._stop()
        step = BLOCK
        slow = self.rule is not None and "rate" in self.rule
        if slow:
            step = max(1, self.rule["rate"] // 10)
        while off < reply.length:
            n = min(step, reply.length - off)
            if stop is not None and off < stop:
                n = min(n, stop - off)
            if off == stop:
                self._hit(stop)
            data = reply.read(f, off, n)
            data += b"x" * (n - len(data))
            if self.do == "flip":
                at = self.rule["offset"] - reply.start - off
                if 0 <= at < len(data):
                    data = data[:at] + bytes([data[at] ^ 0x55]) \
                        + data[at + 1:]
            self.last = off + n == reply.length
            if reply.chunked:
                self.conn.sendall(b"%x\r\n" % len(data) + data + b"\r\n")
            else:
                self.conn.sendall(data)
            self.count(len(data))
            off += len(data)
            if slow and off < reply.length:
                gone(self.conn)
                time.sleep(0.1)
        if off == stop and self.do != "stall":
            self._hit(stop)
        if reply.chunked:
            self.conn.sendall(b"0\r\n\r\n")
        if self.do == "tail":
            self.conn.sendall(b"x" * self.rule["by"])
        if self.do in ("tail", "length"):
            raise Closed
