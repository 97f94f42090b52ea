"""--demo: the main job with no network at all."""
import os

import lib
from lib import BERT, MINILM, SST2, check, equal, figure, read


def run(rig):
    m = rig.mount(None, "--demo")
    for path in ("bert-base", "bert-base-uncased", BERT, MINILM, SST2):
        staged = m.hf(path, "pytorch/model.onnx")
        size = os.stat(staged).st_size
        data = read(staged)
        equal(len(data), size, staged)
        figure(f"{path}/pytorch/model.onnx", size, "bytes")
        # ONNX begins with ir_version, field 1 as a varint.
        equal(data[0], 0x08, "first byte")
        check(b"input_ids" in data and b"MatMul" in data, "no graph in it")
    equal(read(m.hf("bert-base/pytorch/model.onnx")) ==
          read(m.hf(BERT, "pytorch/model.onnx")), True, "alias")
    equal(read(m.hf(MINILM, "config.json")),
          lib.models.minilm(MINILM)["config.json"])
    check(set(os.listdir(m.hf("google-bert"))) == {"bert-base-uncased"},
          os.listdir(m.hf("google-bert")))
    # A repository's weights are regular files beside the staged model.
    equal(read(m.hf(BERT, "pytorch/model.safetensors")) ==
          read(m.hf(BERT, "model.safetensors")), True, "weights beside")


lib.main(run)
