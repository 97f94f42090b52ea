#!/usr/bin/env python3
"""HTTP/2 over TLS in front of a hub that speaks plain HTTP/1.1.

    front.py --pem FILE [--alpn h2,http/1.1] ADDRESS=URL...

listens at each ADDRESS, hands every request to the server at its URL, and
prints one line of JSON: {URL: https address}. What the server says of the other
URLs (Location, Link) names their fronts instead. A body that the server cuts
short ends its stream with RST_STREAM. Needs python3-h2.

Each line of standard input is JSON and is answered by one: {"requests": [...],
"rules": [...]}, after "clear" and "add" as in hubd.py. A request has http ("2"
or "1.1"), conn (a number for each connection), stream, url (of whom it is the
front), method, path, range, status, sent (bytes of the body), and end: null,
"done", "rule" or "gone". The first rule whose "match" is found in "METHOD PATH
RANGE" and whose "times" are not over is used:

    stall   nothing comes from the body's byte "at" on until the rule is cleared
    drip    from there on 300 bytes come each tenth of a second, until then
    reset   RST_STREAM there; "refuse": instead of a reply, with REFUSED_STREAM
    goaway  GOAWAY there: what runs goes on, what begins is not heard; the
            connection ends with the last stream
    leave   GOAWAY there that disowns all streams, and the connection ends
"""
import argparse
import asyncio
import contextlib
import json
import re
import ssl
import sys

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from hyperframe.frame import GoAwayFrame

HOP = ("connection", "keep-alive", "transfer-encoding", "host", "te",
       "upgrade", "proxy-connection")
NONE = h2.errors.ErrorCodes.NO_ERROR


class Cut(Exception):
    """The server's reply ended before its end."""


class Ended(Exception):
    """A rule ended the stream, or the connection."""


class Fronts:
    """What all of them share."""

    def __init__(self, names):
        self.names = names          # {URL: https address}
        self.rules, self.requests = [], []
        self.connections = 0
        self.changed = asyncio.Event()

    def control(self, asked):
        if asked.get("clear"):
            self.rules = []
        self.rules += [dict(r, hits=0) for r in asked.get("add", ())]
        self.changed.set()
        self.changed = asyncio.Event()
        return {"requests": self.requests, "rules": self.rules}

    def pick(self, entry):
        text = f"{entry['method']} {entry['path']} {entry['range']}"
        for r in self.rules:
            if r["hits"] < r.get("times", 1 << 60) and \
                    re.search(r.get("match", ""), text):
                r["hits"] += 1
                return r
        return None

    def renamed(self, text):
        for url, name in self.names.items():
            text = text.replace(url, name)
        return text


class Upstream:
    """One request to the server behind, and its reply."""

    def __init__(self, url):
        self.host, _, port = url.partition("://")[2].partition(":")
        self.port = int(port)
        self.writer = None

    async def ask(self, method, path, headers, body):
        self.reader, self.writer = await asyncio.open_connection(
            self.host, self.port)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}",
                 "Connection: close"]
        lines += [f"{k}: {v}" for k, v in headers]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError) as e:
            raise Cut from e
        first, *rows = head.decode("latin-1").strip().split("\r\n")
        rows = [tuple(r.split(": ", 1)) for r in rows]
        low = {k.lower(): v for k, v in rows}
        status = int(first.split()[1])
        self.chunked = "chunked" in low.get("transfer-encoding", "")
        self.left = int(low.get("content-length", 0))
        if method == "HEAD" or status == 304:
            self.chunked, self.left = False, 0
        return status, [(k, v) for k, v in rows if k.lower() not in HOP]

    async def body(self):
        """Its pieces. A server that ends too early: Cut."""
        try:
            while self.chunked or self.left:
                if self.chunked and not self.left:
                    self.left = int(await self.reader.readline(), 16)
                    if not self.left:
                        return
                data = await self.reader.read(min(self.left, 65536))
                if not data:
                    raise Cut
                self.left -= len(data)
                if self.chunked and not self.left:
                    await self.reader.readexactly(2)
                yield data
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as e:
            raise Cut from e

    def close(self):
        if self.writer:
            self.writer.close()


class Exchange:
    """One request, whatever it came by: to() is how it is answered."""

    def __init__(self, fronts, url, number, http, to):
        self.fronts, self.url, self.to = fronts, url, to
        self.entry = {"http": http, "conn": number, "stream": to.stream,
                      "url": url, "status": None, "sent": 0, "end": None}

    async def run(self, method, path, headers, body=b""):
        entry, up = self.entry, Upstream(self.url)
        given = {k.lower(): v for k, v in headers}
        entry.update(method=method, path=path, range=given.get("range"))
        self.fronts.requests.append(entry)
        rule = self.fronts.pick(entry)
        try:
            if rule and rule["do"] == "refuse":
                self.to.reset(h2.errors.ErrorCodes.REFUSED_STREAM)
                raise Ended
            status, rows = await up.ask(method, path, [
                h for h in headers if h[0].lower() not in HOP], body)
            entry["status"] = status
            await self.to.head(status, [(k, self.fronts.renamed(v))
                                        for k, v in rows])
            async for data in up.body():
                await self.send(data, rule)
            await self.to.done()
            entry["end"] = "done"
        except Ended:
            entry["end"] = "rule"
        except Cut:
            self.to.reset(h2.errors.ErrorCodes.INTERNAL_ERROR)
            entry["end"] = "cut"
        finally:
            entry["end"] = entry["end"] or "gone"
            up.close()

    async def send(self, data, rule):
        at = rule.get("at", 0) - self.entry["sent"] if rule else -1
        if 0 <= at < len(data):
            await self.put(data[:at])
            data = await self.happen(rule, data[at:])
        elif rule and rule["do"] == "drip" and at < 0:
            data = await self.happen(rule, data)
        await self.put(data)

    async def put(self, data):
        if data:
            await self.to.data(data)
            self.entry["sent"] += len(data)

    async def happen(self, rule, data):
        """Returns what is still to be sent."""
        do, there = rule["do"], lambda: any(r is rule for r in
                                            self.fronts.rules)
        if do == "goaway":
            self.to.goaway()
        elif do == "leave":
            self.to.leave()
            raise Ended
        elif do == "reset":
            self.to.reset(h2.errors.ErrorCodes.INTERNAL_ERROR)
            raise Ended
        while do in ("stall", "drip") and there():
            if do == "stall":
                await self.fronts.changed.wait()
                continue
            await self.put(data[:300])
            data = data[300:]
            if not data:
                break
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.fronts.changed.wait(), 0.1)
        return data


# ---- HTTP/2 ------------------------------------------------------------------

class Stream:
    def __init__(self, conn, stream):
        self.conn, self.stream = conn, stream

    async def head(self, status, rows):
        self.conn.h2.send_headers(self.stream, [(":status", str(status))] + [
            (k.lower(), v) for k, v in rows])
        self.conn.flush()

    async def data(self, data):
        while data:
            n = min(self.conn.h2.local_flow_control_window(self.stream),
                    self.conn.h2.max_outbound_frame_size)
            if n <= 0:
                await self.conn.moved.wait()
                continue
            self.conn.h2.send_data(self.stream, data[:n])
            self.conn.flush()
            data = data[n:]
            await self.conn.writer.drain()

    async def done(self):
        self.conn.h2.end_stream(self.stream)
        self.conn.flush()

    def reset(self, code):
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.conn.h2.reset_stream(self.stream, code)
            self.conn.flush()

    def goaway(self):
        self.conn.goaway(max(self.conn.tasks))

    def leave(self):
        self.conn.goaway(0)
        self.conn.writer.close()


class Two:
    def __init__(self, fronts, url, number, reader, writer):
        self.fronts, self.url, self.number = fronts, url, number
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=False, header_encoding="utf-8"))
        self.moved = asyncio.Event()
        self.asked, self.tasks = {}, {}
        self.going = False

    def flush(self):
        data = self.h2.data_to_send()
        if data and not self.writer.is_closing():
            self.writer.write(data)

    def goaway(self, last):
        """Not h2's own, after which it would send nothing more."""
        self.going = True
        self.writer.write(GoAwayFrame(0, last_stream_id=last,
                                      error_code=NONE).serialize())

    async def run(self):
        self.h2.initiate_connection()
        self.flush()
        try:
            while True:
                data = await self.reader.read(65536)
                if not data:
                    return
                for event in self.h2.receive_data(data):
                    self.take(event)
                self.flush()
                self.moved.set()
                self.moved = asyncio.Event()
        except h2.exceptions.ProtocolError:
            self.flush()
        finally:
            for t in self.tasks.values():
                t.cancel()
            self.writer.close()

    def take(self, event):
        n = getattr(event, "stream_id", None)
        if isinstance(event, h2.events.RequestReceived):
            self.asked[n] = (dict(event.headers), event.headers, bytearray())
        elif isinstance(event, h2.events.DataReceived):
            self.asked[n][2].extend(event.data)
            self.h2.acknowledge_received_data(
                event.flow_controlled_length, n)
        elif isinstance(event, h2.events.StreamEnded):
            top, rows, body = self.asked.pop(n)
            if self.going:
                return
            x = Exchange(self.fronts, self.url, self.number, "2",
                         Stream(self, n))
            self.tasks[n] = asyncio.ensure_future(self.play(x.run(
                top[":method"], top[":path"],
                [h for h in rows if h[0][0] != ":"], bytes(body))))
        elif isinstance(event, h2.events.StreamReset) and n in self.tasks:
            self.tasks[n].cancel()

    async def play(self, run):
        """The other side may go at any moment."""
        with contextlib.suppress(h2.exceptions.ProtocolError, OSError):
            await run
        if self.going and all(t.done() or t is asyncio.current_task()
                              for t in self.tasks.values()):
            self.writer.close()


# ---- HTTP/1.1 ----------------------------------------------------------------

class One:
    """A connection for one exchange."""

    stream = 0

    def __init__(self, writer):
        self.writer = writer

    async def head(self, status, rows):
        rows = [f"{k}: {v}" for k, v in rows] + ["Connection: close"]
        self.writer.write((f"HTTP/1.1 {status} -\r\n" + "\r\n".join(rows)
                           + "\r\n\r\n").encode("latin-1"))

    async def data(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def done(self):
        await self.writer.drain()

    def reset(self, code):
        del code
        self.writer.transport.abort()

    def goaway(self):
        pass

    def leave(self):
        self.writer.close()


async def one(fronts, url, number, reader, writer):
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rows = head.strip().split("\r\n")
        rows = [tuple(r.split(": ", 1)) for r in rows]
        n = int({k.lower(): v for k, v in rows}.get("content-length", 0))
        body = await reader.readexactly(n)
        method, path, _ = first.split(" ", 2)
        await Exchange(fronts, url, number, "1.1", One(writer)).run(
            method, path, rows, body)
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


# ---- all of it -----------------------------------------------------------------

async def lines():
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while True:
        line = await reader.readline()
        if not line:
            return
        yield json.loads(line)


async def serve(args):
    fronts = Fronts({})
    alpn = args.alpn.split(",")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(args.pem)
    context.set_alpn_protocols(alpn)
    asyncio.get_running_loop().set_exception_handler(lambda *a: None)

    def taker(url):
        async def take(reader, writer):
            fronts.connections += 1
            number = fronts.connections
            spoken = writer.get_extra_info(
                "ssl_object").selected_alpn_protocol()
            if spoken == "h2":
                await Two(fronts, url, number, reader, writer).run()
            elif "http/1.1" in alpn:
                await one(fronts, url, number, reader, writer)
            else:
                writer.close()
        return take

    for where in args.where:
        address, _, url = where.partition("=")
        server = await asyncio.start_server(taker(url), address, 0,
                                            ssl=context, backlog=512)
        fronts.names[url] = "https://%s:%d" % \
            server.sockets[0].getsockname()[:2]
    print(json.dumps(fronts.names), flush=True)
    async for asked in lines():
        print(json.dumps(fronts.control(asked)), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--pem", required=True, help="certificate and key")
    p.add_argument("--alpn", default="h2,http/1.1")
    p.add_argument("where", nargs="+", metavar="ADDRESS=URL")
    asyncio.run(serve(p.parse_args()))


if __name__ == "__main__":
    main()
