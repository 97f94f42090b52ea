"""The hub of the benchmark: nginx over files that lie as Hugging Face's protocol
wants them, so that the server is none of what is measured.

Two hosts as in life: the hub (API as JSON files, git files, a redirect for each
LFS file) and the CDN (LFS files, and everything again as plain directories for
programs that only know HTTP). For every line (Line) there is a pair of
ports; where the line has a delay or a rate the pair is reached through
bench-net only, and the hub redirects to the CDN behind the same line.
"""
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time

SRCDIR = os.environ.get("SRCDIR") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path[:0] = [os.path.join(SRCDIR, "tests", "mount"),
                os.path.join(SRCDIR, "contrib", "demo")]
import lib  # noqa: E402

MIB = 1 << 20
COMMIT = hashlib.sha1(b"bench").hexdigest()
PAGE = 1000                     # entries a page of a listing, as the hub has
BIG = "model.safetensors"


class Line:
    """What is between the hub and us."""

    def __init__(self, name, rtt=0, rate=0):
        self.name, self.rtt, self.rate = name, rtt, rate

    def words(self):
        if not self.rtt and not self.rate:
            return "loopback"
        out = [f"{self.rtt} ms round trip"] if self.rtt else []
        if self.rate:
            out.append(f"{self.rate * 8 / 1e6:.0f} Mbit/s")
        return ", ".join(out)


LINES = [Line("0ms"), Line("20ms", 20), Line("80ms", 80),
         Line("20ms-200Mbit", 20, 25_000_000)]


def free_ports(n):
    socks = [socket.socket() for _ in range(n)]
    for s in socks:
        s.bind(("127.0.0.1", 0))
    out = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return out


# ---- what is served ----------------------------------------------------------

def bert(megabytes):
    """A BERT of about this size: blocks of 50 MB as a large one has, or two
    small ones."""
    models = lib.models
    if megabytes < 96:
        return lib.bulky_bert(max(megabytes, 8))
    layers = (megabytes - 24) // 49
    c = models.bert_config("BertModel", 1024, layers, 16, 4096, 512)
    w = lib.Bulk("bench")
    c["vocab_size"] = (megabytes - 8 - layers * 49) * MIB // 4096
    models.bert_layers(w, "", c, False)
    return {"config.json": models.pretty(c), "README.md": b"# bench\n",
            BIG: w.safetensors()}


def git_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Content:
    """The repositories below `top`: files/bench/REPO/…, blobs/…, api/…"""

    def __init__(self, top, megabytes, many, small):
        self.top, self.redirects, self.etags, self.links = top, {}, {}, {}
        self.many, self.small = many, small
        self.put("big", bert(megabytes))
        self.put("small", {f"f{i:05}": lib.noise(i, 1024)
                           for i in range(small)})
        for n in many:
            self.hollow(f"ls{n}", n)
        self.size = os.path.getsize(self.file("big", BIG))
        with open(self.file("big", BIG), "rb") as f:
            n = int.from_bytes(f.read(8), "little")
            head = json.loads(f.read(n))
        head.pop("__metadata__", None)
        self.ranges = sorted((8 + n + a, b - a) for a, b in
                             (t["data_offsets"] for t in head.values()))

    def file(self, *parts):
        return os.path.join(self.top, "files", "bench", *parts)

    def write(self, path, data):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)

    def put(self, repo, files):
        rows = []
        for path, data in sorted(files.items()):
            row = {"type": "file", "path": path, "size": len(data),
                   "oid": git_id(data)}
            self.write(self.file(repo, path), data)
            if len(data) > MIB:
                sha = hashlib.sha256(data).hexdigest()
                row["lfs"] = {"oid": sha, "size": len(data),
                              "pointerSize": 134}
                blob = os.path.join(self.top, "blobs", sha)
                os.makedirs(os.path.dirname(blob), exist_ok=True)
                os.link(self.file(repo, path), blob)
                self.redirects[f"{repo}/{path}"] = (sha, len(data))
            else:
                self.etags[f"{repo}/{path}"] = row["oid"]
            rows.append(row)
        self.api(repo, rows)

    def hollow(self, repo, n):
        """Files that are only listed: links to a few, one byte each."""
        data, rows, real = b"x", [], None
        for i in range(n):
            path = self.file(repo, f"f{i:05}")
            if i % 50000:
                os.link(real, path)
            else:
                self.write(path, data)
                real = path
            rows.append({"type": "file", "path": f"f{i:05}", "size": 1,
                         "oid": git_id(data)})
        self.api(repo, rows)

    def api(self, repo, rows):
        base = os.path.join(self.top, "api", "bench", repo)
        self.write(os.path.join(base, "revision"), json.dumps({
            "_id": "0" * 24, "id": f"bench/{repo}", "modelId": f"bench/{repo}",
            "sha": COMMIT, "lastModified": "2024-01-01T00:00:00.000Z",
            "createdAt": "2024-01-01T00:00:00.000Z", "private": False,
            "gated": False, "disabled": False, "tags": [], "downloads": 0,
            "likes": 0,
            "siblings": [{"rfilename": r["path"]} for r in rows]}).encode())
        for at in range(0, len(rows), PAGE):
            n = at // PAGE
            self.write(os.path.join(base, "tree" + (str(n) if n else "")),
                       json.dumps(rows[at:at + PAGE]).encode())
            if at + PAGE < len(rows):
                self.links[f"bench/{repo}?{n or ''}"] = (
                    f"/api/models/bench/{repo}/tree/{COMMIT}"
                    f"?recursive=true&expand=false&page={n + 1}")


# ---- nginx -------------------------------------------------------------------

HTTP = """
daemon off;
{user}
worker_processes 2;
pid {top}/nginx.pid;
error_log {top}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
    types {{ }}
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    server_tokens off;
    map_hash_max_size 65536;
    client_body_temp_path {top}/t1; proxy_temp_path {top}/t2;
    fastcgi_temp_path {top}/t3; uwsgi_temp_path {top}/t4;
    scgi_temp_path {top}/t5;
    log_format sent '$server_port $request_method $status $body_bytes_sent '
        '$bytes_sent $request_uri';
    access_log {top}/access.log sent;
    map "$repo/$path" $etag {{
        {etags}
    }}
    map "$repo?$arg_page" $next {{
        {links}
    }}
{servers}
}}
"""
HUB = """
    server {{
        listen 127.0.0.1:{hub} backlog=1024;
        root {top};
        location ~ ^/api/models/(?<repo>bench/[^/]+)(/revision/[^/]+)?$ {{
            default_type application/json;
            try_files /api/$repo/revision =404;
        }}
        location ~ ^/api/models/(?<repo>bench/[^/]+)/tree/[^/]+/?$ {{
            default_type application/json;
            add_header Link $next;
            try_files /api/$repo/tree$arg_page =404;
        }}
        # hf-mount begins with it; what is not in Xet comes from here.
        location ~ ^/api/models/bench/[^/]+/xet-read-token/ {{
            default_type application/json;
            return 200 '{{"casUrl": "http://127.0.0.1:9",
                "exp": 4102444800, "accessToken": "none"}}';
        }}
        {redirects}
        location ~ ^/bench/(?<repo>[^/]+)/resolve/[^/]+/(?<path>.+)$ {{
            etag off;
            add_header ETag '"$etag"';
            add_header X-Repo-Commit {commit};
            try_files /files/bench/$repo/$path =404;
        }}
    }}
    server {{
        listen 127.0.0.1:{cdn} backlog=1024;
        root {top};
        location /blobs/ {{ }}
        location /files/ {{ autoindex on; }}
    }}
"""
REDIRECT = """
        location ~ ^/bench/{path}$ {{
            add_header X-Repo-Commit {commit} always;
            add_header X-Linked-Size {size} always;
            add_header X-Linked-ETag '"{sha}"' always;
            return 302 http://127.0.0.1:{cdn}/blobs/{sha};
        }}"""


class Mirror:
    """A running nginx, and a bench-net for each line that needs one."""

    def __init__(self, top, content, lines, tools):
        self.top, self.content, self.lines = top, content, lines
        self.procs, self.at = [], 0
        ports = free_ports(4 * len(lines))
        self.inner, self.outer, servers = {}, {}, ""
        for i, line in enumerate(lines):
            self.inner[line.name] = ports[4 * i:4 * i + 2]
            far = line.rtt or line.rate
            self.outer[line.name] = ports[4 * i + 2:4 * i + 4] if far else \
                self.inner[line.name]
            servers += self.pair(line)
        self.conf = os.path.join(top, "nginx.conf")
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(HTTP.format(
                top=top, servers=servers,
                user="user root;" if os.geteuid() == 0 else "",
                etags="\n        ".join(f'"{k}" {v};' for k, v in
                                        content.etags.items()),
                links="\n        ".join(f"'{k}' '<http://$http_host"
                                        f"{v}>; rel=\"next\"';"
                                        for k, v in content.links.items())))
        self.run([nginx(), "-p", top, "-c", self.conf])
        for line in lines:
            if self.outer[line.name] != self.inner[line.name]:
                pairs = zip(self.outer[line.name], self.inner[line.name])
                p = self.run([tools["bench-net"], str(line.rtt),
                              str(line.rate)] + [f"{a}:{b}" for a, b in pairs],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                p.stdout.readline()
        self.wait()

    def pair(self, line):
        hub, cdn = self.inner[line.name]
        redirects = "".join(REDIRECT.format(
            path=path.replace("/", "/resolve/[^/]+/", 1).replace(".", r"\."),
            sha=sha, size=size, commit=COMMIT, cdn=self.outer[line.name][1])
            for path, (sha, size) in self.content.redirects.items())
        return HUB.format(top=self.top, hub=hub, cdn=cdn, commit=COMMIT,
                          redirects=redirects)

    def run(self, argv, **more):
        p = subprocess.Popen(argv, **more)
        self.procs.append(p)
        return p

    def wait(self):
        end = time.monotonic() + 20
        while True:
            try:
                for line in self.lines:
                    lib.OPENER.open(self.hub(line)
                                    + "/api/models/bench/big").close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def hub(self, line):
        return f"http://127.0.0.1:{self.outer[line.name][0]}"

    def plain(self, line):
        return f"http://127.0.0.1:{self.outer[line.name][1]}/files"

    def url(self, line, repo, path):
        return f"{self.hub(line)}/bench/{repo}/resolve/{COMMIT}/{path}"

    def blob(self, line, path):
        sha = self.content.redirects[path][0]
        return f"http://127.0.0.1:{self.outer[line.name][1]}/blobs/{sha}"

    def traffic(self):
        """(requests, body bytes) since it was asked last. Only exchanges that
        have ended are counted: ask when the client is gone or idle."""
        requests = sent = 0
        with open(os.path.join(self.top, "access.log"), "rb") as f:
            f.seek(self.at)
            for row in f:
                if not row.endswith(b"\n"):
                    break
                self.at += len(row)
                requests += 1
                sent += int(row.split()[3])
        return requests, sent

    def stop(self):
        for p in reversed(self.procs):
            p.terminate()
        for p in self.procs:
            p.wait()


def nginx():
    return shutil.which("nginx", path=os.environ.get("PATH", "")
                        + ":/usr/sbin:/sbin")
