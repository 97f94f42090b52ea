"""Names that stand in files: which graphs a model is, which signatures a
SavedModel has. They are asked for when somebody looks into the directory, not
by who looks at the repository, and once."""
import errno
import importlib
import os
import struct
import sys

import lib
from lib import check, equal, models, raises, read

sys.path.insert(0, os.path.join(lib.SRCDIR, "tests", "fuzz"))
saved = importlib.import_module("seeds-savedmodel")
sstable = importlib.import_module("seeds-sstable")

WIDTH, HEADS, INNER, WORDS = 8, 2, 12, 20
GRAPHS = [f"{part}{kind}" for part in
          ("decoder_model", "decoder_with_past_model", "encoder_model")
          for kind in (".onnx", "_fp16.onnx", "_int8.onnx", "_skeleton.onnx",
                       "_external.onnx", "_external.onnx_data",
                       "_trainable.onnx")]


def t5():
    """A T5 of one layer a side."""
    w = models.Weights("t5")
    w.add("shared.weight", WORDS, WIDTH)
    for side, halves in (("encoder", ("SelfAttention",)),
                         ("decoder", ("SelfAttention", "EncDecAttention"))):
        p = f"{side}.block.0.layer"
        for i, half in enumerate(halves):
            for m in "qkvo":
                w.add(f"{p}.{i}.{half}.{m}.weight", WIDTH, WIDTH)
            w.add(f"{p}.{i}.layer_norm.weight", WIDTH)
        w.add(f"{p}.0.SelfAttention.relative_attention_bias.weight", 32,
              HEADS)
        n = len(halves)
        w.add(f"{p}.{n}.DenseReluDense.wi.weight", INNER, WIDTH)
        w.add(f"{p}.{n}.DenseReluDense.wo.weight", WIDTH, INNER)
        w.add(f"{p}.{n}.layer_norm.weight", WIDTH)
        w.add(f"{side}.final_layer_norm.weight", WIDTH)
    return {"model.safetensors": w.safetensors(), "config.json": models.pretty({
        "model_type": "t5", "architectures": ["T5ForConditionalGeneration"],
        "is_encoder_decoder": True, "vocab_size": WORDS, "d_model": WIDTH,
        "d_kv": WIDTH // HEADS, "d_ff": INNER, "num_layers": 1,
        "num_heads": HEADS})}


def savedmodel(below):
    def tensor(dims, off, size):
        shape = b"".join(saved.msg(2, saved.num(1, d)) for d in dims)
        return saved.num(1, 1) + saved.msg(2, shape) + saved.num(4, off) + \
            saved.num(5, size)
    index = [(b"", b"\x08\x01"), (b"b", tensor([3], 24, 12)),
             (b"w", tensor([2, 3], 0, 24))]
    return {f"{below}saved_model.pb": saved.FILES["good-tf2"],
            f"{below}variables/variables.index": sstable.table([index]),
            f"{below}variables/variables.data-00000-of-00001":
                struct.pack("<9f", *range(9))}


def of_a_model(rig, hub):
    m = rig.mount(hub)
    before = hub.content()
    equal(sorted(os.listdir(m.hf("org/t5"))),
          ["config.json", "model.safetensors", "pytorch", "tensorflow"])
    os.stat(m.hf("org/t5/pytorch/model.safetensors"))
    equal(hub.content(), before, "requests for content by ls")
    equal(sorted(os.listdir(m.hf("org/t5/pytorch"))),
          sorted(GRAPHS + ["model.safetensors"]))
    equal(hub.content(), before + 1, "requests for content by ls pytorch")
    with raises(errno.ENOENT):
        os.stat(m.hf("org/t5/pytorch/model.onnx"))
    equal(hub.content(), before + 1, "requests for content by ENOENT")
    for name in GRAPHS:
        data = read(m.hf("org/t5/pytorch", name))
        equal(len(data), os.stat(m.hf("org/t5/pytorch", name)).st_size, name)
        check(b"text2text-generation" in data or
              name.endswith("_data"), name)
    data = read(m.hf("org/t5/pytorch/decoder_with_past_model.onnx"))
    check(b"past_key_values.0.encoder.value" in data, "the past")
    m.stop()
    # The index knows them.
    m = rig.mount(None, "--offline", cache=m.cache)
    equal(sorted(os.listdir(m.hf("org/t5/pytorch"))),
          sorted(GRAPHS + ["model.safetensors"]))
    m.stop()


def of_one_graph(rig, hub):
    """Asked for by name before anything else."""
    m = rig.mount(hub)
    check(b"past_key_values" not in
          read(m.hf("org/t5/pytorch/encoder_model.onnx")), "the encoder")
    m.stop()


def of_savedmodels(rig, hub):
    m = rig.mount(hub)
    equal(sorted(os.listdir(m.hf("org/tf"))),
          ["deep", "saved_model.pb", "tensorflow", "variables"])
    equal(sorted(os.listdir(m.hf("org/tf/tensorflow"))),
          ["model.pb", "serving_default.pb"])
    equal(os.listdir(m.hf("org/tf/deep/frozen")), ["serving_default.pb"])
    equal(read(m.hf("org/tf/tensorflow/model.pb")),
          read(m.hf("org/tf/deep/frozen/serving_default.pb")))
    with raises(errno.ENOENT):
        os.stat(m.hf("org/tf/deep/frozen/other.pb"))
    # Not shown, as not every graph has weights to train.
    check(b"trainable_variables" in
          read(m.hf("org/tf/tensorflow/model_trainable.pb")), "variables")
    equal(read(m.hf("org/tf/tensorflow/model_trainable.pb")),
          read(m.hf("org/tf/deep/frozen/serving_default_trainable.pb")))
    m.stop()


def unreachable(rig, hub):
    """The listing is here, config.json is not: no word about the names."""
    m = rig.mount(hub)
    os.listdir(m.hf("org/t5"))
    m.stop()
    m = rig.mount(None, "--offline", cache=m.cache)
    check("model.safetensors" in os.listdir(m.hf("org/t5/pytorch")),
          "ls pytorch, offline")
    with raises(errno.EHOSTUNREACH):
        os.stat(m.hf("org/t5/pytorch/encoder_model.onnx"))
    m.stop()


def run(rig):
    hub = rig.hub({"org/t5": {"main": t5()},
                   "org/tf": {"main": {**savedmodel(""),
                                       **savedmodel("deep/")}}})
    of_a_model(rig, hub)
    of_one_graph(rig, hub)
    of_savedmodels(rig, hub)
    unreachable(rig, hub)


lib.main(run)
