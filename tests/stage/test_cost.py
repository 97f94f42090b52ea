#!/usr/bin/env python3
"""What planning costs: under 1 % of the weights' bytes and under 128 MiB of
memory, for models as large as people's. The weights are holes in files. The
milliseconds are printed and not judged: other work shares the machine.
"""
import collections
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checkpoints import Tensor, torch_zip  # noqa: E402

SRCDIR = os.environ.get("SRCDIR", ".")
PROGRAM = os.path.join(os.environ.get("BUILDDIR", "."),
                       "tests/unit/stage-cost")
SHARE, MEMORY = 0.01, 128 << 10     # of the bytes; KiB


def safetensors(path, shapes, dtype="F32", width=4):
    header, at = {}, 0
    for name, shape in shapes.items():
        n = width
        for d in shape:
            n *= d
        header[name] = {"dtype": dtype, "shape": list(shape),
                        "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + at)


def bert():
    h, inner, shapes = 768, 3072, {}

    def add(name, *shape, bias=True):
        shapes[name + ".weight"] = shape
        if bias:
            shapes[name + ".bias"] = shape[:1]
    for kind, n in (("word", 30522), ("position", 512), ("token_type", 2)):
        add(f"embeddings.{kind}_embeddings", n, h, bias=False)
    add("embeddings.LayerNorm", h)
    for i in range(12):
        p = f"encoder.layer.{i}."
        for m in ("query", "key", "value"):
            add(f"{p}attention.self.{m}", h, h)
        add(p + "attention.output.dense", h, h)
        add(p + "attention.output.LayerNorm", h)
        add(p + "intermediate.dense", inner, h)
        add(p + "output.dense", h, inner)
        add(p + "output.LayerNorm", h)
    add("pooler.dense", h, h)
    return shapes


def llama():
    """7B as it was published: 32 layers, float16, in shards."""
    h, inner, words = 4096, 11008, 32000
    layers = []
    for i in range(32):
        p = f"model.layers.{i}."
        layers.append({
            **{f"{p}self_attn.{m}_proj.weight": (h, h) for m in "qkvo"},
            p + "mlp.gate_proj.weight": (inner, h),
            p + "mlp.up_proj.weight": (inner, h),
            p + "mlp.down_proj.weight": (h, inner),
            p + "input_layernorm.weight": (h,),
            p + "post_attention_layernorm.weight": (h,)})
    layers[0]["model.embed_tokens.weight"] = (words, h)
    layers[-1]["model.norm.weight"] = (h,)
    layers[-1]["lm_head.weight"] = (words, h)
    return layers


def resnet50():
    out = collections.OrderedDict()

    def conv(name, *shape):
        out[name + ".weight"] = shape

    def norm(name, n):
        for part in ("weight", "bias", "running_mean", "running_var"):
            out[f"{name}.{part}"] = (n,)
        out[name + ".num_batches_tracked"] = ()
    conv("conv1", 64, 3, 7, 7)
    norm("bn1", 64)
    wide = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        n = 64 << stage
        for b in range(blocks):
            p = f"layer{stage + 1}.{b}."
            for i, shape in enumerate(((n, wide, 1, 1), (n, n, 3, 3),
                                       (4 * n, n, 1, 1))):
                conv(f"{p}conv{i + 1}", *shape)
                norm(f"{p}bn{i + 1}", shape[0])
            if not b:
                conv(p + "downsample.0", 4 * n, wide, 1, 1)
                norm(p + "downsample.1", 4 * n)
            wide = 4 * n
    out["fc.weight"], out["fc.bias"] = (1000, 2048), (1000,)
    return out


def config(path, **keys):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(keys, f)


def make_bert(top):
    config(os.path.join(top, "config.json"), model_type="bert",
           architectures=["BertModel"], hidden_size=768, num_hidden_layers=12,
           num_attention_heads=12, intermediate_size=3072, vocab_size=30522,
           max_position_embeddings=512, type_vocab_size=2,
           hidden_act="gelu", layer_norm_eps=1e-12)
    safetensors(os.path.join(top, "model.safetensors"), bert())
    return "huggingface", ["config.json", "model.safetensors"]


def make_llama(top):
    config(os.path.join(top, "config.json"), model_type="llama",
           architectures=["LlamaForCausalLM"], hidden_size=4096,
           num_hidden_layers=32, num_attention_heads=32,
           num_key_value_heads=32, intermediate_size=11008,
           vocab_size=32000, max_position_embeddings=4096,
           hidden_act="silu", rms_norm_eps=1e-5, rope_theta=10000.0,
           tie_word_embeddings=False)
    layers, shards, where = llama(), 8, {}
    names = []
    for i in range(shards):
        name = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        shapes = {}
        for layer in layers[i * 4:i * 4 + 4]:
            shapes.update(layer)
        safetensors(os.path.join(top, name), shapes, "F16", 2)
        where.update(dict.fromkeys(shapes, name))
        names.append(name)
    config(os.path.join(top, "model.safetensors.index.json"),
           weight_map=where)
    return "huggingface", ["config.json", "model.safetensors.index.json",
                           *names]


def make_resnet(top):
    os.mkdir(os.path.join(top, "resnet50"))
    state = collections.OrderedDict()
    for name, shape in resnet50().items():
        n = 1
        for d in shape:
            n *= d
        kind, width = ("Float", 4) if shape else ("Long", 8)
        state[name] = Tensor(kind, list(shape), data=bytes(width * n))
    with open(os.path.join(top, "resnet50", "w.pth"), "wb") as f:
        f.write(torch_zip(state))
    return "pytorch/torchvision", ["resnet50/w.pth"]


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def make_onnx(top):
    """An ONNX file with BERT's tensors: what it is made of lies all over."""
    nodes = tensors = b""
    parts, size = [], 0
    for i, (name, shape) in enumerate(bert().items()):
        nodes += field(1, field(1, name) + field(2, f"y{i}") +
                       field(4, "Neg") + field(3, "a longer name " * 8))
        n = 4
        for d in shape:
            n *= d
        head = b"".join(field(1, d) for d in shape) + field(2, 1) + \
            field(8, name) + varint(9 << 3 | 2) + varint(n)
        head = varint(5 << 3 | 2) + varint(len(head) + n) + head
        parts.append((head, n))
        size += len(head) + n
    with open(os.path.join(top, "model.onnx"), "wb") as f:
        f.write(field(1, 8) + field(8, field(2, 13)) + varint(7 << 3 | 2) +
                varint(len(nodes) + size) + nodes + tensors)
        for head, n in parts:
            f.write(head)
            f.seek(n, os.SEEK_CUR)
        f.truncate(f.tell())
    return "huggingface", ["model.onnx"]


CASES = (
    ("BERT-base", make_bert, ("pytorch/model.onnx", "pytorch/model_fp16.onnx",
                              "pytorch/model_int8.onnx",
                              "pytorch/model_skeleton.onnx")),
    ("ResNet-50", make_resnet, ("resnet50/model.onnx",
                                "resnet50/model_int8.onnx")),
    ("7B in shards", make_llama, ("pytorch/model.onnx",
                                  "pytorch/model_skeleton.onnx")),
    ("an ONNX file", make_onnx, ("model_int8.onnx", "model_skeleton.onnx")),
)


def main():
    failed = 0
    env = dict(os.environ)
    env["OMNIHUB_DATADIR"] = tempfile.mkdtemp(prefix="cost-data-")
    os.symlink(os.path.abspath(os.path.join(SRCDIR, "stage", "blueprints")),
               os.path.join(env["OMNIHUB_DATADIR"], "blueprints"))
    for name, make, paths in CASES:
        top = tempfile.mkdtemp(prefix="cost-")
        hub, files = make(top)
        for path in paths:
            done = subprocess.run([PROGRAM, top, hub, path, *files],
                                  env=env, text=True, capture_output=True,
                                  timeout=120, check=False)
            if done.returncode:
                print(f"FAIL {name} {path}: {done.stderr.strip()}")
                failed += 1
                continue
            cost = json.loads(done.stdout)
            share = cost["read"] / cost["total"]
            bad = share >= SHARE or cost["kib"] >= MEMORY
            failed += bad
            print(f"{'FAIL' if bad else 'ok  '} {name:13} {path:29}"
                  f"{cost['total'] / 1e6:8.0f} MB, read {cost['read']:8} "
                  f"bytes ({share:.3%}) in {cost['reads']:4} reads, "
                  f"{cost['ms']:5.0f} ms, {cost['kib'] / 1024:5.1f} MiB")
        shutil.rmtree(top)
    shutil.rmtree(env["OMNIHUB_DATADIR"])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
