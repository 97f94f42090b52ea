#!/usr/bin/env python3
"""Programs of TorchScript and torch.export made by hand, staged by stage-dir:
which operators the graph has, and why there is none. Every seed of the fuzz
target is one case; the archives around them are whole, and broken."""
import importlib
import os
import subprocess
import sys
import tempfile

TOP = os.environ["SRCDIR"]
sys.path[:0] = [os.path.join(TOP, "tests/fuzz"),
                os.path.join(TOP, "tests/stage"),
                os.path.join(TOP, "contrib", "demo")]
import scripts  # noqa: E402
from messages import fields  # noqa: E402

seeds = importlib.import_module("seeds-script")
STAGE_DIR = os.path.join(os.environ["BUILDDIR"], "tests/oracle/stage-dir")
failures = 0

# What the reason has to say.
REASONS = {
    "bad-indent": "indented wrongly", "bad-string": "without end",
    "bad-number": "cannot be read", "bad-bracket": "',' is missing",
    "bad-subscript": "a subscript of 0 values",
    "bad-subscripts": "a subscript of 2 values",
    "bad-class": "')' is missing", "bad-nothing": "no forward",
    "bad-json": "models/model.json", "bad-weight": "no weight none",
    "unsupported-recursion": "nested too deeply",
    "unsupported-endless": "steps", "unsupported-many": "steps",
    "unsupported-growth": "a list of more than",
    "unsupported-nested": "nested too deeply",
    "unsupported-sizes": "too complicated",
    "unsupported-operator": "m.py:11: fft_fft: the operator is not handled",
    "unsupported-custom": "ops.mine.run is not known",
    "unsupported-arguments": "conv2d: these arguments",
    "unsupported-data": "taken out of a tensor",
    "unsupported-choice": "z: the elements of a tensor choose",
    "unsupported-write": "add_: what was there before is written",
    "unsupported-list": "what was there before is written",
    "unsupported-attribute": "what was there before is written",
    "unsupported-alias": "through another",
    "unsupported-index": "Gather can fail",
    "unsupported-divisor": "can fail where",
    "unsupported-while": "a loop by what is not known",
    "unsupported-size": "batch_size",
    "unsupported-state": "n of M changes", "unsupported-training":
    "dropout: in training mode", "unsupported-parameter": "a parameter",
    "unsupported-stale": "through another", "unsupported-atan":
    "atan2 has no form", "unsupported-raise": "\"always\"",
    "unsupported-input": "the input x", "unsupported-shape": "105",
    "unsupported-version": "schema version 9",
    "unsupported-mutation": "a buffer changes",
    "unsupported-target": "torch.ops.higher_order.cond",
    "unsupported-name": "nobody is not there",
}
OPERATORS = {
    "good-conv": ["Conv", "Relu"],
    "good-loop": ["Conv", "Add", "Add", "Add", "Relu", "Relu"],
    "good-branch": ["Conv", "Neg"],
    "good-squeeze": ["Conv", "Squeeze"],
    "good-choice": ["Conv", "ReduceSum", "Cast", "Not", "Neg", "Where",
                    "Where", "Cast", "Mul"],
    "good-shapes": None, "good-method": ["Conv", "Mul", "Relu"],
    "good-export": ["Conv", "Relu"], "good-unused": ["Conv"],
}


def operators(model):
    graph = next(v for n, v in fields(model) if n == 7)
    return [next(v for n, v in fields(node) if n == 4).decode()
            for number, node in fields(graph) if number == 1]


def stage(members, name="m.pt", prepare=None, want="m.onnx", more=()):
    with tempfile.TemporaryDirectory() as top:
        repo, out = os.path.join(top, "repo"), os.path.join(top, "out")
        os.makedirs(repo)
        os.makedirs(out)
        scripts.write(os.path.join(repo, name), members)
        for path, data in more:
            os.makedirs(os.path.dirname(os.path.join(repo, path)),
                        exist_ok=True)
            with open(os.path.join(repo, path), "w",
                      encoding="utf-8") as f:
                f.write(data)
        if prepare:
            prepare(os.path.join(repo, name))
        p = subprocess.run(
            [STAGE_DIR, repo, "13", out, want], capture_output=True,
            text=True, check=False, timeout=60, env=dict(
                os.environ, OMNIHUB_DATADIR=os.path.join(TOP, "nowhere")))
        model = os.path.join(out, want)
        if p.returncode or not os.path.exists(model):
            return p.returncode or 4, p.stderr
        with open(model, "rb") as f:
            return 0, f.read()


def check(name, ok, *what):
    global failures
    if not ok:
        failures += 1
        print("FAIL", name, *what)


def expect(name, got, reason):
    check(name, got[0] in (1, 3) and reason in got[1], got[0],
          got[1] if got[0] else "was staged", "| not:", reason)


def seed(name, code):
    got = stage(scripts.export(code) if code.startswith("{") else
                scripts.script(code))
    if not name.startswith("good"):
        expect(name, got, REASONS[name])
        return
    check(name, got[0] == 0, got[1] if got[0] else "")
    if not got[0] and OPERATORS[name]:
        check(name, operators(got[1]) == OPERATORS[name],
              operators(got[1]))


def archives():
    good = seeds.FILES["good-conv"]
    whole = scripts.script(good)
    got = stage(whole)
    check("weights", not got[0] and scripts.floats(scripts.W) in got[1])
    check("endings", stage(whole, "m.torchscript")[0] == 0)
    check("export", stage(scripts.export(seeds.FILES["good-export"]),
                          "m.pt2")[0] == 0)
    manifest = '{"model": {"serializedFile": "m.pt"}}'
    check("mar", stage(whole, want="model.onnx", more=[
        ("MAR-INF/MANIFEST.json", manifest)])[0] == 0)
    expect("no code", stage({k: v for k, v in whole.items()
                             if "code" not in k}), "code/__torch__/m.py")
    expect("no storage", stage({k: v for k, v in whole.items()
                                if k != "m/data/0"}), "no storage 0")
    expect("short storage", stage(dict(whole, **{"m/data/0": b"1234"})),
           "4 bytes, not 432")
    expect("big endian", stage(dict(whole, **{"m/byteorder": b"big"})),
           "big-endian")
    expect("strides", stage(scripts.script(good, scripts.module(
        w=scripts.tensor("0", (4, 3, 3, 3), 108, (1, 4, 12, 36))))),
        "not stored row by row")
    expect("a lie of the zip", stage(whole, prepare=lambda p: scripts.damaged(
        p, 4, b"\0\0\0\0\0\0\0\0")), "")
    expect("no module", stage(scripts.script(good, b"\x80\x02K\x01.")),
           "no module")
    expect("other class", stage(scripts.script(good, scripts.module(
        cls=b"__torch__.m\nN\n"))), "N has no forward")


def pickle_globals():
    """A global that is called in the pickle is a value of no kind: nothing is
    looked up, and who uses it is refused."""
    call = scripts.text("k") + b"cos\nsystem\n(" + scripts.text(
        "touch /tmp/x") + b"tR"
    data = scripts.module(call)
    check("global", stage(scripts.script(seeds.FILES["good-conv"],
                                         data))[0] == 0)
    expect("use of it", stage(scripts.script(seeds.forward(
        seeds.CONV, "return torch.add(y, self.k)"), data)),
        "a value of an unknown kind")


for case, source in seeds.FILES.items():
    seed(case, source)
archives()
pickle_globals()
sys.exit(1 if failures else 0)
