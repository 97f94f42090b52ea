"""Kaggle Models, as hubs.md 3.4 and 3.5 tell of it: both faces of the API, and
the storage that its signed addresses lead to.

    .hosts/kaggle/OWNER/MODEL/FRAMEWORK/VARIATION/VERSION/FILE
    .hosts/kaggle/OWNER/MODEL/model.json    {"private": true} or
                                            {"consent": ["alice"]}: who has
    .hosts/gcs/BUCKET/OBJECT                what anybody may read there

The name of a framework on disk is that of a path (tensorFlow2).
"""
import base64
import datetime
import gzip
import hashlib
import hmac
import io
import json
import os
import re
import tarfile
import threading
import time
import urllib.parse
import zipfile

from faults import Reply

SETTINGS = {
    "kaggle_tokens": {"KGAT_alice": "alice", "KGAT_bob": "bob"},
    "kaggle_keys": {"alice": "alicekey"},
    "kaggle_page": 20,          # entries of a page if nobody asks, at most 200
    "kaggle_page_max": 200,
    "kaggle_rest": True,        # False: nothing answers there
    "kaggle_rpc": True,
    "kaggle_framework": "enum",     # or "path", "short": how it is written
    "kaggle_redirect": 302,
    "kaggle_error_status": 0,   # else the status every error comes with
    "kaggle_sign_seconds": 259200,
    "kaggle_zip": "",           # what matches comes as NAME.zip
    "kaggle_md5": True,
    "gcs_expired": 403,
    "gcs_listing": True,        # may anybody list a bucket?
}
SECRET = b"only so that a changed address is refused"
PREFIX = "/api/v1/models/"
SERVICE = "/api/v1/models.ModelApiService/"
TIME = "2024-03-01T12:34:56.7890123Z"
PAGE = (b"<!DOCTYPE html><html><head><title>Kaggle</title></head>"
        b"<body>Find Pre-trained Models</body></html>")


class Refused(Exception):
    def __init__(self, status, say):
        super().__init__(say)
        self.status, self.say = status, say


def enum_of(token):
    return "MODEL_FRAMEWORK_" + re.sub(
        r"(?<=[a-z])(?=[A-Z0-9])", "_", token).upper()


def plain(text):
    return re.sub("^MODEL_FRAMEWORK_", "", text).replace("_", "").lower()


def number(*parts):
    """An id that stays."""
    return int(hashlib.sha256("/".join(parts).encode()).hexdigest()[:6], 16)


def page_reply():
    return Reply(200, PAGE, (), "text/html; charset=utf-8")


class Version:
    def __init__(self, top, owner, model, framework, slug, v):
        self.parts = (owner, model, framework, slug, v)
        self.dir = os.path.join(top, *self.parts)
        self.number = int(v)

    def files(self):
        out = []
        for d, dirs, names in os.walk(self.dir):
            dirs.sort()
            for n in names:
                full = os.path.join(d, n)
                out.append((os.path.relpath(full, self.dir), full))
        return sorted(out)


class Store:
    """What the directory holds, and what is made of it."""

    def __init__(self, hub):
        self.hub = hub
        self.top = hub.files("kaggle")
        self.versions = {}
        self.models = {}
        self.load()

    def load(self):
        self.versions, self.models = {}, {}
        for d, dirs, names in os.walk(self.top):
            dirs.sort()
            parts = tuple(os.path.relpath(d, self.top).split(os.sep))
            if len(parts) == 2:
                self.models[parts] = {}
                if "model.json" in names:
                    with open(os.path.join(d, "model.json"),
                              encoding="utf-8") as f:
                        self.models[parts] = json.load(f)
            if len(parts) == 5:
                dirs.clear()
                self.versions[parts] = Version(self.top, *parts)

    def instances(self, owner, model):
        return sorted({p[:4] for p in self.versions
                       if p[:2] == (owner, model)})

    def numbers(self, instance):
        return sorted(v.number for p, v in self.versions.items()
                      if p[:4] == instance)

    def find(self, owner, model, framework, slug):
        """The framework in any form; the rest as it is."""
        for p in self.instances(owner, model):
            if plain(p[2]) == plain(framework) and p[3] == slug:
                return p
        return None

    def made(self, name, make):
        disk = self.hub.files(".made", name)
        if not os.path.exists(disk):
            os.makedirs(os.path.dirname(disk), exist_ok=True)
            # Several hubs may stand over the same directory.
            tmp = f"{disk}.{os.getpid()}.{threading.get_ident()}"
            with open(tmp, "wb") as f:
                f.write(make())
            os.rename(tmp, disk)
        return disk

    @staticmethod
    def dirs(v):
        """The directories, the top one first: TF Hub's archives name them,
        and its client relies on that."""
        names = {""}
        for name, _ in v.files():
            while "/" in name:
                name = name.rpartition("/")[0]
                names.add(name)
        return [(n, os.path.join(v.dir, n)) for n in sorted(names)]

    def archive(self, v, dot):
        """All files as tar.gz; `dot`: with ./ in front, as TF Hub has it."""
        def make():
            raw = io.BytesIO()
            with tarfile.open(fileobj=raw, mode="w",
                              format=tarfile.GNU_FORMAT) as t:
                for name, disk in (self.dirs(v) if dot else []) + v.files():
                    i = t.gettarinfo(disk, ("./" if dot else "") + name)
                    i.mtime, i.uid, i.gid = 1700000000, 0, 0
                    i.uname = i.gname = ""
                    with open(disk, "rb") if i.isfile() else \
                            io.BytesIO() as f:
                        t.addfile(i, f)
            return gzip.compress(raw.getvalue(), mtime=0)
        return self.made("/".join(v.parts) + ("/dot" if dot else "/plain") +
                         ".tar.gz", make)

    def zipped(self, v, name, disk):
        def make():
            raw = io.BytesIO()
            with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as z:
                z.write(disk, os.path.basename(name))
            return raw.getvalue()
        return self.made("/".join(v.parts) + "/zip/" + name + ".zip", make)


def store_of(hub):
    if not hasattr(hub, "kaggle_store"):
        hub.kaggle_store = Store(hub)
    return hub.kaggle_store


class Kaggle:
    """www.kaggle.com, and api.kaggle.com as it is outside of production."""

    name = "kaggle"
    keys = ("kaggle.endpoint",)

    def __init__(self, hub):
        self.hub = hub
        self.store = store_of(hub)

    def load(self):
        self.store.load()

    # -- who asks ---------------------------------------------------------

    def user(self, q):
        given = q.headers.get("Authorization")
        if not given:
            return None
        kind, _, value = given.partition(" ")
        s = self.hub.set
        name = None
        if kind == "Bearer":
            name = s["kaggle_tokens"].get(value)
        elif kind == "Basic":
            user, _, key = base64.b64decode(value).decode().partition(":")
            name = user if s["kaggle_keys"].get(user) == key else None
        q.auth = name or "bad"
        if not name:
            raise Refused(401, "Unauthenticated")
        return name

    def may(self, user, owner, model, use):
        m = self.store.models.get((owner, model))
        what = "modelInstanceVersions.use" if use else "models.get"
        if m is None:
            raise Refused(404, "Not found") if user else \
                Refused(403, f"Permission '{what}' was denied")
        if m.get("private") and user != owner:
            raise Refused(403, f"Permission '{what}' was denied")
        if use and "consent" in m and user not in m["consent"]:
            raise Refused(403, "User has not consented to terms of use.")

    # -- answers ----------------------------------------------------------

    def answer(self, q):
        try:
            if q.path.startswith(PREFIX) and q.method in ("GET", "HEAD"):
                if not self.hub.set["kaggle_rest"]:
                    return Reply(404, PAGE, (), "text/html")
                return self.rest(q)
            if q.path.startswith(SERVICE) and q.method == "POST":
                if not self.hub.set["kaggle_rpc"]:
                    return Reply(404, PAGE, (), "text/html")
                return self.rpc(q)
            if q.segs[0] == "models":
                return self.web(q)
            return Reply(404, PAGE, (), "text/html")
        except Refused as e:
            body = {"code": e.status, "message": e.say}
            return Reply(self.hub.set["kaggle_error_status"] or e.status,
                         json.dumps(body).encode(), (), "application/json")

    def web(self, q):
        """A page for people, or with the query of TF Hub the archive."""
        s = [urllib.parse.unquote(x) for x in q.segs[1:]]
        if q.arg("tf-hub-format") == "compressed" and len(s) in (4, 5):
            v = self.version(s[:4], s[4] if len(s) == 5 else None)
            return self.signed(q, v, "bundle/dot.tar.gz")
        return page_reply()

    def version(self, s, n=None):
        instance = self.store.find(*s)
        if instance is None:
            raise Refused(404, "Not found")
        numbers = self.store.numbers(instance)
        n = int(n) if n else numbers[-1]
        if n not in numbers:
            raise Refused(404, "Not found")
        return self.store.versions[instance + (str(n),)]

    def framework(self, token):
        form = self.hub.set["kaggle_framework"]
        if form == "path":
            return token
        return enum_of(token) if form == "enum" else \
            enum_of(token)[len("MODEL_FRAMEWORK_"):]

    def page(self, rows, size, token):
        s = self.hub.set
        size = min(int(size or s["kaggle_page"]), s["kaggle_page_max"])
        at = 0
        if token:
            try:
                at = int(base64.b64decode(token, validate=True))
            except ValueError:
                raise Refused(400, "Invalid page token") from None
        more = ""
        if at + size < len(rows):
            more = base64.b64encode(b"%d" % (at + size)).decode()
        return rows[at:at + size], more

    @staticmethod
    def json(value):
        return Reply(200, json.dumps(value).encode(),
                     [("X-Kaggle-HubVersion", "0.0.1")], "application/json")

    def list_models(self, user, a):
        rows = []
        for (owner, model), m in sorted(self.store.models.items()):
            if a.get("owner") and a["owner"].lower() != owner.lower():
                continue
            if (a.get("search") or "").lower() not in f"{owner}/{model}":
                continue
            if m.get("private") and user != owner:
                continue
            rows.append({"id": number(owner, model),
                         "ref": f"{owner}/{model}", "title": model,
                         "author": owner.title(), "slug": model,
                         "isPrivate": bool(m.get("private")),
                         "publishTime": TIME, "instances": []})
        rows, more = self.page(rows, a.get("pageSize"), a.get("pageToken"))
        return self.json({"models": rows, "nextPageToken": more,
                          "totalResults": len(rows)})

    def instance(self, p):
        return {"id": number(*p), "slug": p[3],
                "framework": self.framework(p[2]),
                "versionNumber": self.store.numbers(p)[-1],
                "versionId": number(*p, "v"),
                "url": "https://www.kaggle.com/models/" + "/".join(p)}

    def list_instances(self, owner, model, a):
        rows = [dict(self.instance(p), ownerSlug=owner, modelSlug=model)
                for p in self.store.instances(owner, model)]
        rows, more = self.page(rows, a.get("pageSize"), a.get("pageToken"))
        return self.json({"instances": rows, "nextPageToken": more})

    def list_versions(self, p, a):
        rows = [{"id": number(*p, str(n)), "versionNumber": n,
                 "variationSlug": p[3], "framework": self.framework(p[2]),
                 "isTfhubModel": False}
                for n in reversed(self.store.numbers(p))]
        rows, more = self.page(rows, a.get("pageSize"), a.get("pageToken"))
        return self.json({"versionList": {"versions": rows},
                          "nextPageToken": more})

    def list_files(self, v, a):
        rows = []
        for name, disk in v.files():
            row = {"name": name, "size": os.path.getsize(disk),
                   "creationDate": TIME}
            if not row["size"]:
                del row["size"]         # defaults are left out
            rows.append(row)
        rows, more = self.page(rows, a.get("pageSize"), a.get("pageToken"))
        return self.json({"files": rows, "nextPageToken": more})

    def download(self, q, v, path):
        if not path:
            return self.signed(q, v, "bundle/archive.tar.gz")
        files = dict(v.files())
        if path not in files:
            raise Refused(404, f"File not found: {path}")
        pattern = self.hub.set["kaggle_zip"]
        tail = ".zip" if pattern and re.search(pattern, path) else ""
        return self.signed(q, v, path + tail)

    def signed(self, q, v, what):
        ids = f"{number(*v.parts[:4])}/{number(*v.parts)}"
        bucket = "kaggle-models-data" if what.startswith("bundle/") else \
            "kagglesdsdata/models"
        path = f"/{bucket}/{ids}/{urllib.parse.quote(what)}"
        date = datetime.datetime.now(datetime.timezone.utc)
        life = self.hub.set["kaggle_sign_seconds"]
        args = {"X-Goog-Algorithm": "GOOG4-RSA-SHA256",
                "X-Goog-Credential": "gcp-kaggle-com@kaggle/auto/storage",
                "X-Goog-Date": date.strftime("%Y%m%dT%H%M%SZ"),
                "X-Goog-Expires": str(life), "X-Goog-SignedHeaders": "host"}
        query = urllib.parse.urlencode(args)
        to = (self.hub.urls["gcs"] + path + "?" + query + "&X-Goog-Signature="
              + sign(path, query))
        reply = Reply(self.hub.set["kaggle_redirect"], b"",
                      [("Location", to)], "text/html; charset=utf-8")
        reply.label = "/".join(v.parts) + "/" + what
        return reply

    # -- the two faces ----------------------------------------------------

    def rest(self, q):
        user = self.user(q)
        s = [urllib.parse.unquote(x) for x in q.path[len(PREFIX):].split("/")]
        a = {k: q.arg(k) for k in ("owner", "search", "pageSize",
                                   "pageToken")}
        if s == ["list"]:
            return self.list_models(user, a)
        if len(s) < 3:
            raise Refused(404, "Not found")
        use = "files" in s[4:] or "download" in s[4:]
        self.may(user, s[0], s[1], use)
        if len(s) == 3 and s[2] == "list":
            return self.list_instances(s[0], s[1], a)
        if len(s) == 5 and s[4] == "get":
            return self.json(self.instance(self.version(s[:4]).parts[:4]))
        if len(s) == 5 and s[4] == "list":
            return self.list_versions(self.version(s[:4]).parts[:4], a)
        if len(s) == 5 and s[4] == "files":
            return self.list_files(self.version(s[:4]), a)
        if len(s) == 6 and s[5] == "files":
            return self.list_files(self.version(s[:4], s[4]), a)
        if len(s) >= 6 and s[5] == "download":
            return self.download(q, self.version(s[:4], s[4]),
                                 "/".join(s[6:]))
        return Reply(404, PAGE, (), "text/html")

    def rpc(self, q):
        user = self.user(q)
        method = q.path[len(SERVICE):]
        if "json" not in (q.headers.get("Content-Type") or ""):
            raise Refused(415, "Unsupported Media Type")
        a = json.loads(q.body)
        if method == "ListModels":
            return self.list_models(user, a)
        owner, model = a.get("ownerSlug", ""), a.get("modelSlug", "")
        use = method in ("ListModelInstanceVersionFiles",
                         "DownloadModelInstanceVersion")
        self.may(user, owner, model, use)
        if method == "ListModelInstances":
            return self.list_instances(owner, model, a)
        framework = a.get("framework", "")
        if framework != enum_of(framework) and not framework.isupper() and \
                framework[:1].isupper():
            raise Refused(400, "framework: no such value")
        v = self.version((owner, model, framework, a.get("instanceSlug")),
                         a.get("versionNumber"))
        if method == "GetModelInstance":
            return self.json(self.instance(v.parts[:4]))
        if method == "ListModelInstanceVersions":
            return self.list_versions(v.parts[:4], a)
        if method == "ListModelInstanceVersionFiles":
            return self.list_files(v, a)
        if method == "DownloadModelInstanceVersion":
            return self.download(q, v, a.get("path"))
        return Reply(404, PAGE, (), "text/html")


def sign(path, query):
    return hmac.new(SECRET, f"GET {path} {query}".encode(),
                    hashlib.sha256).hexdigest()


class Gcs:
    """storage.googleapis.com. It knows no Kaggle tokens and refuses them."""

    name = "gcs"
    keys = ("tfhub.storage",)

    def __init__(self, hub):
        self.hub = hub
        self.store = store_of(hub)

    @staticmethod
    def error(status, code, say):
        body = (f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}"
                f"</Code><Message>{say}</Message></Error>")
        return Reply(status, body.encode(), [("Server", "UploadServer")],
                     "application/xml; charset=UTF-8")

    def answer(self, q):
        if q.headers.get("Authorization"):      # somebody's, leaked
            return self.error(401, "AuthenticationRequired",
                              "Authentication required.")
        if q.path.startswith("/storage/v1/b/"):
            return self.listing(q)
        path = urllib.parse.unquote(q.path)
        if q.path.startswith(("/kagglesdsdata/", "/kaggle-models-data/")):
            return self.signed(q)
        disk = self.hub.files("gcs", path.strip("/"))
        if ".." in path.split("/") or not os.path.isfile(disk):
            return self.error(404, "NoSuchKey",
                              "The specified key does not exist.")
        return self.serve(q, disk, path.strip("/"))

    def signed(self, q):
        query, _, given = q.query_text.partition("&X-Goog-Signature=")
        at = datetime.datetime.strptime(q.arg("X-Goog-Date", "") or
                                        "19700101T000000Z", "%Y%m%dT%H%M%SZ")
        at = at.replace(tzinfo=datetime.timezone.utc).timestamp()
        if given != sign(q.path, query) or q.method != "GET":
            return self.error(403, "SignatureDoesNotMatch", "The request "
                              "signature we calculated does not match the "
                              "signature you provided.")
        if at + int(q.arg("X-Goog-Expires")) < time.time():
            return self.error(self.hub.set["gcs_expired"], "ExpiredToken",
                              "The provided token has expired.")
        s = [urllib.parse.unquote(x) for x in q.segs]
        if s[0] == "kagglesdsdata":
            s = s[1:]
        for v in self.store.versions.values():
            if [str(number(*v.parts[:4])), str(number(*v.parts))] == s[1:3]:
                disk, label = self.disk_of(v, "/".join(s[3:]))
                return self.serve(q, disk, label)
        return self.error(404, "NoSuchKey",
                          "The specified key does not exist.")

    def disk_of(self, v, what):
        label = "/".join(v.parts) + "/" + what
        if what == "bundle/archive.tar.gz":
            return self.store.archive(v, False), label
        if what == "bundle/dot.tar.gz":
            return self.store.archive(v, True), label
        files = dict(v.files())
        if what not in files and what.endswith(".zip"):
            what = what[:-4]
            return self.store.zipped(v, what, files[what]), label
        return files[what], label

    def serve(self, q, disk, label):
        with open(disk, "rb") as f:
            data = f.read()
        md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
        headers = [("ETag", f'"{hashlib.md5(data).hexdigest()}"'),
                   ("Accept-Ranges", "bytes"), ("Server", "UploadServer"),
                   ("x-goog-generation", "1700000000000000"),
                   ("x-goog-stored-content-encoding", "identity"),
                   ("x-goog-stored-content-length", str(len(data))),
                   ("x-goog-hash", "crc32c=AAAAAA==")]
        if self.hub.set["kaggle_md5"]:
            headers.append(("x-goog-hash", "md5=" + md5))
        reply = Reply(200, b"", headers, "application/octet-stream")
        reply.label = label
        return reply.of_file(disk, len(data), q.headers.get("Range"))

    def listing(self, q):
        """The JSON API's list of a bucket's objects."""
        bucket = urllib.parse.unquote(q.segs[3])
        top = self.hub.files("gcs", bucket)
        if not self.hub.set["gcs_listing"]:
            body = {"error": {"code": 401, "message": "Anonymous caller does "
                              "not have storage.objects.list access."}}
            return Reply(401, json.dumps(body).encode(), (),
                         "application/json; charset=UTF-8")
        rows = []
        for d, _, names in os.walk(top):
            for n in names:
                full = os.path.join(d, n)
                name = os.path.relpath(full, top)
                if not name.startswith(q.arg("prefix") or ""):
                    continue
                with open(full, "rb") as f:
                    data = f.read()
                rows.append({"name": name, "size": str(len(data)),
                             "updated": TIME, "md5Hash": base64.b64encode(
                                 hashlib.md5(data).digest()).decode()})
        rows.sort(key=lambda r: r["name"])
        at = int(q.arg("pageToken") or 0)
        size = min(int(q.arg("maxResults") or 1000),
                   self.hub.set["kaggle_page_max"])
        out = {"kind": "storage#objects", "items": rows[at:at + size]}
        if at + size < len(rows):
            out["nextPageToken"] = str(at + size)
        return Reply(200, json.dumps(out).encode(), (),
                     "application/json; charset=UTF-8")


SITES = [Kaggle, Gcs]
