"""A lock file: written from the command line, kept to by the mount, whatever
the hubs do meanwhile."""
import errno
import json
import os
import re
import subprocess

import lib
from lib import MINILM, check, equal, models, raises, read

A = {"config.json": b'{"a": 1}', "w.bin": lib.noise("w", 20000),
     "a dir/a file.txt": b"text\n"}
B = dict(A, **{"config.json": b'{"a": 2}', "more.txt": b"more\n"})
REPOS = {"org/a": {"r1": A, "r2": B},
         "org/b": {"main": {"README.md": b"b\n"}},
         "new/name": {"main": {"README.md": b"short\n"}},
         MINILM: {"main": models.minilm(MINILM)}}
SET = {"org/a": {"refs": {"main": "r1", "refs/pr/1": "r2"}},
       "new/name": {"renamed": ["old-name"]}}


def move(hub, rev):
    with open(os.path.join(hub.root, "org/a/hub.json"), "w",
              encoding="ascii") as f:
        json.dump({"refs": {"main": rev, "refs/pr/1": "r2"}}, f)
    hub.ctl(reload=True)


def refused(rig, *argv, cache):
    """A command that fails; its one line."""
    p = subprocess.run([lib.OMNIHUB, *argv, "--cache", cache],
                       capture_output=True, env=rig.env(), timeout=50,
                       stdin=subprocess.DEVNULL, check=False)
    equal(p.returncode, 1, f"{argv}: {p.stdout}")
    return p.stderr.decode()


def written(rig, hub, m, lock):
    """What a file says, and that it always says the same."""
    def pin(*argv):
        return rig.run(lib.OMNIHUB, "pin", "--file", lock, *argv)

    for path in ("org/a/config.json", "org/a@refs%2Fpr%2F1/more.txt",
                 "old-name/README.md", MINILM + "/config.json"):
        read(m.hf(path))
    out = pin(m.hf("org/a"), m.hf("org/a@refs%2Fpr%2F1/config.json"),
              m.hf(MINILM, "pytorch/model.onnx"), m.hf("old-name"))
    check("4 locked" in out, out)
    text = read(lock).decode()
    for line in (f"model huggingface org/a@{hub.commit('org/a')}",
                 "name huggingface org/a",
                 "name huggingface org/a@refs%2Fpr%2F1",
                 "name huggingface old-name", "name huggingface new/name",
                 f"name huggingface {MINILM}"):
        check(line + "\n" in text, line, "is not in", text)
    check(re.search(r"^file 8 gitsha1:[0-9a-f]{40},sha256:[0-9a-f]{64} "
                    "config.json$", text, re.M), "what is here:", text)
    check(re.search(r"^file \d+ sha256:[0-9a-f]{64} w.bin$", text, re.M)
          or re.search(r"^file 20000 gitsha1:[0-9a-f]{40} w.bin$", text, re.M),
          text)
    check(re.search(r"^file 5 gitsha1:[0-9a-f]{40} a dir/a file.txt$", text,
                    re.M), text)
    check(re.search(r"^staged [0-9a-f]{64} pytorch/model.onnx$", text, re.M),
          text)
    # The order of the paths, and the cache, do not matter.
    rig.run(lib.OMNIHUB, "pin", "--file", lock, "--cache", rig.dir("cache"),
            "--set", "huggingface.endpoint=" + hub.url,
            "huggingface/old-name", "huggingface/" + MINILM,
            "huggingface/org/a@refs%2Fpr%2F1", "huggingface/org/a")
    equal(read(lock).decode(), text, "written again")
    pin("--cache", m.cache, "--set", "huggingface.endpoint=" + hub.url)
    again = read(lock).decode()     # a planner has read more since
    found = re.compile(r",sha256:\w+")
    equal(found.sub("", again), found.sub("", text), "of what was touched")
    ok = rig.run(lib.OMNIHUB, "pin", "--check", "--file", lock, "--cache",
                 m.cache, "--set", "huggingface.endpoint=" + hub.url)
    equal([line[:3] for line in ok.splitlines()], ["ok "] * 4, ok)
    # What is no lock file is not overwritten.
    other = os.path.join(rig.dir("other"), "notes.txt")
    with open(other, "w", encoding="ascii") as f:
        f.write("my notes\n")
    err = refused(rig, "pin", "--file", other, m.hf("org/a"), cache=m.cache)
    check("line 1: not a lock file" in err, err)
    equal(read(other), b"my notes\n")


def kept(rig, hub, lock):
    """The branch moves; the lock does not, and its names cost no question."""
    move(hub, "r2")
    m = rig.mount(hub, "--lock", lock)
    hub.ctl(reset=True)
    equal(read(m.hf("org/a/config.json")), A["config.json"])
    equal(read(m.hf("org/a@refs%2Fpr%2F1/config.json")), B["config.json"])
    equal(read(m.hf("org/a/a dir/a file.txt")), b"text\n")
    with raises(errno.ENOENT):
        os.stat(m.hf("org/a/more.txt"))
    equal(read(m.hf("old-name/README.md")), b"short\n")
    staged = m.hf(MINILM, "pytorch/model.onnx")
    equal(len(read(staged)), os.stat(staged).st_size)
    asked = [e["path"] for e in hub.log() if "/revision/" in e["path"]]
    equal(asked, [], "questions for what is locked")
    # A locked revision by its own name, and names that are not locked.
    equal(read(m.hf("org/a@main/config.json")), B["config.json"])
    equal(read(m.hf("org/b/README.md")), b"b\n")
    # What could be had instead.
    rows = {r["name"]: r for r in json.loads(rig.run(
        lib.OMNIHUB, "status", "--check", "--json", m.at))["names"]}
    row = rows["huggingface/org/a"]
    equal((row["locked"], row["newer"], row["hub"]),
          (True, True, hub.commit("org/a")))
    check(not rows["huggingface/org/b"]["newer"], rows)
    out = rig.run(lib.OMNIHUB, "status", m.at)
    check(re.search(r"^huggingface/org/a +[0-9a-f]{12} +[0-9a-f]{12} +\d{4}-",
                    out, re.M), out)
    check(b"newer at the hub    1 of" in read(m.path(".omnihub/status")),
          read(m.path(".omnihub/status")))
    equal(read(m.hf("org/a/config.json")), A["config.json"], "asked, moved")
    cache = m.cache
    m.stop()
    # Without the hub, from the cache and the lock file alone.
    m = rig.mount(hub, "--lock", lock, "--offline", cache=cache)
    equal(read(m.hf("org/a/config.json")), A["config.json"])
    m.stop()
    m = rig.mount(hub, "--lock", lock, "--offline")
    check("w.bin" in os.listdir(m.hf("org/a")), "listing of the lock file")
    with raises(errno.EHOSTUNREACH):
        read(m.hf("org/a/w.bin"))
    m.stop()


def strict(rig, hub, lock):
    m = rig.mount(hub, "--lock", lock, "--set", "lock.strict=yes")
    equal(read(m.hf("org/a/config.json")), A["config.json"])
    for name in ("org/b", "org/b/README.md", "org/a@main", "org/none"):
        with raises(errno.EACCES):
            os.stat(m.hf(name))
    check("org/b: " in read(m.path(".omnihub/errors")).decode() and
          "lock.strict" in read(m.path(".omnihub/errors")).decode(),
          read(m.path(".omnihub/errors")))
    equal(os.listdir(m.hf("org")), ["a"])
    m.stop()


def contradicted(rig, hub, lock):
    """Other files, another size, another digest, another stager."""
    text = read(lock).decode()

    def with_lock(name, old, new, path, number=errno.EIO):
        bad = os.path.join(rig.dir("bad"), "models.lock")
        changed = re.sub(old, new, text, count=1, flags=re.M)
        check(changed != text, name, "changes nothing")
        with open(bad, "w", encoding="utf-8") as f:
            f.write(changed)
        m = rig.mount(hub, "--lock", bad)
        with raises(number):
            read(m.hf(path))
        why = read(m.path(".omnihub/errors")).decode()
        check(bad + ": line " in why, name, "reason:", why)
        m.stop()
        err = refused(rig, "pin", "--check", "--file", bad, "-q", "--set",
                      "huggingface.endpoint=" + hub.url, cache=m.cache)
        check(bad in err, name, err)

    with_lock("a size", r"^file 5 (.* a dir)", r"file 6 \1",
              "org/a/config.json")
    with_lock("a digest", r"^file 20000 (\w+:)(....)", r"file 20000 \g<1>0000",
              "org/a/w.bin")
    with_lock("a file too many", r"^(file 20000 .*)$",
              r"\1\nfile 1 - what.txt", "org/a/config.json")
    with_lock("a file less", r"^file 20000 .*\n", "", "org/a/config.json")
    with_lock("a stager", r"^staged \w{4}(\w*) pytorch/model.onnx$",
              r"staged 0000\1 pytorch/model.onnx", f"{MINILM}/pytorch/"
              "model.onnx")

    # Bytes that only the lock file has a SHA-256 of.
    bad = os.path.join(rig.dir("bad"), "models.lock")
    with open(bad, "w", encoding="utf-8") as f:
        f.write(re.sub(r"(,sha256:)....", r"\g<1>0000", text))
    m = rig.mount(hub, "--lock", bad)
    with raises(errno.EIO):
        read(m.hf("org/a/config.json"))
    why = lib.xattr(m.hf("org/a/config.json"), "error")
    check(why.startswith(bad + ": line "), why)
    equal(read(m.hf("org/a/a dir/a file.txt")), b"text\n")
    m.stop()


def broken(rig, hub, lock):
    """Nothing is mounted with a lock file that cannot be read."""
    bad = os.path.join(rig.dir("bad"), "models.lock")
    text = read(lock)
    for body, what in ((text[:-4], "cut short"), (b"x" + text, "line 1: "),
                       (text.replace(b"file 8 ", b"file eight ", 1),
                        "not a size"), (None, "No such file")):
        if body is None:
            os.unlink(bad)
        else:
            with open(bad, "wb") as f:
                f.write(body)
        p = subprocess.run([lib.MOUNT, "--lock", bad, "--cache",
                            rig.dir("cache"), rig.dir("mnt")],
                           capture_output=True, env=rig.env(), timeout=20,
                           check=False)
        err = p.stderr.decode()
        equal(p.returncode, 1, err)
        check(bad in err and what in err, what, "not in:", err)


def run(rig):
    hub = rig.hub(REPOS, SET)
    lock = os.path.join(rig.dir("lock"), "models.lock")
    m = rig.mount(hub)
    written(rig, hub, m, lock)
    m.stop()
    for test in (kept, strict, contradicted, broken):
        print("#", test.__name__, flush=True)
        test(rig, hub, lock)


lib.main(run)
