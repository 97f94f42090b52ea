#!/usr/bin/env python3
"""omnihub search: hubs that search, a page at a time; catalogues; hubs that do
not answer."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRCDIR"], "tests", "mount"))
import lib  # noqa: E402
from lib import check, equal  # noqa: E402

REPOS = {f"org/tiny-bert-{i}": {"main": {"README.md": b"x\n"}}
         for i in range(7)}
KAGGLE = {f"kaggle/ann/flower-{i}/tensorFlow2/small/1/saved_model.pb": b"x"
          for i in range(3)}
REPOS["other/gpt"] = {"main": {"README.md": b"x\n"}}


def search(rig, hub, *argv, code=0):
    sets = [a for k, v in {**lib.NOWHERE, **hub.endpoints,
                           "fetch.retries": 0}.items()
            for a in ("--set", f"{k}={v}")]
    p = subprocess.run([lib.OMNIHUB, "search", "--cache", rig.cache, *sets,
                        *argv], stdin=subprocess.DEVNULL, capture_output=True,
                       env=rig.env(), timeout=50, check=False)
    equal(p.returncode, code, f"{argv}: {p.stderr}")
    return p.stdout.decode(), p.stderr.decode()


def run(rig):
    rig.cache = rig.dir("cache")
    hub = rig.hub(REPOS)
    rig.both = rig.hub(REPOS, hosts=("kaggle",), files=KAGGLE)
    hub.ctl(set={"page": 3})
    out, _ = search(rig, hub, "--hub", "huggingface", "--json", "Tiny-bert")
    rows = json.loads(out)
    equal([r["path"] for r in rows],
          [f"huggingface/org/tiny-bert-{i}" for i in range(7)])
    check(all(r["likes"] == 1 for r in rows), rows)
    pages = [e for e in hub.log() if "search=" in e["path"]]
    equal(len(pages), 3, "pages of three")
    hub.ctl(reset=True)
    out, _ = search(rig, hub, "--hub", "huggingface", "--limit", "2", "bert")
    equal(len(out.splitlines()), 1 + 2, out)
    equal(len([e for e in hub.log() if "search=" in e["path"]]), 1, "pages")
    # The paths can be opened.
    name = out.splitlines()[1].split()[0]
    got = rig.run(lib.OMNIHUB, "ls", "--cache", rig.cache, "--set",
                  "huggingface.endpoint=" + hub.url, name)
    equal(got.split(), ["README.md"], name)
    equal([r["path"] for r in json.loads(search(
        rig, rig.both, "--json", "--limit", "2", "flower")[0])],
        ["kaggle/ann/flower-0", "kaggle/ann/flower-1"])
    # Catalogues, by every word; a hub that does not answer is only told.
    out, err = search(rig, hub, "resnet50", "pth")
    check("pytorch/torchvision/resnet50/resnet50-0676ba61.pth" in out, out)
    check("omnihub: search: kaggle: E" in err, err)
    out, err = search(rig, hub, "--hub", "kaggle", "x", code=1)
    equal(out, "")
    check("kaggle: E" in err, err)
    # Without a network: catalogues and what was looked into.
    out, err = search(rig, hub, "--offline", "BERT")
    check(name in out and "offline: " in err, out, err)
    equal(out.count("huggingface/"), 1, out)
    out, err = search(rig, hub, "--offline", "mobilenet_v2")
    check("pytorch/torchvision/mobilenet_v2/" in out, out)
    err = search(rig, hub, "--hub", "none", "x", code=1)[1]
    check("no such hub" in err, err)
    for bad in ((), ("--limit", "0", "x"), ("--limit", "many", "x"), (" ",),
                ("x" * 2000,)):
        search(rig, hub, *bad, code=2)


lib.main(run)
