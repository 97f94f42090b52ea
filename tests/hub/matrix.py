#!/usr/bin/env python3
"""The fault matrix: what each hub's users see of each thing that can go wrong.

matrix.toml says it: a fault, at which stages, in which families, and what must
come of it. A cell is played with a hub and a cache of its own:

1. `omnihub get` with the fault: its end, its reason, how often the fault was
   met, how many requests that took, who was shown a token; nothing wrong and
   nothing in tmp/ is left.
2. The same without the fault: it must work at once, move no byte that had
   arrived, and leave in the cache exactly what a clean run leaves.
3. `omnihub cache verify` finds nothing wrong.

The stages: "meta" spoils the questions about a file, "first" the bytes from
its beginning on, "later" what is asked for after a first part has come, and
"staged" the bytes from which a staged file is planned.

A cell that `leaves` what belongs to another way (matrix.toml, [ways]) must work
in step 1 and leave exactly what a clean run of that way does; in step 2 the
file comes by its own way, once, and what it leaves is there beside.

    matrix.py [--table] [--part] [-j N] [WORD...]

--part plays what `make check` does, see PART; `make check-faults` all. With WORDs, the cells whose name
has them all.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
SRCDIR = os.environ.get("SRCDIR") or os.path.dirname(os.path.dirname(HERE))
BUILDDIR = os.path.abspath(os.environ.get("BUILDDIR") or
                           os.path.join(SRCDIR, "build"))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(SRCDIR, "tests", "mount")]
import hubd  # noqa: E402
import lib  # noqa: E402
import matrix_hubs  # noqa: E402

STAGES = ("meta", "first", "later", "staged")
RETRIES = 2
TIMEOUT = 1             # of what never comes, seconds
PATIENCE = 20           # … of all else, so that a busy machine is no fault
CHUNK = 128 << 10
# One connection: how often a fault is met must not hang on how many parts are
# asked for at a time.
CUT = 500000            # where the first part of "later" ends
KEPT = CUT // CHUNK * CHUNK
# `make check`: every fault in one family and stage, and these in all families,
# at these stages.
PART = {"503": STAGES, "cut inside the headers": STAGES,
        "length too long": ("meta",), "length too short": ("meta",)}
CLOCK = os.path.join(BUILDDIR, "tests", "hub", "clock.so")
KNOWN = {}              # sums of files, which every desk would make again
ROOM = 1 << 30          # of a cache, however full the machine's disk is
LIMIT = 50              # seconds of one run of omnihub
# No answer grows old within a run, however slow: it would be asked for again.
# Where "rest" waits until it has, it does so in a second.
FRESH = 2 * LIMIT


class Cell:
    def __init__(self, fault, family, stage, hits):
        self.fault, self.family, self.stage = fault, family, stage
        self.name = f"{fault['name']} / {family.name} / {stage}"
        want = {k: fault[k] for k in ("want", "says", "hits", "more", "requests",
                                       "rest")
                if k in fault}
        but = fault.get("but", {})
        keys = (stage, family.kind, family.name, f"{family.kind} {stage}",
                f"{family.name} {stage}")
        for key in keys:
            want.update(but.get(key, {}))
        if isinstance(want.get("hits"), str):
            row = hits[want["hits"]]
            want["hits"] = next(row[k] for k in reversed(keys) if k in row)
        self.want = want
        self.path = family.staged if stage == "staged" else family.file
        self.fresh = {"cache.fresh": 1} if "rest" in want else {}
        self.wrong = []
        self.seen = ""
        self.way = want.get("leaves")
        self.jumps = fault.get("rule", {}).get("do") == "clock"

    def rules(self, urls, clock):
        if "rule" not in self.fault:
            return []
        where = {"meta": {"content": False, "match": self.family.meta},
                 "first": {"content": True, "match": "noise"},
                 "later": {"content": True, "match": "noise", "from": 1},
                 "staged": {"content": True, "match": self.family.source}}
        rule = {**where[self.stage], **self.fault["rule"]}
        if rule["do"] == "clock":
            rule["file"] = clock
        if "to" in rule:
            rule["to"] = fill(rule["to"], urls)
            rule["match"] = f"^(?!.*/stranger).*(?:{rule['match']})"
        cut = {"do": "cut", "at": CUT, "times": 1, "content": True,
               "match": "noise"}
        return ([cut] if self.stage == "later" else []) + [rule]

    def check(self, true, *what):
        if not true:
            self.wrong.append(" ".join(map(str, what)))


def fill(text, urls):
    for name, url in urls.items():
        text = text.replace("{" + name + "}", url)
    return text


def cells(asked):
    for fault in asked["fault"]:
        for family in matrix_hubs.families():
            if family.name not in fault.get("families", [family.name]):
                continue
            for stage in fault.get("stages", STAGES):
                if f"{family.kind} {stage}" in fault.get("skip", ()):
                    continue
                if stage != "staged" or family.staged:
                    yield Cell(fault, family, stage, asked["hits"])


# ---- the hubs ----------------------------------------------------------------

def broken_tls(top):
    """{name: URL} of an https that is none, and one that nobody signed."""
    out = {"refused": "http://127.0.0.1:9", "unknown": "http://hub.invalid"}
    pem = os.path.join(top, "self.pem")
    made = shutil.which("openssl") and subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
         "2", "-subj", "/CN=127.0.0.1", "-keyout", pem, "-out", pem + ".crt"],
        check=False, capture_output=True).returncode == 0
    for name in ("plain", "self-signed"):
        s = hubd.http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), hubd.http.server.BaseHTTPRequestHandler)
        s.daemon_threads = True
        s.handle_error = lambda *a: None
        s.RequestHandlerClass.log_message = lambda *a: None
        if name == "self-signed":
            if not made:
                continue
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem + ".crt", pem)
            s.socket = context.wrap_socket(s.socket, server_side=True,
                                           do_handshake_on_connect=False)
        threading.Thread(target=s.serve_forever, daemon=True).start()
        out[name] = "https://127.0.0.1:%d" % s.server_address[1]
    return out


class Desk:
    """One hub of each family in this process, and omnihub to ask it. Cells
    are played one after the other."""

    def __init__(self, top, urls):
        self.top = top
        self.hub = hub = hubd.Hub(os.path.join(top, "hub"), None)
        servers = [hubd.Server(("127.0.0.1", 0), hub, hubd.HubSite(hub)),
                   hubd.Server(("127.0.0.2", 0), hub, hubd.CdnSite(hub))]
        servers += hubd.more_sites(hub, matrix_hubs.HOSTS)
        for s in hub.sites:
            if hasattr(s, "known"):
                s.known = KNOWN
        for s in servers:
            threading.Thread(target=s.serve_forever, args=(5,),
                             daemon=True).start()
        self.endpoints = {
            k: hub.urls[s.name] + getattr(s, "paths_of", {}).get(k, "")
            for s in hub.sites for k in s.keys}
        self.urls = {**hub.urls, **urls}
        self.set = json.dumps(hub.set)

    def run(self, cache, cmd, *args, keys=None, clock=None):
        """(status, what it printed on stderr)"""
        argv = [os.path.join(BUILDDIR, "omnihub"), cmd, "--cache", cache]
        keys = {**lib.NOWHERE, **self.endpoints, **matrix_hubs.TOKENS,
                "fetch.retries": RETRIES, "fetch.timeout": PATIENCE,
                "fetch.chunk": CHUNK, "fetch.connections": 1,
                "cache.fresh": FRESH, "cache.size": ROOM, **(keys or {})}
        for k, v in keys.items():
            argv += ["--set", f"{k}={v}"]
        env = {k: v for k, v in os.environ.items()
               if k == "PATH" or k.endswith("SAN_OPTIONS")}
        env.update(HOME=os.path.join(self.top, "home"), LC_ALL="C.UTF-8",
                   OMNIHUB_DATADIR=os.path.join(BUILDDIR, "share"),
                   GITHUB_TOKEN=matrix_hubs.GITHUB_TOKEN)
        if clock:
            env.update(LD_PRELOAD=CLOCK, CLOCK_FILE=clock)
        try:
            p = subprocess.run([*argv, *args], stdin=subprocess.DEVNULL,
                               capture_output=True, env=env, timeout=LIMIT,
                               check=False, cwd=self.top)
        except subprocess.TimeoutExpired:
            return -1, f"no end after {LIMIT} s"
        return p.returncode, (p.stderr if cmd == "get" else
                              p.stdout + p.stderr).decode("utf-8", "replace")

    def quiet(self):
        """Until no reply is under way any more."""
        end = time.monotonic() + 5
        while self.hub.active and time.monotonic() < end:
            time.sleep(0.005)

    def asked(self):
        """(requests, bytes of files sent) since the last question."""
        self.quiet()
        with self.hub.lock:
            sent = sum(s["content_sent"] for s in self.hub.stats.values())
            n = sum(s["requests"] for s in self.hub.stats.values())
        return n, sent

    def leaks(self):
        return [e for e in self.hub.log
                if e["auth"] and e["host"] not in matrix_hubs.SEEN_BY]


def kept(cache, path):
    """{path: digest} of objects and recipes; names in tmp/. What the zoo said
    is kept as a recipe with the time when it said so."""
    out, tmp = {}, []
    for room in ("objects",) if path.startswith("onnx") else (
            "objects", "recipes"):
        for at, _, names in os.walk(os.path.join(cache, room)):
            for n in names:
                full = os.path.join(at, n)
                with open(full, "rb") as f:
                    out[os.path.relpath(full, cache)] = hashlib.sha256(
                        f.read()).hexdigest()
    if os.path.isdir(os.path.join(cache, "tmp")):
        tmp = os.listdir(os.path.join(cache, "tmp"))
    return out, tmp


# ---- a cell ------------------------------------------------------------------

def clean_run(desk, path, data, keys=None):
    """What a run without faults costs and leaves: requests, bytes, files."""
    cache = tempfile.mkdtemp(dir=desk.top)
    desk.hub.control({"clear": True, "reset": True})
    code, said = desk.run(cache, "get", path, keys=keys)
    lib.check(code == 0 and not said, path, "without a fault:", said)
    left, tmp = kept(cache, path)
    lib.check(not tmp, path, tmp)
    if data is not None:
        lib.check(hashlib.sha256(data).hexdigest() in left.values(),
                  path, "has other bytes")
    n, sent = desk.asked()
    shutil.rmtree(cache)
    return n, sent, left


class Clean:
    """Of a cell: a clean run, and one of the way its fault leaves, or None."""

    def __init__(self, desk, todo, ways):
        self.of, self.by = {}, {}
        for c in todo:
            data = None if c.stage == "staged" else c.family.data
            if c.path not in self.of:
                self.of[c.path] = clean_run(desk, c.path, data)
            if c.way and (c.path, c.way) not in self.by:
                self.by[c.path, c.way] = clean_run(desk, c.path, data, {
                    k: fill(v, desk.urls) for k, v in ways[c.way].items()})

    def runs(self, cell):
        return self.of[cell.path], self.by.get((cell.path, cell.way))


def spoiled(desk, cell, cache, clean, other):
    """The first run."""
    hub, want = desk.hub, cell.want
    clock = os.path.join(cache, "clock")
    with open(clock, "wb") as f:
        f.write(bytes(8))
    rules = cell.rules(desk.urls, clock)
    hub.control({"clear": True, "reset": True,
                 "set": json.loads(desk.set)})
    hub.control({"add": rules, "set": cell.fault.get("set", {})})
    keys = dict(cell.fresh)
    if "slow" in cell.fault:
        keys["fetch.timeout"] = TIMEOUT
    if "endpoint" in cell.fault:
        to = fill(cell.fault["endpoint"], desk.urls)
        keys.update({k: to for k in cell.family.keys})
    if cell.jumps:
        lib.check(os.path.exists(CLOCK), "there is no", CLOCK)
    code, said = desk.run(cache, "get", cell.path, keys=keys,
                          clock=cell.jumps and clock)
    n, sent = desk.asked()
    hits = hub.faults.rules[-1]["hits"] if rules else None
    word = re.search(r": (E[A-Z0-9]+): ", said)
    got = "ok" if code == 0 else word[1] if word else f"exit {code}"
    cell.seen = got + ("" if hits is None else f" {hits}")
    cell.check(got == want["want"], "ended with", got, "not", want["want"])
    if want.get("says") and code:
        cell.check(re.search(want["says"], said), "does not say",
                   repr(want["says"]))
    if hits is not None:
        low, high = want["hits"] if isinstance(want["hits"], list) else \
            (want["hits"], want["hits"] + want.get("more", 0))
        cell.check(low <= hits <= high, "met the fault", hits, "times, not",
                   low if low == high else f"{low} to {high}")
    # What a spoiled reply leaves on a connection may spoil the next one, too.
    most = other[0] + 2 * (hits or 0) if other else \
        clean[0] + want.get("requests", 2 * (hits or 0) + 1)
    cell.check(n <= most, n, "requests, more than", most)
    for e in desk.leaks():
        cell.check(False, "a token was shown to", e["host"], e["path"])
    left, tmp = kept(cache, cell.path)
    cell.check(not tmp, "left in tmp/:", tmp)
    if other:
        cell.check(left == other[2], "kept other objects than of a clean run "
                   "by that way:", set(left) ^ set(other[2]))
    else:
        cell.check(left.items() <= clean[2].items(), "kept what is not right")
    if cell.wrong:
        cell.wrong.append("said " + said.strip())
        cell.wrong += [f"  {e['host']} {e['method']} {e['path']} "
                       f"{e['range']} {e['status']} {e['fault']}"
                       for e in hub.log]
    return got == "ok"


def healed(desk, cell, cache, clean, other, done):
    """The second run, and verify."""
    desk.hub.control({"clear": True, "reset": True,
                      "set": json.loads(desk.set)})
    time.sleep(cell.want.get("rest", 0))
    code, said = desk.run(cache, "get", cell.path, keys=cell.fresh)
    cell.check(code == 0, "afterwards:", said.strip())
    n, sent = desk.asked()
    most = 0 if done and not other else \
        clean[1] - (KEPT if cell.stage == "later" else 0)
    cell.check(sent <= most, "afterwards", sent, "bytes moved, not", most)
    most = clean[0]
    cell.check(n <= most, "afterwards", n, "requests, not", most)
    left, tmp = kept(cache, cell.path)
    want = {**clean[2], **other[2]} if other else clean[2]
    cell.check(left == want, "afterwards other objects than of a clean run:",
               set(left) ^ set(want))
    cell.check(not tmp, "afterwards in tmp/:", tmp)
    partial = [n for _, _, names in os.walk(os.path.join(cache, "partial"))
               for n in names]
    cell.check(not partial, "afterwards partial:", partial)
    code, said = desk.run(cache, "cache", "verify")
    cell.check(code == 0 and "0 partial ones are right, 0 bad" in said,
               "verify:", said.strip())


def play(desk, cell, clean, other):
    cache = tempfile.mkdtemp(dir=desk.top)
    try:
        done = spoiled(desk, cell, cache, clean, other)
        healed(desk, cell, cache, clean, other, done)
    finally:
        shutil.rmtree(cache, ignore_errors=True)


# ---- all of them -------------------------------------------------------------

def play_all(todo, ways, top, jobs):
    os.mkdir(os.path.join(top, "hub"))
    os.mkdir(os.path.join(top, "home"))
    matrix_hubs.fill(os.path.join(top, "hub"), os.path.join(top, "home"))
    urls = broken_tls(top)
    todo = [c for c in todo if all("{" + n + "}" not in json.dumps(c.fault)
                                   or n in urls for n in ("self-signed",))]
    desk = Desk(top, urls)
    clean = Clean(desk, todo, ways)
    free, lock = [desk], threading.Lock()

    def one(cell):
        with lock:
            mine = free.pop() if free else None
        mine = mine or Desk(top, urls)
        try:
            play(mine, cell, *clean.runs(cell))
        except Exception as e:  # noqa: B902 - a cell must always say why
            cell.wrong.append(repr(e))
        with lock:
            free.append(mine)
        return cell

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        # what waits longest begins first
        slow = sorted(todo, key=lambda c: c.fault.get("slow", 0),
                      reverse=True)
        for cell in pool.map(one, slow):
            if cell.wrong:
                print(f"FAILED: {cell.name}\n    " +
                      "\n    ".join(cell.wrong), flush=True)
    return todo


def table(done):
    """Rows are faults and stages, columns families; a cell is how it ended
    and how often the fault was met."""
    names = [f.name for f in matrix_hubs.families()]
    rows = {}
    for c in done:
        mark = "! " if c.wrong else ""
        rows.setdefault((c.fault["name"], c.stage), {})[c.family.name] = \
            mark + c.seen
    print(f"{'fault':34} {'stage':6} " +
          " ".join(f"{n:14}" for n in names).rstrip())
    last = None
    for (fault, stage), row in rows.items():
        print(f"{fault if fault != last else '':34} {stage:6} " + " ".join(
            f"{row.get(n, '·'):14}" for n in names).rstrip())
        last = fault


def main():
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--table", action="store_true")
    p.add_argument("--part", action="store_true")
    p.add_argument("-j", type=int, default=24, metavar="N")
    p.add_argument("word", nargs="*")
    args = p.parse_args()
    with open(os.path.join(HERE, "matrix.toml"), "rb") as f:
        asked = tomllib.load(f)
    todo = [c for c in cells(asked) if all(w in c.name for w in args.word)]
    if args.part:
        todo = [c for c in todo if c.stage in PART.get(
                    c.fault["name"], ()) or
                c.family.name == "huggingface" and c.stage == next(
                    s for s in ("first", *STAGES)
                    if s in c.fault.get("stages", STAGES))]
    start = time.monotonic()
    top = tempfile.mkdtemp(prefix="omnihub-matrix-")
    try:
        done = play_all(todo, asked["ways"], top, args.j)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    if args.table:
        table(done)
    bad = sum(bool(c.wrong) for c in done)
    print(f"{len(done)} cells, {bad} not as written, "
          f"{time.monotonic() - start:.0f} s", flush=True)
    os._exit(1 if bad or not done else 0)


if __name__ == "__main__":
    main()
