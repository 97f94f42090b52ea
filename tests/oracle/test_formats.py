"""What torch.save and safetensors write, read back by our readers: every
element type, ties, views, nesting; and what has to be refused.

Needs Python with what requirements.txt names (make check-oracle).
"""
import collections
import hashlib
import os
import subprocess
import sys
import tempfile

import torch

PROGRAM = os.path.join(os.environ.get("BUILDDIR", "."),
                       "tests/unit/stage-tensors")
NAMES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16",
         torch.float64: "f64", torch.int64: "i64", torch.int32: "i32",
         torch.int16: "i16", torch.int8: "i8", torch.uint8: "u8",
         torch.bool: "bool", torch.complex64: "c64",
         torch.float8_e4m3fn: "f8e4m3", torch.float8_e5m2: "f8e5m2",
         torch.uint16: "u16", torch.uint32: "u32", torch.uint64: "u64"}
wrong = 0


def line(name, t):
    raw = t.detach().contiguous().reshape(-1).view(torch.uint8) \
        if t.numel() else torch.empty(0, dtype=torch.uint8)
    dims = ",".join(str(d) for d in t.shape)
    return (f"{name} {NAMES[t.dtype]} [{dims}] "
            f"{hashlib.sha256(raw.numpy().tobytes()).hexdigest()}")


def run(path):
    p = subprocess.run([PROGRAM, path], text=True, stdout=subprocess.PIPE,
                       timeout=60)
    return p.returncode, p.stdout.splitlines()


def expect(what, path, answer):
    """answer: {name: tensor}, or the error's first word and a word of it."""
    global wrong
    code, out = run(path)
    if isinstance(answer, dict):
        ok = code == 0 and out == [line(k, v) for k, v in sorted(
            answer.items(), key=lambda kv: kv[0].encode())]
    else:
        ok = code == 1 and out[0].startswith(answer[0]) and \
            answer[1] in out[0]
    if not ok:
        wrong += 1
        print(f"{what}: exit {code}", *out[:4], sep="\n")


def every_type():
    torch.manual_seed(1)
    model = collections.OrderedDict()
    for t, name in NAMES.items():
        model["x." + name] = (torch.rand(3, 5) * 100).to(t)
    model["scalar"] = torch.tensor(7)
    model["none"] = torch.empty(0, 4)
    return model


def real_module():
    m = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8),
        torch.nn.Linear(8, 8), torch.nn.MultiheadAttention(8, 2),
        torch.nn.LSTM(8, 4, 2))
    m[2].weight = m[3].out_proj.weight      # tied
    return m.bfloat16()


def save_all(top):
    n = 0

    def save(value, **how):
        nonlocal n
        n += 1
        path = os.path.join(top, f"m{n}.pth")
        torch.save(value, path, **how)
        return path

    legacy = {"_use_new_zipfile_serialization": False}
    model, module = every_type(), real_module()
    state = module.state_dict()
    base = torch.arange(60, dtype=torch.float32).reshape(6, 10)
    views = {"whole": base, "rows": base[2:4], "row": base[5],
             "one": base[3:4, 4:5], "tail": base.flatten()[55:]}
    wrapped = {"epoch": 1, "state_dict": state, "optimizer": torch.optim.Adam(
        module.parameters()).state_dict(), "best": torch.tensor(0.5)}
    for how in ({}, legacy, {"pickle_protocol": 4}):
        for what, value, tensors in (
                ("types", model, model), ("state_dict", state, state),
                ("parameters", dict(module.named_parameters()),
                 dict(module.named_parameters())),
                ("wrapped", wrapped, state), ("views", views, views),
                ("nested", {"model": {"state_dict": state}}, state)):
            if how is legacy and what == "types":
                # The older form has no storages of the newest types.
                value = tensors = {k: v for k, v in model.items() if not
                                   k.endswith(("f8e4m3", "f8e5m2", "u16",
                                               "u32", "u64"))}
            expect(f"{what} {how}", save(value, **how), tensors)
        for what, value, answer in (
                ("transposed", {"w": base.t()}, ("EOPNOTSUPP", "w is not")),
                ("columns", {"w": base[:, 1:3]}, ("EOPNOTSUPP", "w is not")),
                ("expanded", {"w": base[:1].expand(4, 10)},
                 ("EOPNOTSUPP", "w is not")),
                ("sparse", {"w": base.to_sparse()}, ("EOPNOTSUPP", "w is")),
                ("quantized", {"w": torch.quantize_per_tensor(
                    base, 0.1, 0, torch.qint8)}, ("EOPNOTSUPP", "not read")),
                ("meta", {"w": base.to("meta")}, ("EOPNOTSUPP", "w is")),
                ("module", module, ("EOPNOTSUPP", "module")),
                ("channels_last", {"w": torch.rand(2, 3, 4, 5).to(
                    memory_format=torch.channels_last)},
                 ("EOPNOTSUPP", "w is not"))):
            if how is not legacy or what != "meta":
                expect(f"{what} {how}", save(value, **how), answer)


def script_archive(top):
    path = os.path.join(top, "script.pt")
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    expect("TorchScript", path, ("EOPNOTSUPP", "TorchScript"))


def safetensors_files(top):
    from safetensors.torch import save_file
    path = os.path.join(top, "m.safetensors")
    model = {k: v for k, v in every_type().items()}
    save_file(model, path, metadata={"format": "pt"})
    expect("safetensors", path, model)


def main():
    with tempfile.TemporaryDirectory() as top:
        save_all(top)
        script_archive(top)
        safetensors_files(top)
    print("wrong:", wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
