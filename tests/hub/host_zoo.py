"""GitHub as the ONNX model zoo uses it (hubs.md 2.1, 2.4, 2.6).

    .hosts/zoo/ONNX_HUB_MANIFEST.json       a git file
    .hosts/zoo/validated/.../x.onnx         LFS objects

zoo-raw is raw.githubusercontent.com: git files, of LFS objects the pointer.
zoo-media is media.githubusercontent.com. zoo-lfs is github.com with the batch
API; zoo-store is where its answers lead: signed addresses that end, and wants
the header that the answer named. What the zoo has at Hugging Face is in
onnxmodelzoo/ as every repository of that hub.
"""
import hashlib
import hmac
import json
import os
import re
import time
import urllib.parse

from faults import Reply

SETTINGS = {
    "zoo_media": "bytes",       # or "gone", "pointer", "pointer-chunked"
    "zoo_lfs": "ok",            # or "quota", "gone", "off"
    "zoo_lfs_seconds": 3600,    # life of an address of the store
    "zoo_lfs_header": True,     # it wants a header too
    "zoo_lfs_expires": "in",    # or "at", "both", "none"
}
BATCH = "/onnx/models.git/info/lfs/objects/batch"
JSON = "application/vnd.git-lfs+json"
SECRET = b"only so that a changed address is refused"
TICKET = "zoo-ticket"
QUOTA = ("This repository is over its data quota. Account responsible for LFS "
         "bandwidth should purchase more data packs to restore access.")


def sign(path, expires):
    return hmac.new(SECRET, f"{path} {expires}".encode(),
                    hashlib.sha256).hexdigest()


class Zoo:
    """What the hosts share: the files, by path and by digest."""

    keys = ()

    def __init__(self, hub):
        self.hub = hub
        self.load()

    def load(self):
        top = self.hub.files("zoo")
        self.paths, self.oids = {}, {}
        for where, _, names in os.walk(top):
            for n in names:
                disk = os.path.join(where, n)
                path = os.path.relpath(disk, top)
                with open(disk, "rb") as f:
                    data = f.read()
                oid = hashlib.sha256(data).hexdigest()
                self.paths[path] = (disk, len(data), oid)
                self.oids[oid] = (disk, len(data), path)

    @staticmethod
    def is_lfs(path):
        return path.endswith((".onnx", ".gz"))

    @staticmethod
    def pointer(size, oid):
        return ("version https://git-lfs.github.com/spec/v1\n"
                f"oid sha256:{oid}\nsize {size}\n").encode()

    def below(self, q, prefix):
        """The file that the address names, or None."""
        path = urllib.parse.unquote(q.path)
        if q.auth or not path.startswith(prefix):
            return None, path
        path = path[len(prefix):]
        return self.paths.get(path), path


class Raw(Zoo):
    name = "zoo-raw"
    keys = ("onnx.manifest",)
    paths_of = {"onnx.manifest": "/onnx/models/main/ONNX_HUB_MANIFEST.json"}

    def answer(self, q):
        found, path = self.below(q, "/onnx/models/main/")
        if not found:
            return Reply(404, b"404: Not Found", (),
                         "text/plain; charset=utf-8")
        disk, size, oid = found
        etag = f'"{oid}"'
        headers = [("ETag", etag), ("Cache-Control", "max-age=300"),
                   ("X-Content-Type-Options", "nosniff"),
                   ("Accept-Ranges", "bytes")]
        if q.headers.get("If-None-Match") == etag:
            return Reply(304, b"", headers)
        reply = Reply(200, self.pointer(size, oid), headers,
                      "text/plain; charset=utf-8")
        if not self.is_lfs(path):
            with open(disk, "rb") as f:
                reply = Reply(200, f.read(), headers,
                              "text/plain; charset=utf-8")
        reply.label = path
        return reply


class Media(Zoo):
    name = "zoo-media"
    keys = ("onnx.media",)

    def answer(self, q):
        mode = self.hub.set["zoo_media"]
        found, path = self.below(q, "/media/onnx/models/main/")
        if not found or mode == "gone":
            return Reply(404, b"404: Not Found", (),
                         "text/plain; charset=utf-8")
        disk, size, oid = found
        if mode.startswith("pointer"):
            reply = Reply(200, self.pointer(size, oid), (),
                          "text/plain; charset=utf-8")
            reply.chunked = mode == "pointer-chunked"
            reply.label = path
            return reply
        reply = Reply(200, b"", [("ETag", f'"{oid}"'),
                                 ("Accept-Ranges", "bytes")],
                      "application/octet-stream")
        reply.label = path
        return reply.of_file(disk, size, q.headers.get("Range"))


class Lfs(Zoo):
    name = "zoo-lfs"
    keys = ("onnx.lfs",)

    @staticmethod
    def refuse(status, message):
        return Reply(status, json.dumps({
            "message": message, "request_id": os.urandom(8).hex(),
            "documentation_url": "https://git-lfs.com"}).encode(), (), JSON)

    def answer(self, q):
        mode = self.hub.set["zoo_lfs"]
        if q.path != BATCH or q.method != "POST" or mode == "off":
            return Reply(404, b"Not Found", (), "text/plain; charset=utf-8")
        if mode == "quota":
            return self.refuse(403, QUOTA)
        if JSON not in (q.headers.get("Accept") or "") or \
                JSON not in (q.headers.get("Content-Type") or ""):
            return self.refuse(406, "The Accept header needs to be " + JSON)
        try:
            asked = json.loads(q.body)
            rows = [self.row(o["oid"], int(o["size"]))
                    for o in asked["objects"]]
            right = asked["operation"] == "download" and \
                asked.get("hash_algo", "sha256") == "sha256"
        except (ValueError, KeyError, TypeError):
            right = False
        if not right:
            return self.refuse(422, "Validation failed")
        return Reply(200, json.dumps({
            "transfer": "basic", "objects": rows,
            "hash_algo": "sha256"}).encode(), (), JSON)

    def row(self, oid, size):
        s = self.hub.set
        if not re.fullmatch(r"[0-9a-f]{64}", oid):
            return {"oid": oid, "size": size, "error": {
                "code": 422, "message": "Invalid oid"}}
        if oid not in self.oids or s["zoo_lfs"] == "gone":
            return {"oid": oid, "size": size, "error": {
                "code": 404, "message": "Object does not exist on the server"
                " or you don't have permissions to access it"}}
        seconds = s["zoo_lfs_seconds"]
        expires = int(time.time() + seconds)
        path = f"/media/{oid[:2]}/{oid[2:4]}/{oid}"
        down = {"href": f"{self.hub.urls['zoo-store']}{path}?expires="
                        f"{expires}&token={sign(path, expires)}"}
        if s["zoo_lfs_header"]:
            down["header"] = {"X-Ticket": TICKET}
        if s["zoo_lfs_expires"] in ("in", "both"):
            down["expires_in"] = seconds
        if s["zoo_lfs_expires"] in ("at", "both"):
            down["expires_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ",
                                               time.gmtime(expires))
        return {"oid": oid, "size": self.oids[oid][1],
                "authenticated": True, "actions": {"download": down}}


class Store(Zoo):
    name = "zoo-store"

    def answer(self, q):
        expires = q.arg("expires") or "0"
        found = self.oids.get(q.segs[-1])
        wants = self.hub.set["zoo_lfs_header"]
        if not found or not expires.isdigit() or \
                int(expires) < time.time() or \
                q.arg("token") != sign(q.path, int(expires)) or \
                wants and q.headers.get("X-Ticket") != TICKET:
            return Reply(403, b"<Error><Code>AccessDenied</Code></Error>", (),
                         "application/xml")
        disk, size, path = found
        reply = Reply(200, b"", [("Accept-Ranges", "bytes")],
                      "application/octet-stream")
        reply.label = path
        return reply.of_file(disk, size, q.headers.get("Range"))


SITES = [Raw, Media, Lfs, Store]
