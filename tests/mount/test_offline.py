"""The hub is gone, or must not be asked: what is here still reads."""
import errno
import os
import time

import lib
from lib import MINILM, check, equal, figure, models, raises, read

REPOS = {
    MINILM: {"main": models.minilm(MINILM)},
    "org/half": {"main": {"big.bin": lib.noise("half", 8 << 20),
                          "README.md": b"half\n"}},
}
ERRORS = (errno.EHOSTUNREACH, errno.ETIMEDOUT)


def cached_reads(m):
    for n, want in REPOS[MINILM]["main"].items():
        if n in ("model.safetensors", "config.json"):
            equal(read(m.hf(MINILM, n)) == want, True, n)
    staged = m.hf(MINILM, "pytorch/model.onnx")
    equal(len(read(staged)), os.stat(staged).st_size)
    equal(read(m.hf("org/half/big.bin"), 4096),
          REPOS["org/half"]["main"]["big.bin"][:4096], "what is here of half")
    check("vocab.txt" in os.listdir(m.hf(MINILM)), "listing")


def at_once(what, fn):
    start = time.monotonic()
    with raises(errno.EHOSTUNREACH):
        fn()
    figure(what, time.monotonic() - start, "s", 2.0)


def run(rig):
    hub = rig.hub(REPOS)
    m = rig.mount(hub)
    for n in ("model.safetensors", "config.json"):
        read(m.hf(MINILM, n))
    read(m.hf(MINILM, "pytorch/model.onnx"))
    read(m.hf("org/half/big.bin"), 4096)
    time.sleep(0.5)

    # Gone while mounted.
    hub.stop()
    cached_reads(m)
    with lib.timed("uncached, hub gone"), raises(*ERRORS):
        read(m.hf("org/half/big.bin"), 4096, 7 << 20)
    check(lib.xattr(m.hf("org/half/big.bin"), "error"), "no reason told")
    with raises(*ERRORS):
        os.stat(m.hf("org/never-seen"))
    cached_reads(m)
    cache = m.cache
    m.stop()

    # Gone before the mount: what is known is still known.
    m = rig.mount(hub, "--set", "fetch.retries=1", cache=cache)
    cached_reads(m)
    m.stop()

    # --offline: no attempt at all.
    hub.start()
    hub.ctl(reset=True)
    for args, env in ((("--offline",), {}), ((), {"HF_HUB_OFFLINE": "1"}),
                      ((), {"OMNIHUB_OFFLINE": "1"})):
        m = rig.mount(hub, *args, cache=cache, env=env)
        cached_reads(m)
        at_once("uncached byte, offline",
                lambda: read(m.hf("org/half/big.bin"), 4096, 7 << 20))
        at_once("uncached file, offline",
                lambda: read(m.hf("org/half/README.md")))
        at_once("unknown repository, offline",
                lambda: os.stat(m.hf("org/never-seen")))
        m.stop()
    equal(hub.log(), [], "requests while offline")


lib.main(run)
