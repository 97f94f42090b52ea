"""GitHub as torch.hub knows it: github.com, its REST API, and the hosts that
have the bytes (raw, media for LFS, codeload for archives).

.hosts/github/OWNER/REPO/repo.json says what there is:

    branches, tags   {name: tree}; trees are directories beside repo.json
    lfs              paths that git keeps as pointers
    links            {path: target}, symbolic links
    renamed          other names of the repository, "owner/name"

A commit is named after its tree's name, so that a test can tell it: commit().
"""
import hashlib
import io
import json
import os
import time
import urllib.parse
import zipfile

from faults import Reply

SETTINGS = {
    "github_quota": 1000000,    # answers of the API, …
    "github_window": 3600,      # … in so many seconds
    "github_truncate": 100000,  # entries of a recursive tree at most
    "github_media": True,       # false: LFS is over its quota
}


def sha1(*parts):
    return hashlib.sha1("\0".join(parts).encode()).hexdigest()


def commit(repo, tree):
    return sha1("commit", repo, tree)


def blob_name(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def pointer(data):
    return ("version https://git-lfs.github.com/spec/v1\noid sha256:"
            f"{hashlib.sha256(data).hexdigest()}\nsize {len(data)}\n"
            ).encode()


def say(value, status=200, headers=()):
    return Reply(status, json.dumps(value).encode(), headers,
                 "application/json; charset=utf-8")


def lost():
    return say({"message": "Not Found", "documentation_url":
                "https://docs.github.com/rest", "status": "404"}, 404)


class Repo:
    def __init__(self, top, name):
        self.top, self.name = top, name
        with open(os.path.join(top, "repo.json"), encoding="utf-8") as f:
            d = json.load(f)
        self.branches, self.tags = d.get("branches", {}), d.get("tags", {})
        self.lfs, self.links = set(d.get("lfs", ())), d.get("links", {})
        self.renamed = d.get("renamed", ())
        self.id = int(sha1(name)[:6], 16)

    def trees(self):
        return {*self.branches.values(), *self.tags.values()}

    def tree_of(self, ref):
        """The tree a reference means; "" when there is none."""
        full = ref.removeprefix("refs/")
        if full.startswith("heads/"):
            return self.branches.get(full[6:], "")
        if full.startswith("tags/"):
            return self.tags.get(full[5:], "")
        for tree in self.trees():
            name = commit(self.name, tree)
            if ref == name or len(ref) >= 7 and name.startswith(ref):
                return tree
        # As git does it: a tag goes first.
        return self.tags.get(ref) or self.branches.get(ref) or ""

    def disk(self, tree, path):
        return os.path.join(self.top, tree, path)

    def data(self, tree, path):
        with open(self.disk(tree, path), "rb") as f:
            return f.read()

    def files(self, tree):
        top, out = self.disk(tree, ""), []
        for at, _, names in os.walk(top):
            out += [os.path.relpath(os.path.join(at, n), top)
                    for n in names]
        return sorted(out)

    def stored(self, tree, path):
        """What git has of it."""
        data = self.data(tree, path)
        return pointer(data) if path in self.lfs else data

    def entries(self, tree, below=""):
        """Everything below a directory, as the trees API tells it."""
        rows, dirs = [], set()
        for path in self.files(tree):
            if not path.startswith(below):
                continue
            data = self.stored(tree, path)
            rows.append({"path": path, "mode": "100644", "type": "blob",
                         "sha": blob_name(data), "size": len(data)})
            while "/" in path[len(below):]:
                path = path.rpartition("/")[0]
                dirs.add(path)
        rows += [{"path": p, "mode": "120000", "type": "blob",
                  "sha": blob_name(t.encode()), "size": len(t)}
                 for p, t in self.links.items() if p.startswith(below)]
        rows += [{"path": p, "mode": "040000", "type": "tree",
                  "sha": self.dir_name(tree, p)} for p in dirs]
        for r in rows:
            r["path"] = r["path"][len(below):]
        return sorted(rows, key=lambda r: r["path"])

    def dir_name(self, tree, path):
        return sha1("tree", self.name, tree, path)

    def find_tree(self, name):
        """(tree, directory) of a commit's or a tree's name."""
        for tree in self.trees():
            if name == commit(self.name, tree):
                return tree, ""
            for r in self.entries(tree):
                if r["type"] == "tree" and r["sha"] == name:
                    return tree, r["path"] + "/"
        return None, None

    def find_blob(self, name):
        for tree in self.trees():
            for path in self.files(tree):
                data = self.stored(tree, path)
                if blob_name(data) == name:
                    return data
        return None


class Site:
    def __init__(self, hub):
        self.hub = hub

    def repo(self, owner, name):
        """The repository; and whether it is called otherwise now."""
        root = self.hub.files("github")
        asked = f"{owner}/{name}"
        for o in sorted(os.listdir(root)) if os.path.isdir(root) else ():
            for n in sorted(os.listdir(os.path.join(root, o))):
                r = Repo(os.path.join(root, o, n), f"{o}/{n}")
                if r.name.lower() == asked.lower():
                    return r, False
                if asked in r.renamed:
                    return r, True
        return None, False

    def serve(self, q, repo, tree, path, kind):
        reply = Reply(200, b"", [
            ("Accept-Ranges", "bytes"), ("Cache-Control", "max-age=300"),
            ("ETag", f'W/"{sha1(repo.name, tree, path)}"')], kind)
        reply.label = f"{repo.name}/{path}"
        disk = repo.disk(tree, path)
        return reply.of_file(disk, os.path.getsize(disk),
                             q.headers.get("Range"))


class ApiSite(Site):
    name, keys = "github-api", ("torchhub.api",)

    def __init__(self, hub):
        super().__init__(hub)
        self.used, self.since = 0, time.time()

    def answer(self, q):
        quota, window = (self.hub.set["github_" + k]
                         for k in ("quota", "window"))
        now = time.time()
        if now - self.since >= window:
            self.used, self.since = 0, now
        over = self.used >= quota
        self.used += not over
        if over:
            reply = say({"message": "API rate limit exceeded for 127.0.0.1. "
                         "(But here's the good news: Authenticated requests "
                         "get a higher rate limit.)"}, 403)
        elif q.auth == "bad":
            reply = say({"message": "Bad credentials"}, 401)
        else:
            reply = self._route(q)
        for k, v in (("Limit", quota), ("Remaining", quota - self.used),
                     ("Reset", int(self.since + window)),
                     ("Used", self.used), ("Resource", "core")):
            reply.put("X-RateLimit-" + k, str(v))
        reply.put("X-GitHub-Media-Type", "github.v3; format=json")
        return reply

    def _route(self, q):
        s = [urllib.parse.unquote(p) for p in q.segs]
        if s[0] == "users" and s[2:] == ["repos"]:
            return self._owner(q, s[1])
        if s[0] != "repos" or len(s) < 4:
            return lost()
        repo, moved = self.repo(s[1], s[2])
        if repo is None:
            return lost()
        if moved:
            to = "/".join([self.hub.urls[self.name], "repos", repo.name] +
                          q.segs[3:])
            if q.query_text:
                to += "?" + q.query_text
            return say({"message": "Moved Permanently", "url": to}, 301,
                       [("Location", to)])
        if s[3] == "commits":
            return self._commit(repo, "/".join(s[4:]))
        if s[3] in ("branches", "tags"):
            rows = [{"name": n, "commit": {"sha": commit(repo.name, t)}}
                    for n, t in sorted(getattr(repo, s[3]).items())]
            return self._page(q, rows)
        if s[3:5] == ["git", "trees"]:
            return self._tree(q, repo, s[5])
        if s[3:5] == ["git", "blobs"]:
            data = repo.find_blob(s[5])
            return lost() if data is None else Reply(
                200, data, (), "application/vnd.github.raw+json")
        return lost()

    def _page(self, q, rows):
        n, at = int(q.arg("per_page") or 30), int(q.arg("page") or 1)
        headers = []
        if at * n < len(rows):
            headers.append(("Link", f"<{self.hub.urls[self.name]}{q.path}"
                            f'?per_page={n}&page={at + 1}>; rel="next", '
                            f"<{self.hub.urls[self.name]}{q.path}?per_page="
                            f'{n}&page={-(-len(rows) // n)}>; rel="last"'))
        return say(rows[(at - 1) * n:at * n], 200, headers)

    def _owner(self, q, owner):
        top = self.hub.files("github", owner)
        if not os.path.isdir(top):
            return lost()
        return self._page(q, [{"full_name": f"{owner}/{n}", "name": n}
                              for n in sorted(os.listdir(top))])

    def _commit(self, repo, ref):
        tree = repo.tree_of(ref)
        if not tree:
            return say({"message": f"No commit found for SHA: {ref}",
                        "status": "422"}, 422)
        sha = commit(repo.name, tree)
        who = {"name": "x", "date": "2024-05-06T07:08:09Z"}
        return say({
            "sha": sha, "html_url":
            f"https://github.com/{repo.name}/commit/{sha}",
            "commit": {"author": who, "committer": who, "message": "x",
                       "tree": {"sha": repo.dir_name(tree, "")}}})

    def _tree(self, q, repo, name):
        tree, below = repo.find_tree(name)
        if tree is None:
            return lost()
        rows = repo.entries(tree, below)
        most = self.hub.set["github_truncate"]
        if q.arg("recursive") is None:
            rows = [r for r in rows if "/" not in r["path"]]
            most = 100000
        return say({"sha": name, "truncated": len(rows) > most,
                    "tree": rows[:most]})


class GithubSite(Site):
    name, keys = "github", ("torchhub.endpoint",)

    def answer(self, q):
        s = [urllib.parse.unquote(p) for p in q.segs]
        if len(s) < 4:
            return Reply(404, b"Not Found", (), "text/plain")
        repo, _ = self.repo(s[0], s[1])
        ref = "/".join(s[3:])
        if repo is None:
            return Reply(404, b"Not Found", (), "text/plain")
        if s[2] == "tree":
            return Reply(200 if repo.tree_of("heads/" + ref.strip("/"))
                         else 404, b"<!DOCTYPE html>", (), "text/html")
        if s[2] == "zipball":
            return self._zip(repo, ref)
        tree, path = repo.tree_of(s[3]), "/".join(s[4:])
        if s[2] != "raw" or not tree or \
                not os.path.isfile(repo.disk(tree, path)):
            return Reply(404, b"404: Not Found", (), "text/plain")
        where = "/".join(map(urllib.parse.quote, (repo.name, s[3], path)))
        to = f"{self.hub.urls['github-raw']}/{where}"
        if path in repo.lfs and self.hub.set["github_media"]:
            to = f"{self.hub.urls['github-media']}/media/{where}"
        return Reply(302, b"", [("Location", to)], "text/html")

    def _zip(self, repo, ref):
        if ref in repo.branches and ref in repo.tags:
            return Reply(300, b"the given path has multiple possibilities: "
                         b"#<Git::Ref:0>, #<Git::Ref:1>", (), "text/plain")
        if not repo.tree_of(ref):
            return Reply(404, b"404: Not Found", (), "text/plain")
        to = (f"{self.hub.urls['github-codeload']}/{repo.name}/legacy.zip/"
              f"{ref}")
        return Reply(302, b"", [("Location", to)], "text/html")


class RawSite(Site):
    name, keys = "github-raw", ()

    def answer(self, q):
        s = [urllib.parse.unquote(p) for p in q.segs]
        repo, _ = self.repo(*s[:2]) if len(s) > 3 else (None, False)
        tree = repo.tree_of(s[2]) if repo else ""
        path = "/".join(s[3:])
        if q.auth or not tree or not os.path.isfile(repo.disk(tree, path)):
            return Reply(404, b"404: Not Found", (), "text/plain")
        if path in repo.lfs:
            reply = Reply(200, pointer(repo.data(tree, path)), (),
                          "text/plain; charset=utf-8")
            reply.label = f"{repo.name}/{path}"
            return reply
        return self.serve(q, repo, tree, path, "text/plain; charset=utf-8")


class MediaSite(Site):
    name, keys = "github-media", ()

    def answer(self, q):
        s = [urllib.parse.unquote(p) for p in q.segs]
        repo, _ = self.repo(*s[1:3]) if len(s) > 4 else (None, False)
        tree = repo.tree_of(s[3]) if repo else ""
        path = "/".join(s[4:])
        if q.auth or not tree or path not in repo.lfs:
            return Reply(404, b"404: Not Found", (), "text/plain")
        return self.serve(q, repo, tree, path, "application/octet-stream")


class CodeloadSite(Site):
    name, keys = "github-codeload", ()

    def answer(self, q):
        s = [urllib.parse.unquote(p) for p in q.segs]
        repo, _ = self.repo(*s[:2]) if len(s) > 3 else (None, False)
        tree = repo.tree_of("/".join(s[3:])) if repo else ""
        if not tree:
            return Reply(404, b"404: Not Found", (), "text/plain")
        top = (f"{repo.name.replace('/', '-')}-"
               f"{commit(repo.name, tree)[:7]}/")
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
            z.writestr(top, b"")
            for path in repo.files(tree):
                z.writestr(top + path, repo.stored(tree, path))
        reply = Reply(200, out.getvalue(), (), "application/zip")
        reply.content = True
        reply.label = repo.name
        return reply


SITES = (GithubSite, ApiSite, RawSite, MediaSite, CodeloadSite)
