"""Who may read: gated, private, disabled; tokens and where they go."""
import errno
import os

import lib
from lib import check, equal, raises, read

DATA = {"config.json": b'{"model_type": "x"}\n',
        "weights.bin": lib.noise("access", 300000)}

def data(repo):
    """Different in each, or the cache would know the bytes."""
    return {k: v + repo.encode() for k, v in DATA.items()}


REPOS = {f"org/{n}": {"main": data(n)}
         for n in ("open", "gated", "private", "disabled")}
SETTINGS = {
    "org/gated": {"gated": "manual", "allowed": ["alice"]},
    "org/private": {"private": True, "allowed": ["alice"]},
    "org/disabled": {"disabled": True},
}


def refused(path, *words):
    """EACCES, with the hub's words in the attribute."""
    with raises(errno.EACCES):
        read(path)
    why = lib.xattr(path, "error")
    lib.figure("words", repr(why))
    for w in words:
        check(w in why, repr(w), "is not in", repr(why))


def nobody(rig, hub):
    m = rig.mount(hub)
    equal(read(m.hf("org/open/weights.bin")) == data("open")["weights.bin"],
          True)
    # Names and sizes of a gated repository are public, its bytes are not.
    check("weights.bin" in os.listdir(m.hf("org/gated")), "ls of gated")
    equal(os.stat(m.hf("org/gated/weights.bin")).st_size, 300005)
    for n in ("weights.bin", "config.json"):
        refused(m.hf("org/gated", n), "restricted", "log in")
        refused(m.hf("org/disabled", n), "disabled")
    with raises(errno.ENOENT):
        os.stat(m.hf("org/private/config.json"))
    for row in hub.log():
        equal(row["auth"], None, "a token without being told one")
    m.stop()


def alice(rig, hub):
    hub.ctl(reset=True)
    m = rig.mount(hub, token="hf_alice")
    for repo in ("open", "gated", "private"):
        for n in ("weights.bin", "config.json"):
            equal(read(m.hf("org", repo, n)) == data(repo)[n], True,
                  repo)
    refused(m.hf("org/disabled/weights.bin"), "disabled")
    with raises(errno.ENOENT):
        os.stat(m.hf("org/none/config.json"))
    text = read(m.path(".omnihub/config")) + read(m.log) \
        + read(m.path(".omnihub/status"))
    check(b"hf_alice" not in text, "the token is shown")
    m.stop()
    log = hub.log()
    check(any(r["auth"] == "alice" for r in log if r["host"] == "hub"),
          "the hub saw no token")
    check(any(r["host"] == "cdn" for r in log), "the CDN was not used")
    for row in log:
        if row["host"] == "cdn":
            equal(row["auth"], None, "token seen by the CDN")


def bob(rig, hub):
    m = rig.mount(hub, token="hf_bob")
    refused(m.hf("org/gated/weights.bin"), "authorized list")
    with raises(errno.ENOENT):
        os.stat(m.hf("org/private"))
    m.stop()


def bad_token(rig, hub):
    m = rig.mount(hub, token="hf_expired")
    with raises(errno.EACCES):
        read(m.hf("org/open/config.json"))
    errors = read(m.path(".omnihub/errors"))
    check(b"Invalid credentials" in errors, errors)
    check(b"hf_expired" not in errors, "the token is shown")
    m.stop()


def ecosystem(rig, hub):
    """HF_ENDPOINT and HF_TOKEN_PATH do what they do for other clients."""
    path = os.path.join(rig.dir("tok"), "token")
    with open(path, "w", encoding="ascii") as f:
        f.write("hf_alice\n")
    m = rig.mount(None, env={"HF_ENDPOINT": hub.url, "HF_TOKEN_PATH": path})
    equal(read(m.hf("org/gated/config.json")), data("gated")["config.json"])
    m.stop()


def run(rig):
    hub = rig.hub(REPOS, SETTINGS)
    nobody(rig, hub)
    alice(rig, hub)
    bob(rig, hub)
    bad_token(rig, hub)
    ecosystem(rig, hub)


lib.main(run)
