"""The tree: names, sizes, modes, attributes, and what a repository's own
directories do to the staged ones."""
import errno
import json
import os
import stat
import urllib.request

import lib
from lib import BERT, MINILM, SST2, check, equal, models, raises, read

OWN = models.minilm("org/own")
REPOS = {
    BERT: {"main": models.bert_base(BERT), "v1": models.minilm("v1")},
    MINILM: {"main": models.minilm(MINILM)},
    SST2: {"main": models.distilbert(SST2)},
    # Has both an onnx/ and a pytorch/ directory of its own, with a file of
    # the name that would be staged.
    "org/own": {"main": dict(OWN, **{
        "onnx/model.onnx": b"own onnx",
        "pytorch/model.onnx": b"own, not staged",
        "pytorch/notes.txt": b"own notes"})},
    "org/data": {"main": {"README.md": b"no weights here\n",
                          "deep/er/a b#%é.txt": b"odd name\n",
                          "empty": b""}},
}
SETTINGS = {
    BERT: {"renamed": ["bert-base-uncased"], "tags": ["v1"]},
    "org/data": {"renamed": ["old-org/old-data"]},
}


def same_file(m, a, b):
    equal(read(m.hf(a)), read(m.hf(b)), f"{a} and {b}")


def names(m, hub):
    base = f"{BERT}/config.json"
    want = REPOS[BERT]["main"]["config.json"]
    equal(read(m.hf(base)), want, base)
    # An alias, and a legacy one-word name that the hub redirects.
    for short in ("bert-base", "bert-base-uncased"):
        same_file(m, f"{short}/config.json", base)
        same_file(m, f"{short}/pytorch/model.onnx",
                  f"{BERT}/pytorch/model.onnx")
    equal(read(m.hf("old-org/old-data/README.md")), b"no weights here\n")
    commit = hub.commit(BERT, "v1")
    for rev in ("v1", commit, "main"):
        files = REPOS[BERT]["main" if rev == "main" else "v1"]
        equal(read(m.hf(f"{BERT}@{rev}/config.json")), files["config.json"],
              rev)
        equal(len(read(m.hf(f"{BERT}@{rev}/pytorch/model.onnx"))),
              os.stat(m.hf(f"{BERT}@{rev}/pytorch/model.onnx")).st_size)
    equal(lib.xattr(m.hf(f"{BERT}@v1/config.json"), "revision"), commit)
    equal(read(m.hf("bert-base@v1/config.json")),
          REPOS[BERT]["v1"]["config.json"])
    equal(read(m.hf("org/data/deep/er/a b#%é.txt")), b"odd name\n")
    equal(read(m.hf("org/data/empty")), b"")
    for bad in ("org/none", "org/data@none", "org/data/none", "none-such",
                "org/data/README.md/x", "org/data/deep/none", ".git",
                "org/..data", "org/data@" + "0" * 40, "a b/c"):
        with raises(errno.ENOENT, errno.ENOTDIR):
            os.stat(m.hf(bad))
    with raises(errno.ENOENT):
        os.stat(m.path("no-such-hub"))


def listings(m):
    equal(sorted(os.listdir(m.hf("org"))), ["data", "own"], "org/")
    check("huggingface" in os.listdir(m.at), "root lists huggingface")
    got = set(os.listdir(m.hf(SST2)))
    check(set(REPOS[SST2]["main"]) <= got, "missing in ls:",
          set(REPOS[SST2]["main"]) - got)
    check("pytorch" in got, "pytorch/ is listed")
    check("pytorch" not in os.listdir(m.hf("org/data")), "no weights, yet "
          "pytorch/ is listed")
    staged = os.listdir(m.hf(MINILM, "pytorch"))
    for n in ("model.onnx", "model_fp16.onnx", "model_int8.onnx",
              "model_skeleton.onnx", "model_external.onnx",
              "model_external.onnx_data", "model_trainable.onnx",
              "model.safetensors"):
        check(n in staged, n, "is not in", staged)
    # What has been touched is listed from then on.
    check("google-bert" in os.listdir(m.hf()), os.listdir(m.hf()))


def own_directories(m):
    equal(read(m.hf("org/own/pytorch/model.onnx")), b"own, not staged")
    equal(read(m.hf("org/own/pytorch/notes.txt")), b"own notes")
    equal(read(m.hf("org/own/onnx/model.onnx")), b"own onnx")
    # Names the repository does not have may still be staged beside its own.
    got = os.listdir(m.hf("org/own/pytorch"))
    equal(len(got), len(set(got)), "names twice")
    check({"model.onnx", "notes.txt"} <= set(got), got)


def attributes(m, hub):
    top = m.hf(MINILM)
    for where, dirs, files in os.walk(top):
        for d in dirs:
            st = os.lstat(os.path.join(where, d))
            equal(stat.S_IMODE(st.st_mode), 0o555, d)
        for f in files:
            path = os.path.join(where, f)
            st = os.lstat(path)
            check(stat.S_ISREG(st.st_mode), path, "is no regular file")
            equal((stat.S_IMODE(st.st_mode), st.st_nlink), (0o444, 1), path)
            check(st.st_blocks * 512 >= st.st_size, path, "has holes")
            equal(len(read(path)), st.st_size, path + ": size")
    repo = REPOS[MINILM]["main"]
    one = os.path.join(top, "model.safetensors")
    equal(lib.xattr(one, "state"), "verified")
    equal(lib.xattr(one, "hub"), "huggingface")
    equal(lib.xattr(one, "revision"), hub.commit(MINILM))
    equal(lib.xattr(one, "sha256"), lib.digest(one))
    equal(int(lib.xattr(one, "cached_bytes")), len(repo[
        "model.safetensors"]))
    url = lib.xattr(one, "url")
    with lib.OPENER.open(urllib.request.Request(url), timeout=10) as a:
        equal(a.read(), repo["model.safetensors"], url)
    staged = os.path.join(top, "pytorch", "model.onnx")
    sources = lib.xattr(staged, "sources")
    check("model.safetensors" in sources, "sources:", sources)
    listed = os.listxattr(one)
    for n in ("state", "hub", "revision", "url", "cached_bytes", "sha256"):
        check("user.omnihub." + n in listed, n, "not in", listed)
    # "None at all" lets ls ask once and not twice a file.
    for name in ("security.selinux", "system.posix_acl_access"):
        with raises(errno.ENOTSUP):
            os.getxattr(m.hf(BERT, "config.json"), name)
    with raises(errno.ENODATA):
        os.getxattr(one, "user.omnihub.none")
    times = {os.stat(os.path.join(top, n)).st_mtime for n in
             ("model.safetensors", "pytorch/model.onnx", "config.json")}
    equal(len(times), 1, f"mtimes {times}")


def read_only(m):
    top = m.hf(MINILM)
    one = os.path.join(top, "config.json")
    for write in (lambda: open(one, "r+b"),
                  lambda: open(os.path.join(top, "new"), "wb"),
                  lambda: os.unlink(one), lambda: os.rename(one, one + "2"),
                  lambda: os.mkdir(os.path.join(top, "new")),
                  lambda: os.symlink("a", os.path.join(top, "new")),
                  lambda: os.chmod(one, 0o644),
                  lambda: os.truncate(one, 0), lambda: os.utime(one),
                  lambda: os.rmdir(os.path.join(top, "pytorch")),
                  lambda: os.setxattr(one, "user.x", b"1"),
                  lambda: os.removexattr(one, "user.omnihub.state")):
        with raises(errno.EROFS):
            write()


def control(m):
    got = set(os.listdir(m.path(".omnihub")))
    check({"status", "stats.json", "errors", "config"} <= got, got)
    stats = json.loads(read(m.path(".omnihub/stats.json")))
    check(isinstance(stats, dict) and stats, stats)
    check(read(m.path(".omnihub/status")), "status is empty")
    text = read(m.path(".omnihub/config"))
    check(b"huggingface.endpoint" in text, text)


def run(rig):
    hub = rig.hub(REPOS, SETTINGS)
    for way in ("canonical", "direct"):
        hub.ctl(set={"rename_resolve": way, "page": 4})
        m = rig.mount(hub)
        lib.figure(f"ready ({way})", m.ready, "s")
        names(m, hub)
        listings(m)
        own_directories(m)
        attributes(m, hub)
        read_only(m)
        control(m)
        m.stop()


lib.main(run)
