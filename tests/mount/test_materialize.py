#!/usr/bin/env python3
"""Staged files that become objects: when, with the same bytes, within the
budget, and gathered from their sources again when the object is gone."""
import hashlib
import os

import lib
from lib import check, digest, equal, read, until, xattr

REPO = "org/large"
FILES = lib.bulky_bert(12)
INNER = ("pytorch", "model.onnx")


def staged(m):
    return m.hf(REPO, *INNER)


def is_object(m):
    return xattr(staged(m), "materialized") == "yes"


def objects(m):
    out = []
    for base, _, files in os.walk(os.path.join(m.cache, "objects")):
        out += [os.path.join(base, f) for f in files]
    return out


def passthrough(m):
    rows = read(m.path(".omnihub", "status")).decode().splitlines()
    return "yes" in [r.split()[1] for r in rows
                     if r.startswith("passthrough ")]


def never(rig, hub, want):
    m = rig.mount(hub, "--set", "stage.materialize=never")
    for _ in range(2):
        equal(digest(staged(m)), want, "never")
        m.stop()
        m = rig.mount(hub, "--set", "stage.materialize=never", cache=m.cache)
    equal(xattr(staged(m), "materialized"), "no")
    m.stop()


def always(rig, hub, want):
    args = ("--set", "stage.materialize=always")
    m = rig.mount(hub, *args)
    read(staged(m), 1 << 20)
    m.stop()
    m = rig.mount(hub, *args, cache=m.cache)
    equal(xattr(staged(m), "materialized"), "no", "after a part")
    equal(digest(staged(m)), want, "gathered")
    until(lambda: is_object(m), what="the object")
    equal(xattr(staged(m), "sha256"), want, "its digest")
    equal(xattr(staged(m), "state"), "verified")
    equal(digest(staged(m)), want, "through the object")
    m.stop()
    # Known to the next mount, which needs the weights no more.
    path, = [o for o in objects(m)
             if os.path.getsize(o) == len(FILES["model.safetensors"])]
    os.unlink(path)
    before = hub.content()
    m = rig.mount(hub, *args, cache=m.cache)
    check(is_object(m), "forgotten")
    equal(digest(staged(m)), want, "by the next mount")
    equal(hub.content(), before, "requests for content")
    m.stop()
    # Gone: from the sources again.
    for o in objects(m):
        with open(o, "rb") as f:
            if hashlib.sha256(f.read()).hexdigest() == want:
                os.unlink(o)
    m = rig.mount(hub, *args, cache=m.cache)
    check(not is_object(m), "an object that is gone")
    equal(digest(staged(m)), want, "after it was evicted")
    until(lambda: is_object(m), what="the object again")
    m.stop()


def hot(rig, hub, want):
    m = rig.mount(hub)
    equal(digest(staged(m)), want)
    can = passthrough(m)
    m.stop()
    m = rig.mount(hub, cache=m.cache)
    check(not is_object(m), "after it was read once")
    equal(digest(staged(m)), want)
    if can:
        until(lambda: is_object(m), what="the object of a hot file")
    m.stop()
    m = rig.mount(hub, cache=m.cache)
    equal(is_object(m), can)
    equal(digest(staged(m)), want)
    m.stop()
    m = rig.mount(hub, "--set", "mount.passthrough=no")
    check(not passthrough(m), "mount.passthrough is not heeded")
    equal(digest(staged(m)), want, "without passthrough")
    m.stop()


def tight(rig, hub, want):
    """No room for it: gathered as ever, and the budget holds."""
    m = rig.mount(hub, "--set", "stage.materialize=always", "--cache-size",
                  "20M")
    for _ in range(2):
        equal(digest(staged(m)), want, "in a tight cache")
        size = 0
        for o in objects(m):
            try:
                size += os.stat(o).st_blocks * 512
            except FileNotFoundError:
                pass        # made room meanwhile
        check(size <= 20 << 20, "over the budget:", size)
    m.stop()


def run(rig):
    hub = rig.hub({REPO: {"main": FILES}})
    m = rig.mount(hub, "--set", "stage.materialize=never")
    want = digest(staged(m))
    m.stop()
    never(rig, hub, want)
    always(rig, hub, want)
    hot(rig, hub, want)
    tight(rig, hub, want)


if __name__ == "__main__":
    lib.main(run)
