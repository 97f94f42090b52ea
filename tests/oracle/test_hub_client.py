"""The real client against the local hub: what huggingface_hub believes of
hubd.py is what OmniHub's own tests may believe. Then its cache is adopted:
omnihub reads everything from there and asks for no content.

Needs Python with huggingface_hub (make check-oracle).
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "mount"))
import lib  # noqa: E402
from lib import MINILM, check, equal, figure, models, read  # noqa: E402

REPOS = {
    MINILM: {"main": models.minilm(MINILM), "v1": {"README.md": b"one\n"},
             "refs/pr/1": {"README.md": b"proposed\n"}},
    "org/data": {"main": dict({"a/b/deep file#%é.txt": b"odd\n", "e": b"",
                               "big.bin": lib.noise("c", 5 << 20)},
                              **{f"n/{i:03}": b"%d" % i for i in range(120)})},
    "org/gated": {"main": {"config.json": b"{}", "w.bin": b"w" * 1000}},
    "org/private": {"main": {"config.json": b"{}"}},
    "org/disabled": {"main": {"config.json": b"{}"}},
}
SETTINGS = {
    MINILM: {"tags": ["v1"], "renamed": ["old-org/minilm", "minilm"]},
    "org/gated": {"gated": "manual", "allowed": ["alice"]},
    "org/private": {"private": True, "allowed": ["alice"]},
    "org/disabled": {"disabled": True},
}


def refuses(kind, fn, *args, **more):
    """fn must raise kind itself, not merely something derived from it."""
    try:
        fn(*args, **more)
    except kind as e:
        equal(type(e).__name__, kind.__name__)
        return e
    raise lib.Wrong(f"{kind.__name__} was not raised")


def client(hub, home):
    """huggingface_hub reads its environment when it is imported."""
    os.environ.update({
        "HF_ENDPOINT": hub.url, "HF_HOME": home, "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"})
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        os.environ.pop(name, None)
    import huggingface_hub
    from huggingface_hub.utils import _http
    # It takes a 401 for "no such repository" only from an https:// hub.
    pattern = _http.REPO_API_REGEX
    _http.REPO_API_REGEX = re.compile(
        pattern.pattern.replace("^https:", "^https?:"), pattern.flags)
    print("# huggingface_hub", huggingface_hub.__version__)
    return huggingface_hub


def descriptions(hf, hub):
    api = hf.HfApi()
    info = api.model_info(MINILM)
    equal(info.sha, hub.commit(MINILM))
    equal({s.rfilename for s in info.siblings}, set(REPOS[MINILM]["main"]))
    info = api.model_info(MINILM, files_metadata=True)
    one = {s.rfilename: s for s in info.siblings}["model.safetensors"]
    want = REPOS[MINILM]["main"]["model.safetensors"]
    equal((one.size, one.lfs.sha256), (
        len(want), lib.hashlib.sha256(want).hexdigest()))
    for rev in ("v1", "refs/pr/1", hub.commit(MINILM, "v1"),
                hub.commit(MINILM, "v1")[:8]):
        sha = api.model_info(MINILM, revision=rev).sha
        equal(sha, hub.commit(MINILM, rev), rev)
    info = api.model_info("org/gated", expand=["gated", "sha"])
    equal((info.gated, info.sha), ("manual", hub.commit("org/gated")))
    refuses(hf.errors.BadRequestError, api.model_info, "org/gated",
            expand=["nonsense"])

    refs = api.list_repo_refs(MINILM, include_pull_requests=True)
    equal([b.name for b in refs.branches], ["main"])
    equal([t.name for t in refs.tags], ["v1"])
    equal([p.ref for p in refs.pull_requests], ["refs/pr/1"])

    hub.ctl(set={"page": 7, "expand_page": 5})
    for expand in (False, True):
        rows = list(api.list_repo_tree("org/data", recursive=True,
                                       expand=expand))
        files = {r.path: r for r in rows if isinstance(
            r, hf.hf_api.RepoFile)}
        equal(set(files), set(REPOS["org/data"]["main"]))
        big = files["big.bin"]
        equal(big.lfs.sha256, lib.hashlib.sha256(
            REPOS["org/data"]["main"]["big.bin"]).hexdigest())
        equal({r.path for r in rows} - set(files), {"a", "a/b", "n"})
    equal({r.path for r in api.list_repo_tree("org/data", "a/b")},
          {"a/b/deep file#%é.txt"})
    hub.ctl(set={"page": 1000, "expand_page": 50})
    paths = api.get_paths_info("org/data", ["e", "n", "none"])
    equal({p.path for p in paths}, {"e", "n"})
    equal({m.id for m in api.list_models(author="org")},
          {"org/data", "org/gated", "org/disabled"})
    check(api.file_exists("org/data", "e"), "file_exists")
    check(not api.file_exists("org/data", "none"), "file_exists")
    check(api.repo_exists("org/data") and not api.repo_exists("org/none"),
          "repo_exists")


def names(hf, hub):
    """Renames: 307 everywhere, in both forms that were seen."""
    api = hf.HfApi()
    for old in ("old-org/minilm", "minilm", MINILM.upper()):
        equal(api.model_info(old).id, MINILM, old)
        check(list(api.list_repo_tree(old)), old)
        equal(len(api.get_paths_info(old, ["vocab.txt"])), 1, old)
    for i, way in enumerate(("canonical", "direct")):
        hub.ctl(set={"rename_resolve": way})
        for n in ("config.json", "model.safetensors"):
            path = hf.hf_hub_download("old-org/minilm", n,
                                      cache_dir=lib.tempfile.mkdtemp(
                                          dir=os.environ["HF_HOME"]))
            equal(read(path) == REPOS[MINILM]["main"][n], True, (way, n, i))
    hub.ctl(set={"rename_resolve": "canonical"})


def refusals(hf):
    e, get = hf.errors, hf.hf_hub_download
    api = hf.HfApi()
    refuses(e.RepositoryNotFoundError, api.model_info, "org/none")
    refuses(e.RepositoryNotFoundError, api.model_info, "org/private")
    refuses(e.RepositoryNotFoundError, api.model_info, "org/none",
            token="hf_bob")
    refuses(e.RevisionNotFoundError, api.model_info, MINILM, revision="no")
    refuses(e.RevisionNotFoundError, get, MINILM, "vocab.txt", revision="no")
    refuses(e.RemoteEntryNotFoundError, get, MINILM, "none.txt")
    refuses(e.RemoteEntryNotFoundError, lambda: list(
        api.list_repo_tree(MINILM, "none")))
    refuses(e.GatedRepoError, get, "org/gated", "w.bin")
    refuses(e.GatedRepoError, get, "org/gated", "w.bin", token="hf_bob")
    refuses(e.GatedRepoError, api.auth_check, "org/gated")
    api.auth_check("org/gated", token="hf_alice")
    refuses(e.DisabledRepoError, hf.get_hf_file_metadata,
            hf.hf_hub_url("org/disabled", "config.json"))
    equal(read(get("org/gated", "w.bin", token="hf_alice")), b"w" * 1000)
    equal(read(get("org/private", "config.json", token="hf_alice")), b"{}")
    equal(api.whoami(token="hf_alice")["name"], "alice")
    refuses(e.HfHubHTTPError, api.whoami, token="hf_wrong")


def faults(hf, hub):
    """The client heals what it is known to heal."""
    data = REPOS["org/data"]["main"]["big.bin"]
    for rule in (dict(do="status", code=429, times=2, host="cdn"),
                 dict(do="cut", at=100000, times=1, host="cdn")):
        hub.clear()
        hub.ctl(add=[rule])
        path = hf.hf_hub_download("org/data", "big.bin",
                                  cache_dir=lib.tempfile.mkdtemp(
                                      dir=os.environ["HF_HOME"]))
        equal(read(path) == data, True, rule)
        equal(hub.ctl()["rules"][0]["hits"], rule["times"])
    hub.clear()


def adopted(rig, hf, hub, home):
    """Everything the client has is read from where it lies."""
    for repo in (MINILM, "org/data"):
        top = hf.snapshot_download(repo)
        for n, want in REPOS[repo]["main"].items():
            equal(read(os.path.join(top, n)) == want, True, f"{repo}/{n}")
    hub.ctl(reset=True)
    m = rig.mount(hub, env={"HF_HOME": home})
    for repo in (MINILM, "org/data"):
        for n, want in REPOS[repo]["main"].items():
            equal(read(m.hf(repo, n)) == want, True, f"{repo}/{n}")
    equal(lib.xattr(m.hf("org/data/big.bin"), "state"), "verified")
    staged = m.hf(MINILM, "pytorch/model.onnx")
    equal(len(read(staged)), os.stat(staged).st_size)
    figure("content requests with the client's cache", hub.content(), "", 0)
    # Damage in the other cache is noticed, and the file fetched instead.
    cache = m.cache
    m.stop()
    blob = os.path.realpath(os.path.join(
        hf.snapshot_download("org/data"), "big.bin"))
    with open(blob, "r+b") as f:
        f.seek(1000)
        f.write(b"damage")
    m = rig.mount(hub, env={"HF_HOME": home})
    check(m.cache != cache, "a new cache")
    equal(read(m.hf("org/data/big.bin")) ==
          REPOS["org/data"]["main"]["big.bin"], True, "damaged blob")
    m.stop()


def run(rig):
    hub = rig.hub(REPOS, SETTINGS)
    home = rig.dir("hf")
    hf = client(hub, home)
    descriptions(hf, hub)
    names(hf, hub)
    refusals(hf)
    faults(hf, hub)
    print("# the client is content with the local hub", flush=True)
    adopted(rig, hf, hub, home)


lib.main(run)
