"""Hugging Face's two hosts: the hub (API and resolve addresses) and the CDN of
signed addresses. A site answers one Request of hubd.py; repos.py has what there
is to tell."""
import base64
import hashlib
import hmac
import json
import os
import time
import urllib.parse

import faults
from faults import Reply

EXPAND = [
    "author", "baseModels", "cardData", "childrenModelCount", "config",
    "createdAt", "disabled", "downloads", "downloadsAllTime", "evalResults",
    "gated", "gguf", "inference", "inferenceProviderMapping", "lastModified",
    "library_name", "likes", "mask_token", "model-index", "pipeline_tag",
    "private", "resourceGroup", "safetensors", "sha", "siblings", "spaces",
    "tags", "transformersInfo", "trendingScore", "usedStorage", "widgetData",
    "xetEnabled",
]
EXPOSE = ("X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,"
          "X-Total-Count,ETag,Link,Accept-Ranges,Content-Range,X-Linked-Size,"
          "X-Linked-ETag,X-Xet-Hash")
MARKERS = ("revision", "tree", "refs", "commits", "paths-info", "auth-check",
           "treesize", "xet-read-token")
SECRET = b"only so that a changed address is refused"


class Refused(Exception):
    """Carries the reply that says why."""

    def __init__(self, reply):
        super().__init__(reply.status)
        self.reply = reply


def json_reply(value, status=200, headers=()):
    return Reply(status, json.dumps(value, ensure_ascii=False).encode(),
                 headers, "application/json; charset=utf-8")


def refuse(api, status, message, code=None, headers=()):
    """An error as the hub words it: JSON on API paths, text on resolve."""
    headers = list(headers)
    if code:
        headers.append(("X-Error-Code", code))
    headers.append(("X-Error-Message", message))
    if status == 401:
        headers.append(("WWW-Authenticate",
                        'Bearer realm="Authentication required"'))
    if api:
        return Refused(json_reply({"error": message}, status, headers))
    return Refused(Reply(status, message.encode(), headers,
                         "text/plain; charset=utf-8"))


def cursor_of(n):
    return base64.urlsafe_b64encode(b"at:%d" % n).decode().rstrip("=")


def cursor_at(text):
    if not text:
        return 0
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return int(raw.partition(b":")[2])


def sign(path, expires):
    return hmac.new(SECRET, f"{path} {expires}".encode(),
                    hashlib.sha256).hexdigest()


class HubSite:
    """The hub's own host."""

    name = "hub"
    keys = ("huggingface.endpoint", "onnx.endpoint")

    def __init__(self, hub):
        self.hub = hub

    def answer(self, q):
        rate, over = self.hub.rate(q.path)
        try:
            if over:
                raise refuse(True, 429, "Too many requests")
            if q.auth == "bad":
                raise refuse(q.path.startswith("/api/"), 401,
                             "Invalid credentials in Authorization header")
            reply = self._route(q)
        except Refused as e:
            reply = e.reply
        for k, v in rate:
            reply.put(k, v)
        reply.put("X-Powered-By", "huggingface-moon")
        reply.put("X-Request-Id", f"Root=1-{os.urandom(12).hex()}")
        reply.put("Vary", "Origin, Accept")
        reply.put("Access-Control-Expose-Headers", EXPOSE)
        reply.put("Cross-Origin-Opener-Policy", "same-origin")
        reply.put("Referrer-Policy", "strict-origin-when-cross-origin")
        return reply

    def _route(self, q):
        s = q.segs
        if s[:2] == ["api", "whoami-v2"]:
            if not q.user:
                raise refuse(True, 401, "Invalid username or password.")
            return json_reply({"type": "user", "name": q.user, "orgs": [],
                               "auth": {"type": "access_token"}})
        if s == ["api", "models"]:
            return self._models(q)
        if s[:2] == ["api", "resolve-cache"]:
            return self._resolve_cache(q)
        if s[:2] == ["api", "models"] and len(s) > 2:
            return self._model(q, s[2:])
        for i in (2, 1):
            if len(s) > i + 2 and s[i] in ("resolve", "raw"):
                return self._resolve(q, s, i)
        raise refuse(False, 404, "Not found")

    # -- who may see what -------------------------------------------------

    def _repo(self, q, name, api):
        """The repository, or the hub's way to say that it is not there; a
        redirect when it has another name now."""
        repo, moved = self.hub.store.find(name)
        if repo is None or not repo.may_see(q.user):
            if q.user:
                raise refuse(api, 404, "Repository not found",
                             "RepoNotFound")
            raise refuse(api, 401, "Invalid username or password.")
        return repo, moved

    @staticmethod
    def _revision(repo, rev, api):
        r = repo.revision(rev)
        if r is None:
            raise refuse(api, 404, f"Invalid rev id: {rev}",
                         "RevisionNotFound")
        return r

    @staticmethod
    def _content_allowed(q, repo, api):
        if repo.set["disabled"]:
            raise refuse(api, 403, "Access to this resource is disabled.")
        if not repo.set["gated"] or q.user in repo.set["allowed"]:
            return
        say = (f"Access to model {repo.id} is restricted. You must have "
               "access to it and be authenticated to access it. "
               "Please log in.")
        if not q.user:
            raise refuse(api, 401, say, "GatedRepo")
        say = (f"Access to model {repo.id} is restricted and you are not in "
               f"the authorized list. Visit https://huggingface.co/{repo.id}"
               " to ask for access.")
        raise refuse(api, 403, say, "GatedRepo")

    @staticmethod
    def _moved(old_segs, new_id, q, prefix):
        """307, relative, bare, with the query kept."""
        to = f"{prefix}{new_id}"
        if old_segs:
            to += "/" + "/".join(old_segs)
        if q.query_text:
            to += "?" + q.query_text
        return Reply(307, f"Temporary Redirect. Redirecting to {to}".encode(),
                     [("Location", to)], "text/plain; charset=utf-8")

    # -- API --------------------------------------------------------------

    def _page(self, q, rows, cap):
        """One page of rows and the Link to the next."""
        limit = min(cap, max(1, int(q.arg("limit") or cap)))
        at = cursor_at(q.arg("cursor"))
        headers = []
        if at + limit < len(rows):
            args = [(k, v) for k, vs in q.query.items() for v in vs
                    if k != "cursor"]
            args.append(("cursor", cursor_of(at + limit)))
            host = q.headers.get("Host") or "localhost"
            headers.append(("Link", f"<http://{host}{q.path}?"
                            f'{urllib.parse.urlencode(args)}>; rel="next"'))
        return json_reply(rows[at:at + limit], 200, headers)

    def _models(self, q):
        rows = [r for r in self.hub.store.repos.values()
                if r.may_see(q.user)]
        author, search = q.arg("author"), (q.arg("search") or "").lower()
        if author:
            rows = [r for r in rows if r.id.startswith(author + "/")]
        rows = [r for r in rows if search in r.id.lower()]
        rows.sort(key=lambda r: r.id, reverse=q.arg("direction") == "-1")
        return self._page(q, [r.item(q.flag("full")) for r in rows],
                          self.hub.set["page"])

    def _model(self, q, s):
        if len(s) > 2 and s[2] in MARKERS:
            name, rest = "/".join(s[:2]), s[2:]
        elif len(s) > 2 and s[1] in MARKERS or \
                len(s) == 2 and s[1] in ("refs", "auth-check"):
            name, rest = s[0], s[1:]
        elif len(s) <= 2:
            name, rest = "/".join(s), []
        else:
            raise refuse(True, 404, "Not found")
        repo, moved = self._repo(q, urllib.parse.unquote(name), True)
        if moved:
            return self._moved(rest, moved, q, "/api/models/")
        what = rest[0] if rest else "revision"
        if what == "refs":
            return json_reply(repo.ref_list())
        if what == "auth-check":
            self._content_allowed(q, repo, True)
            return json_reply({})
        rev = repo.default()
        if len(rest) > 1:
            rev = self._revision(repo, urllib.parse.unquote(rest[1]), True)
        sub = urllib.parse.unquote("/".join(rest[2:]))
        if what == "revision":
            return self._info(q, repo, rev)
        if what == "tree":
            return self._tree(q, repo, rev, sub)
        if what == "paths-info":
            return self._paths_info(q, rev)
        if what == "treesize":
            rows = rev.listing(sub, True) or []
            return json_reply({"path": "/" + sub,
                               "size": sum(r["size"] for r in rows)})
        if what == "commits":
            c = rev.last_commit()
            return json_reply([dict(c, message="", authors=[])], 200,
                              [("X-Total-Count", "1")])
        raise refuse(True, 404, "Not found")

    @staticmethod
    def _info(q, repo, rev):
        d = repo.info(rev, q.flag("blobs"))
        asked = q.query.get("expand", []) + q.query.get("expand[]", [])
        if asked:
            bad = [a for a in asked if a not in EXPAND]
            if bad:
                raise refuse(True, 400, f"Invalid option {bad[0]!r}, expected"
                             " one of: " + ", ".join(EXPAND))
            d = {k: d[k] for k in ["_id", "id"] + asked if k in d}
        return json_reply(d)

    @staticmethod
    def _expanded(rows, rev):
        for r in rows:
            r["lastCommit"] = rev.last_commit()
            r["securityFileStatus"] = {
                "status": "safe", "avScan": None, "pickleImportScan": None}
        return rows

    def _tree(self, q, repo, rev, sub):
        rows = rev.listing(sub, q.flag("recursive"))
        if rows is None:
            raise refuse(True, 404, f"{sub} does not exist on "
                         f'"{rev.name}"', "EntryNotFound",
                         [("X-Repo-Commit", rev.commit)])
        if q.flag("expand"):
            self._expanded(rows, rev)
            return self._page(q, rows, self.hub.set["expand_page"])
        return self._page(q, rows, self.hub.set["page"])

    def _paths_info(self, q, rev):
        if q.method != "POST":
            raise refuse(True, 404, "Not found")
        if "json" in (q.headers.get("Content-Type") or ""):
            asked = json.loads(q.body)
            paths, expand = asked["paths"], asked.get("expand")
        else:
            form = urllib.parse.parse_qs(q.body.decode())
            paths = form.get("paths", [])
            expand = form.get("expand", [""])[0].lower() in ("true", "1")
        rows = [e for e in map(rev.entry, paths) if e]
        return json_reply(self._expanded(rows, rev) if expand else rows)

    # -- bytes ------------------------------------------------------------

    def _resolve(self, q, s, i):
        name = urllib.parse.unquote("/".join(s[:i]))
        repo, moved = self._repo(q, name, False)
        if moved and self.hub.set["rename_resolve"] == "canonical":
            return self._moved(s[i:], moved, q, "/")
        self._content_allowed(q, repo, False)
        rev = self._revision(repo, urllib.parse.unquote(s[i + 1]), False)
        path = urllib.parse.unquote("/".join(s[i + 2:]))
        f = rev.files.get(path)
        if f is None:
            raise refuse(False, 404, "Entry not found", "EntryNotFound",
                         [("X-Repo-Commit", rev.commit)])
        label = f"{repo.id}/{path}"
        if s[i] == "raw":
            reply = Reply(200, f.pointer or b"", (), "text/plain")
            if not f.lfs:
                reply.of_file(f.disk, f.size, None)
        elif q.headers.get("If-None-Match") in (f.etag, f'"{f.etag}"'):
            reply = Reply(304, b"", [("ETag", f'"{f.etag}"')])
        elif f.lfs and "xet-fileinfo" in (q.headers.get("Accept") or ""):
            reply = json_reply({
                "hash": f.xet, "etag": f'"{f.etag}"', "size": f.size,
                "refreshUrl": f"/api/models/{repo.id}/xet-read-token/"
                f"{rev.commit}", "reconstructionUrl": "/none"})
        elif f.lfs:
            reply = self._to_cdn(repo, f)
        else:
            reply = self._to_cache(q, repo, rev, f)
        reply.label = label
        reply.put("X-Repo-Commit", rev.commit)
        reply.put("Accept-Ranges", "bytes")
        return reply

    def _to_cdn(self, repo, f):
        path = f"/xet-bridge-us/{repo.oid}/{f.xet}"
        expires = int(time.time() + self.hub.set["sign_seconds"])
        to = (f"{self.hub.urls['cdn']}{path}?X-Xet-Cas-Uid=public"
              f"&Expires={expires}&Policy=none&Signature="
              f"{sign(path, expires)}&Key-Pair-Id=K0")
        say = f"Found. Redirecting to {to}".encode()
        return Reply(302, say, [
            ("Location", to), ("X-Linked-Size", str(f.size)),
            ("X-Linked-ETag", f'"{f.sha256}"'), ("X-Xet-Hash", f.xet),
            ("Cache-Control", "no-store")], "text/plain; charset=utf-8")

    def _to_cache(self, q, repo, rev, f):
        odd = urllib.parse.quote(urllib.parse.unquote(q.path), safe="")
        to = (f"/api/resolve-cache/models/{repo.id}/{rev.commit}/"
              f"{urllib.parse.quote(f.path)}?{odd}=&etag=%22{f.oid}%22")
        say = f"Temporary Redirect. Redirecting to {to}".encode()
        reply = Reply(307, say, [
            ("Location", to), ("X-Linked-ETag", f'"{f.oid}"'),
            ("Content-Disposition", "inline"),
            ("Content-Security-Policy", "default-src 'none'; sandbox")],
            "text/plain; charset=utf-8")
        if self.hub.set["small_linked_size"]:
            reply.put("X-Linked-Size", str(f.size))
        return reply

    def _resolve_cache(self, q):
        s = q.segs
        if len(s) < 7 or s[2] != "models":
            raise refuse(True, 404, "Not found")
        repo, _ = self._repo(q, urllib.parse.unquote("/".join(s[3:5])), True)
        self._content_allowed(q, repo, True)
        rev = self._revision(repo, s[5], True)
        f = rev.files.get(urllib.parse.unquote("/".join(s[6:])))
        if f is None or f.lfs:
            raise refuse(True, 404, "Entry not found", "EntryNotFound",
                         [("X-Repo-Commit", rev.commit)])
        reply = Reply(200, b"", [
            ("ETag", f'"{f.oid}"'), ("X-Repo-Commit", rev.commit),
            ("Accept-Ranges", "bytes")], "text/plain; charset=utf-8")
        reply.of_file(f.disk, f.size, q.headers.get("Range"))
        reply.label = f"{repo.id}/{f.path}"
        if "gzip" in (q.headers.get("Accept-Encoding") or "").lower():
            faults.zipped(reply)
        return reply


class CdnSite:
    """The host of signed addresses. It knows no tokens, and refuses them as
    S3 does: a client that sends one here has leaked it."""

    name = "cdn"
    keys = ()

    def __init__(self, hub):
        self.hub = hub

    def answer(self, q):
        def denied(status, code):
            return Reply(status, f"<Error><Code>{code}</Code></Error>"
                         .encode(), (), "application/xml")

        if q.auth:
            return denied(400, "InvalidArgument")
        expires = q.arg("Expires") or "0"
        if not expires.isdigit() or int(expires) < time.time() or \
                q.arg("Signature") != sign(q.path, int(expires)):
            return denied(403, "AccessDenied")
        repo, f = self.hub.store.by_xet.get(q.segs[-1], (None, None))
        if f is None:
            return denied(403, "AccessDenied")
        reply = Reply(200, b"", [
            ("ETag", f'"{f.xet}"'), ("Accept-Ranges", "bytes"),
            ("x-hf-cdn-pop", "local")], "application/octet-stream")
        reply.label = f"{repo.id}/{f.path}"
        return reply.of_file(f.disk, f.size, q.headers.get("Range"))
