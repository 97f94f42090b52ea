"""Random-weight models of transformers in the layout of a Hugging Face
repository, in every file form that checkpoints come in.

Nothing that matters may be zero or one by initialisation: a graph that left
out a bias or a LayerNorm weight would pass. So every parameter is drawn again.
"""
import json
import os

import torch
import transformers


def randomise(model, seed):
    gen = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=gen, dtype=torch.float32)
            norm = "norm" in name.lower() and name.endswith("weight")
            p.copy_(1 + 0.3 * noise if norm else 0.15 * noise)


def build(cls, config, seed=0):
    torch.manual_seed(seed)
    model = getattr(transformers, cls)(config)
    randomise(model, seed)
    model.tie_weights()
    return model.eval()


def write_config(model, path, **changes):
    """config.json; a change to None takes the key out, one to ... is null."""
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(path)
    name = os.path.join(path, "config.json")
    with open(name, encoding="utf-8") as f:
        config = json.load(f)
    config.update(changes)
    config = {k: None if v is ... else v for k, v in config.items()
              if v is not None}
    with open(name, "w", encoding="utf-8") as f:
        json.dump(config, f)


def state_of(model):
    """What save_pretrained keeps: tied weights once."""
    tied = set(getattr(model, "all_tied_weights_keys", {}) or {})
    return {k: v.contiguous() for k, v in model.state_dict().items()
            if k not in tied}


def shards_of(state, count):
    names = sorted(state)
    return [{k: state[k] for k in names[i::count]} for i in range(count)]


def write_weights(state, path, form):
    """form: safetensors, bin, or either with -sharded."""
    from safetensors.torch import save_file
    kind, _, sharded = form.partition("-")
    stem, ext = {"safetensors": ("model", "safetensors"),
                 "bin": ("pytorch_model", "bin")}[kind]

    def write(part, name):
        full = os.path.join(path, name)
        if kind == "bin":
            torch.save(part, full)
        else:
            save_file(part, full, metadata={"format": "pt"})

    if not sharded:
        write(state, f"{stem}.{ext}")
        return
    parts = shards_of(state, 3)
    index = {"metadata": {}, "weight_map": {}}
    for i, part in enumerate(parts, 1):
        name = f"{stem}-{i:05d}-of-{len(parts):05d}.{ext}"
        write(part, name)
        index["weight_map"].update({k: name for k in part})
    with open(os.path.join(path, f"{stem}.{ext}.index.json"), "w",
              encoding="utf-8") as f:
        json.dump(index, f)


def write_repo(model, path, form="safetensors", rename=None, drop=None,
               extra=None, **changes):
    """The repository; rename(name) names the weights otherwise, drop(name)
    leaves some out, extra adds some."""
    os.makedirs(path, exist_ok=True)
    write_config(model, path, **changes)
    state = state_of(model)
    if drop:
        state = {k: v for k, v in state.items() if not drop(k)}
    if rename:
        state = {rename(k): v for k, v in state.items()}
    state.update(extra or {})
    write_weights(state, path, form)


def write_json(path, name, value):
    full = os.path.join(path, name)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as f:
        json.dump(value, f)


def write_sentence(path, modes=("mean",), normalize=True):
    """What sentence-transformers puts beside a model."""
    names = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if normalize:
        names.append(("2_Normalize", "Normalize"))
    write_json(path, "modules.json", [
        {"idx": i, "name": str(i), "path": where,
         "type": f"sentence_transformers.models.{kind}"}
        for i, (where, kind) in enumerate(names)])
    flags = {"cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens",
             "mean": "pooling_mode_mean_tokens",
             "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens"}
    write_json(path, "1_Pooling/config.json", {
        "word_embedding_dimension": 32,
        **{flag: mode in modes for mode, flag in flags.items()}})
