"""Repositories of the local hub, read from a directory.

    ROOT/ORG/NAME/REV/...       the files of one revision; each REV is a commit
    ROOT/ORG/NAME/hub.json      optional, see SETTINGS

A revision's commit, the git object ids and the LFS pointers are computed from
the bytes, so equal directories are equal hubs. REV is URL-quoted when it holds
a slash (refs%2Fpr%2F1). Without "refs" every REV is a branch of that name.
"""
import fnmatch
import hashlib
import json
import os
import re
import time
import urllib.parse

SETTINGS = {
    "refs": None,         # {"main": "REV", ...}; else each REV names itself
    "tags": [],           # which of the refs are tags
    "renamed": [],        # old names: "old/name" or "bare"
    "gated": False,       # or "auto", "manual"
    "disabled": False,
    "private": False,
    "allowed": [],        # users who may read a gated or private one
    "lfs": None,          # globs; else LFS_GLOBS
    "config": None,       # the info document's "config", ...
    "pipeline_tag": None,
}
LFS_GLOBS = [
    "*.bin", "*.h5", "*.msgpack", "*.onnx", "*.onnx_data", "*.ot", "*.pb",
    "*.pt", "*.pth", "*.safetensors", "*.tflite", "*.zip", "*.gz",
]
EPOCH = 1704067200  # 2024-01-01T00:00:00Z: commits are dated from here on


def iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def file_digest(name, path, head=b""):
    """hex digest of `head` and the file's bytes."""
    h = hashlib.new(name, head)
    with open(path, "rb") as f:
        while True:
            block = f.read(1 << 20)
            if not block:
                return h.hexdigest()
            h.update(block)


class File:
    """One file of one revision."""

    def __init__(self, path, disk, lfs):
        self.path = path
        self.disk = disk
        self.size = os.path.getsize(disk)
        self.lfs = lfs
        self.sha256 = self.xet = self.pointer = None
        if lfs:
            self.sha256 = file_digest("sha256", disk)
            self.pointer = (
                "version https://git-lfs.github.com/spec/v1\n"
                f"oid sha256:{self.sha256}\nsize {self.size}\n").encode()
            self.oid = git_blob(self.pointer)
            # The CDN names objects by another hash of the same length.
            self.xet = hashlib.sha256(b"xet" + self.sha256.encode()
                                      ).hexdigest()
        else:
            self.oid = file_digest("sha1", disk, b"blob %d\0" % self.size)

    @property
    def etag(self):
        return self.sha256 or self.oid

    def tree_entry(self):
        e = {"type": "file", "oid": self.oid, "size": self.size}
        if self.lfs:
            e["lfs"] = {"oid": self.sha256, "size": self.size,
                        "pointerSize": len(self.pointer)}
            e["xetHash"] = self.xet
        e["path"] = self.path
        return e

    def sibling(self, blobs):
        e = {"rfilename": self.path}
        if blobs:
            e["size"] = self.size
            e["blobId"] = self.oid
            if self.lfs:
                e["lfs"] = {"sha256": self.sha256, "size": self.size,
                            "pointerSize": len(self.pointer)}
        return e


class Revision:
    def __init__(self, repo_id, name, top, globs, known, date):
        self.name = name
        self.date = date
        self.files = {}
        for where, dirs, names in os.walk(top):
            dirs.sort()
            for n in sorted(names):
                disk = os.path.join(where, n)
                path = os.path.relpath(disk, top)
                lfs = any(fnmatch.fnmatch(n, g) for g in globs)
                self.files[path] = known(path, disk, lfs)
        self.dirs = {}
        root = self._tree("")
        self.commit = hashlib.sha1(
            f"commit {repo_id} {name} {root}".encode()).hexdigest()

    def _children(self, folder):
        """{name: File or None for a directory} right below folder."""
        pre = folder + "/" if folder else ""
        out = {}
        for path, f in self.files.items():
            if path.startswith(pre):
                first, slash, _ = path[len(pre):].partition("/")
                out[first] = None if slash else f
        return out

    def _tree(self, folder):
        """git's id of a directory; fills self.dirs below it."""
        raw = b""
        kids = self._children(folder)
        for n in sorted(kids, key=lambda n: n if kids[n] else n + "/"):
            sub = f"{folder}/{n}" if folder else n
            oid = kids[n].oid if kids[n] else self._tree(sub)
            mode = b"100644 " if kids[n] else b"40000 "
            raw += mode + n.encode() + b"\0" + bytes.fromhex(oid)
        oid = hashlib.sha1(b"tree %d\0" % len(raw) + raw).hexdigest()
        if folder:
            self.dirs[folder] = oid
        return oid

    def entry(self, path):
        """Tree entry of a file or directory, or None."""
        if path in self.files:
            return self.files[path].tree_entry()
        if path in self.dirs:
            return {"type": "directory", "oid": self.dirs[path], "size": 0,
                    "path": path}
        return None

    def listing(self, folder, recursive):
        """Entries below folder, directories first kept in path order; None
        when there is no such directory."""
        if folder and folder not in self.dirs:
            return None
        pre = folder + "/" if folder else ""
        names = [p for p in list(self.files) + list(self.dirs)
                 if p.startswith(pre)
                 and (recursive or "/" not in p[len(pre):])]
        return [self.entry(p) for p in sorted(names)]

    def last_commit(self):
        return {"id": self.commit, "title": f"Upload {self.name}",
                "date": iso(self.date)}


class Repo:
    def __init__(self, repo_id, top, known):
        self.id = repo_id
        self.set = dict(SETTINGS)
        try:
            with open(os.path.join(top, "hub.json"), encoding="utf-8") as f:
                given = json.load(f)
        except FileNotFoundError:
            given = {}
        for k in given:
            if k not in SETTINGS:
                raise ValueError(f"{top}/hub.json: unknown key {k}")
        self.set.update(given)
        globs = self.set["lfs"]
        if globs is None:
            globs = LFS_GLOBS
        self.revs = {}
        names = sorted(n for n in os.listdir(top)
                       if os.path.isdir(os.path.join(top, n)))
        for i, n in enumerate(names):
            name = urllib.parse.unquote(n)
            self.revs[name] = Revision(repo_id, name, os.path.join(top, n),
                                       globs, known, EPOCH + 86400 * i)
        self.refs = self.set["refs"] or {n: n for n in self.revs}
        oid = hashlib.sha1(repo_id.encode()).hexdigest()[:16]
        self.oid = f"{EPOCH:08x}" + oid

    def revision(self, rev):
        """Branch, tag, refs/pr/N, refs/heads/X, full or short commit."""
        for name in (rev, re.sub(r"^refs/(heads|tags)/", "", rev)):
            if name in self.refs:
                return self.revs[self.refs[name]]
        if re.fullmatch(r"[0-9a-f]{7,40}", rev):
            for r in self.revs.values():
                if r.commit.startswith(rev):
                    return r
        return None

    def default(self):
        return self.revision("main") or next(iter(self.revs.values()))

    def may_see(self, user):
        return not self.set["private"] or user in self.set["allowed"]

    def info(self, rev, blobs=False):
        s = self.set
        d = {
            "_id": self.oid, "id": self.id, "modelId": self.id,
            "author": self.id.partition("/")[0], "sha": rev.commit,
            "lastModified": iso(rev.date), "private": s["private"],
            "gated": s["gated"], "disabled": s["disabled"], "downloads": 7,
            "likes": 1, "tags": ["license:apache-2.0"], "spaces": [],
            "createdAt": iso(EPOCH),
            "usedStorage": sum(f.size for f in rev.files.values()),
            "siblings": [f.sibling(blobs) for f in rev.files.values()],
        }
        for k in ("config", "pipeline_tag"):
            if s[k] is not None:
                d[k] = s[k]
        return d

    def item(self, full):
        """As /api/models lists it."""
        d = self.info(self.default())
        keep = ["_id", "id", "likes", "private", "downloads", "tags",
                "createdAt", "modelId"]
        if "pipeline_tag" in d:
            keep.append("pipeline_tag")
        if full:
            keep += ["author", "sha", "lastModified", "gated", "siblings"]
        out = {k: d[k] for k in keep}
        out["trendingScore"] = 0
        return out

    def ref_list(self):
        out = {"branches": [], "tags": [], "converts": [],
               "pullRequests": []}
        for name, rev in sorted(self.refs.items()):
            commit = self.revs[rev].commit
            if name.startswith("refs/pr/"):
                out["pullRequests"].append({
                    "name": name, "ref": name, "targetCommit": commit})
            elif name in self.set["tags"]:
                out["tags"].append({"name": name, "ref": f"refs/tags/{name}",
                                    "targetCommit": commit})
            else:
                out["branches"].append({
                    "name": name, "ref": f"refs/heads/{name}",
                    "targetCommit": commit})
        return out


class Store:
    """Every repository below a directory; load() again after changing it."""

    def __init__(self, root):
        self.root = root
        self._files = {}
        self.load()

    def _known(self, path, disk, lfs):
        st = os.stat(disk)
        key = (disk, lfs, st.st_size, st.st_mtime_ns, st.st_ino)
        if key not in self._files:
            self._files[key] = File(path, disk, lfs)
        return self._files[key]

    def load(self):
        repos, moved, by_xet = {}, {}, {}
        for org in sorted(os.listdir(self.root)):
            if org.startswith("."):
                continue
            for name in sorted(os.listdir(os.path.join(self.root, org))):
                repo_id = f"{org}/{name}"
                repos[repo_id] = Repo(
                    repo_id, os.path.join(self.root, org, name), self._known)
        for r in repos.values():
            for old in r.set["renamed"]:
                moved[old.lower()] = r.id
            moved.setdefault(r.id.lower(), r.id)
            for rev in r.revs.values():
                for f in rev.files.values():
                    if f.lfs:
                        by_xet[f.xet] = (r, f)
        self.repos, self.moved, self.by_xet = repos, moved, by_xet

    def find(self, name):
        """(Repo or None, its id when asked under another name)."""
        if name in self.repos:
            return self.repos[name], None
        new = self.moved.get(name.lower())
        return (self.repos[new], new) if new else (None, None)
