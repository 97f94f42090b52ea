#!/usr/bin/env python3
"""Write the hubs of --demo: mirrors on disk with the real hubs' URL paths.

    make-demo.py OUT

makes OUT/huggingface, which is what endpoint file:///OUT/huggingface reads, and
its like for the hubs of static.py, whose catalogue stands at their top, for the
two hosts of GitHub, for the ONNX zoo of zoo.py with its manifest, and for
Kaggle and TensorFlow Hub (saved.py).
A directory answers with its index.json, and a URL's query is dropped; so a
listing holds everything and the client filters. Deterministic: the same bytes
on every run. The models are in models.py and static.py, the
repositories in github.py.
"""
import hashlib
import json
import os
import sys

sys.dont_write_bytecode = True
import github  # noqa: E402
import models  # noqa: E402
import saved  # noqa: E402
import static  # noqa: E402
import zoo  # noqa: E402

DATE = "2024-01-01T00:00:00.000Z"
LFS = (".bin", ".safetensors")


def put(out, path, data):
    full = os.path.join(out, *path.split("/"))
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as f:
        f.write(data)


def put_json(out, path, value):
    put(out, path, (json.dumps(value, indent=1) + "\n").encode())


def git_id(kind, data):
    return hashlib.sha1(b"%s %d\0" % (kind, len(data)) + data).hexdigest()


def tree_entry(path, data):
    """As /api/models/ID/tree tells it. LFS files have their SHA-256; git
    itself keeps only a pointer to them, whose id is the oid."""
    e = {"type": "file", "oid": git_id(b"blob", data), "size": len(data),
         "path": path}
    if path.endswith(LFS):
        sha = hashlib.sha256(data).hexdigest()
        pointer = (f"version https://git-lfs.github.com/spec/v1\n"
                   f"oid sha256:{sha}\nsize {len(data)}\n").encode()
        e["oid"] = git_id(b"blob", pointer)
        e["lfs"] = {"oid": sha, "size": len(data),
                    "pointerSize": len(pointer)}
    return e


def tree_id(entries, folder=""):
    """git's id of a directory; adds the entries of the ones inside."""
    pre = folder + "/" if folder else ""
    files = {e["path"][len(pre):]: e for e in entries
             if e["type"] == "file" and e["path"].startswith(pre)}
    raw = {}
    for name, e in files.items():
        first, slash, _ = name.partition("/")
        if not slash:
            raw[first] = (b"100644", e["oid"])
        elif first + "/" not in raw:
            oid = tree_id(entries, pre + first)
            entries.append({"type": "directory", "oid": oid, "size": 0,
                            "path": pre + first})
            raw[first + "/"] = (b"40000", oid)
    return git_id(b"tree", b"".join(
        mode + b" " + name.rstrip("/").encode() + b"\0" + bytes.fromhex(oid)
        for name, (mode, oid) in sorted(raw.items())))


def info(repo, commit, entries):
    names = sorted(e["path"] for e in entries if e["type"] == "file")
    return {
        "_id": hashlib.sha1(repo.encode()).hexdigest()[:24],
        "id": repo, "modelId": repo, "author": repo.partition("/")[0],
        "sha": commit, "lastModified": DATE, "createdAt": DATE,
        "private": False, "gated": False, "disabled": False,
        "downloads": 0, "likes": 0, "tags": ["license:apache-2.0"],
        "siblings": [{"rfilename": n} for n in names],
    }


def write_repo(out, repo, files):
    """Returns what the API says of the repository."""
    entries = [tree_entry(p, d) for p, d in sorted(files.items())]
    root = tree_id(entries)
    entries.sort(key=lambda e: e["path"])
    who = "OmniHub <omnihub@localhost> 1704067200 +0000"
    commit = git_id(b"commit", (f"tree {root}\nauthor {who}\n"
                                f"committer {who}\n\n{repo}\n").encode())
    for path, data in files.items():
        put(out, f"{repo}/resolve/{commit}/{path}", data)
    put_json(out, f"api/models/{repo}/tree/{commit}", entries)
    put_json(out, f"api/models/{repo}/refs", {
        "branches": [{"name": "main", "ref": "refs/heads/main",
                      "targetCommit": commit}],
        "tags": [], "converts": [], "pullRequests": []})
    return info(repo, commit, entries)


def write_info(out, name, doc):
    """Under a present or a former name: the document tells the present one."""
    at = f"api/models/{name}"
    put_json(out, f"{at}/index.json", doc)
    put_json(out, f"{at}/revision/main", doc)
    put_json(out, f"{at}/revision/{doc['sha']}", doc)


def write_static(out, hub):
    files, rows = static.HUBS[hub]()
    for path, data in files.items():
        put(out, f"{hub}/{path}", data)
    put(out, f"{hub}/catalogue.tsv",
        "".join("\t".join(r) + "\n" for r in rows).encode())


def write_github(out, repo, files):
    """What the API says of the default branch, and the bytes of its commit."""
    tree = [{"path": p, "mode": "100644", "type": "blob", "size": len(d),
             "sha": git_id(b"blob", d)} for p, d in sorted(files.items())]
    sha = git_id(b"commit", json.dumps([repo, tree]).encode())
    commit = {"sha": sha, "html_url": f"https://github.com/{repo}/commit/{sha}",
              "commit": {"committer": {"date": DATE}}}
    api = f"torchhub-api/repos/{repo}"
    put_json(out, f"{api}/commits/heads/main", commit)
    put_json(out, f"{api}/commits/{sha}", commit)
    put_json(out, f"{api}/git/trees/{sha}",
             {"sha": sha, "truncated": False, "tree": tree})
    for path, data in files.items():
        put(out, f"torchhub/{repo}/raw/{sha}/{path}", data)


def main(argv):
    if len(argv) != 2:
        sys.stderr.write("usage: make-demo.py OUT\n")
        return 2
    out = os.path.join(argv[1], "huggingface")
    docs = {}
    for repo, make in models.MODELS.items():
        docs[repo] = write_repo(out, repo, make(repo))
        write_info(out, repo, docs[repo])
    for old, repo in models.OLD_NAMES.items():
        write_info(out, old, docs[repo])
    brief = ("_id", "id", "modelId", "private", "likes", "downloads", "tags",
             "createdAt")
    put_json(out, "api/models/index.json",
             [{k: d[k] for k in brief} for d in docs.values()])
    for hub in static.HUBS:
        write_static(argv[1], hub)
    owners = {}
    for repo, files in github.REPOS.items():
        write_github(argv[1], repo, files)
        owners.setdefault(repo.split("/")[0], []).append({"full_name": repo})
    for owner, repos in owners.items():
        put_json(argv[1], f"torchhub-api/users/{owner}/repos", repos)
    for path, data in zoo.FILES.items():
        put(argv[1], f"onnx/onnxmodelzoo/legacy_models/resolve/main/{path}",
            data)
    put(argv[1], "onnx/ONNX_HUB_MANIFEST.json", zoo.MANIFEST)
    for path, what in saved.mirrors():
        (put if isinstance(what, bytes) else put_json)(argv[1], path, what)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
