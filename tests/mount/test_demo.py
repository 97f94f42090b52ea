"""--demo: the main job with no network at all."""
import errno
import hashlib
import io
import os
import subprocess
import zipfile

import lib  # first: it finds the modules of the demo
import saved
import zoo
from lib import BERT, MINILM, SST2, check, equal, figure, read


def walk(m):
    """All that is shown is there."""
    for tool in (["find"], ["du", "-s"]):
        p = subprocess.run([*tool, m.at], capture_output=True, text=True,
                           check=False, timeout=40)
        equal((p.returncode, p.stderr), (0, ""), tool)


def run(rig):
    m = rig.mount(None, "--demo")
    walk(m)
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
    for path, data in zoo.FILES.items():
        equal(read(m.path("onnx", path)) == data, True, path)
    equal(sorted(os.listdir(m.path("onnx", zoo.TOP, "mnist-8"))),
          ["mnist-8.onnx", "test_data_set_0"])
    static(m)
    moved(m)
    locked(rig)


def moved(m):
    """TensorFlow Hub, whose models are at Kaggle."""
    name = f"{saved.OWNER}/{saved.MODEL}"
    model = f"kaggle/{name}/{saved.FRAMEWORK}/{saved.VARIATION}"
    equal(os.listdir(m.path("kaggle", saved.OWNER)), [saved.MODEL])
    for at in (model, f"tensorflow/{name}"):
        check("1.tar.gz" in os.listdir(m.path(at)), at)
        for n, data in saved.FILES.items():
            equal(read(m.path(at, "1", n)), data, f"{at}: {n}")
            equal(read(m.path(at, n)), data, f"newest of {at}: {n}")
        equal(read(m.path(at, "1.tar.gz")), saved.archive(), at)
        data = read(m.path(at, "1/frozen/serving_default.pb"))
        equal(len(data), os.stat(m.path(
            at, "1/frozen/serving_default.pb")).st_size, at)
        check(b"AddV2" in data and b"Placeholder" in data, at)


def static(m):
    """The hubs of files without an API have one each."""
    at = m.path("pytorch/torchvision/resnet18")
    name, = (n for n in os.listdir(at) if n.endswith(".pth"))
    data = read(os.path.join(at, name))
    equal(name, f"resnet18-{hashlib.sha256(data).hexdigest()[:8]}.pth")
    # The hub told eight digits of it.
    equal(lib.xattr(os.path.join(at, name), "sha256"),
          hashlib.sha256(data).hexdigest())
    check("archive/data.pkl" in zipfile.ZipFile(io.BytesIO(data)).namelist())
    model = read(os.path.join(at, "model.onnx"))
    equal(read(os.path.join(at, name[:-4] + ".onnx")) == model, True)
    check(b"pixel_values" in model and b"layer4.1.conv2.weight" in model)
    data = read(m.path("keras/MobileNet/mobilenet_demo_tf.h5"))
    equal(data[:8], b"\x89HDF\r\n\x1a\n")
    equal(int.from_bytes(data[40:48], "little"), len(data), "end of file")
    data = read(m.path("pytorch/torchserve/resnet-18.mar"))
    check("MAR-INF/MANIFEST.json" in
          zipfile.ZipFile(io.BytesIO(data)).namelist())


def locked(rig):
    """Where a hub tells neither size nor digest, a lock file has that of the
    bytes that are here, and later ones are held to it."""
    cache, lock = rig.dir("cache"), os.path.join(rig.top, "models.lock")
    inner = "pytorch/torchvision/resnet18/"
    demo = ("--demo", "--cache", cache)
    names = rig.run(lib.OMNIHUB, "ls", *demo, inner).split()
    inner += [n for n in names if n.endswith(".pth")][0]
    pin = (lib.OMNIHUB, "pin", *demo, "--file", lock)
    said = rig.run(*pin, "pytorch/torchvision")
    check("1 of them without SHA-256" in said, said)
    rig.run(lib.OMNIHUB, "get", *demo, inner)
    said = rig.run(*pin, "pytorch/torchvision")
    check("without SHA-256" not in said, said)
    rig.run(*pin, "--check")
    m = rig.mount(None, "--demo", "--lock", lock)
    data = read(m.path(inner))
    sha = "sha256:" + hashlib.sha256(data).hexdigest()
    check(sha.encode() in read(lock), read(lock))
    m.stop()
    with open(lock, encoding="utf-8") as f:
        text = f.read()
    # The same first digits, another file.
    with open(lock, "w", encoding="utf-8") as f:
        f.write(text.replace(sha, sha[:-8] + "00000000"))
    m = rig.mount(None, "--demo", "--lock", lock)
    with lib.raises(errno.EIO):
        read(m.path(inner))
    m.stop()


lib.main(run)
