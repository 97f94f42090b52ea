"""Small files of the hubs that have no API, each with a catalogue of its own:
the layers, names and formats are those of the real ones, the widths are not.
Standard library only. HUBS maps a hub to a function that returns its files
{path: bytes} and the rows of its catalogue.
"""
import hashlib
import io
import json
import zipfile

import hdf5
from models import Weights, pretty

PYTORCH = "https://download.pytorch.org/"
GOOGLE = "https://storage.googleapis.com/"
SERVE = "https://torchserve.pytorch.org/"
CLASSES = 10


def batch_norm(w, name, n):
    w.add(name + ".weight", n, around=1.0)
    w.add(name + ".bias", n)
    w.add(name + ".running_mean", n)
    w.add(name + ".running_var", n, around=1.0)


def resnet18(widths):
    """Names as torchvision's resnet18 has them."""
    w = Weights("resnet18")
    w.add("conv1.weight", widths[0], 3, 7, 7)
    batch_norm(w, "bn1", widths[0])
    n_in = widths[0]
    for stage, n in enumerate(widths, 1):
        for block in range(2):
            p = f"layer{stage}.{block}."
            w.add(p + "conv1.weight", n, n_in, 3, 3)
            batch_norm(w, p + "bn1", n)
            w.add(p + "conv2.weight", n, n, 3, 3)
            batch_norm(w, p + "bn2", n)
            if stage > 1 and block == 0:
                w.add(p + "downsample.0.weight", n, n_in, 1, 1)
                batch_norm(w, p + "downsample.1", n)
            n_in = n
    w.linear("fc", widths[-1], CLASSES)
    return w


def torchvision():
    data = resnet18((4, 8, 12, 16)).torch_zip()
    digest = hashlib.sha256(data).hexdigest()[:8]
    path = f"models/resnet18-{digest}.pth"
    return {path: data}, [
        ("model", "url", "digest", "what", "default"),
        ("resnet18", PYTORCH + path, "sha256:" + digest,
         "a narrow ResNet-18", "yes")]


def mobilenet():
    """Names as keras.applications.MobileNet has them, one block deep."""
    w = Weights("mobilenet")
    w.add("conv1/kernel:0", 3, 3, 3, 4)
    w.add("conv_dw_1/depthwise_kernel:0", 3, 3, 4, 1)
    w.add("conv_pw_1/kernel:0", 1, 1, 4, 8)
    w.add("conv_preds/kernel:0", 1, 1, 8, CLASSES)
    w.add("conv_preds/bias:0", CLASSES)
    for name, n in (("conv1_bn", 4), ("conv_dw_1_bn", 4), ("conv_pw_1_bn", 8)):
        for part, around in (("gamma", 1.0), ("beta", 0.0),
                             ("moving_mean", 0.0), ("moving_variance", 1.0)):
            w.add(f"{name}/{part}:0", n, around=around)
    layers = ["input_1", "conv1", "conv1_bn", "conv1_relu", "conv_dw_1",
              "conv_dw_1_bn", "conv_dw_1_relu", "conv_pw_1", "conv_pw_1_bn",
              "conv_pw_1_relu", "global_average_pooling2d", "conv_preds"]
    return hdf5.keras_weights([
        (layer, [(n.partition("/")[2], shape, data)
                 for n, (shape, data) in w.tensors.items()
                 if n.startswith(layer + "/")]) for layer in layers])


def keras():
    data = mobilenet()
    path = "tensorflow/keras-applications/mobilenet/mobilenet_demo_tf.h5"
    return {path: data}, [
        ("model", "url", "digest", "what"),
        ("MobileNet", GOOGLE + path, "md5:" + hashlib.md5(data).hexdigest(),
         "one block of MobileNet")]


def archive(name, members):
    """What torch-model-archiver writes; dated the same on every run."""
    out = io.BytesIO()
    manifest = {"createdOn": "01/01/2024 00:00:00", "runtime": "python",
                "model": {"modelName": name, "serializedFile": "weights.pth",
                          "handler": "image_classifier", "modelFile":
                          "model.py", "modelVersion": "1.0"},
                "archiverVersion": "0.12.0"}
    members = {**members, "MAR-INF/MANIFEST.json": pretty(manifest)}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for path, data in members.items():
            info = zipfile.ZipInfo(path)
            info.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(info, data)
    return out.getvalue()


def torchserve():
    names = {str(i): f"class {i}" for i in range(CLASSES)}
    data = archive("resnet-18", {
        "weights.pth": resnet18((4, 4, 4, 4)).torch_zip(),
        "model.py": b"from torchvision.models.resnet import BasicBlock\n",
        "index_to_name.json": json.dumps(names).encode()})
    return {"mar_files/resnet-18.mar": data}, [
        ("url", "what"), (SERVE + "mar_files/resnet-18.mar",
                          "a narrow ResNet-18")]


HUBS = {"torchvision": torchvision, "keras": keras, "torchserve": torchserve}
