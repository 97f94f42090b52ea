"""What the hubs of static files have, for the tests that mount them."""
import hashlib
import os
import sys

from lib import SRCDIR

sys.path.insert(0, os.path.join(SRCDIR, "contrib", "demo"))
import hdf5  # noqa: E402
from models import Weights  # noqa: E402

BASE = {"torchvision": "https://download.pytorch.org/",
        "keras": "https://storage.googleapis.com/",
        "torchserve": "https://torchserve.pytorch.org/"}
PLACE = {"torchvision": "pytorch/torchvision", "keras": "keras",
         "torchserve": "pytorch/torchserve"}
STORE = {"torchvision": "torchvision", "keras": "storage",
         "torchserve": "torchserve"}
S3 = "https://torchserve.s3.amazonaws.com/"


class Files:
    """What the hubs have beside their catalogues: [(hub, model, path below
    its base, bytes, digest column)], as rows of the user's own and on disk."""

    def __init__(self):
        self.rows, self.disk, self.data = {}, {}, {}

    def add(self, hub, model, path, data, digest="-", store=None):
        self.rows.setdefault(hub, []).append(
            "\t".join((model, BASE[hub] + path, digest)))
        if data is not None:
            self.disk[f"{store or STORE[hub]}/{path}"] = data
        at = os.path.join(PLACE[hub], "" if model == "-" else model,
                          path.rpartition("/")[2])
        self.data[at] = data
        return at

    def write(self, rig):
        top = os.path.join(rig.top, "home/.config/omnihub/catalogues")
        os.makedirs(top, exist_ok=True)
        for hub, rows in self.rows.items():
            with open(os.path.join(top, hub + ".tsv"), "w",
                      encoding="ascii") as f:
                f.write("model\turl\tdigest\n" + "\n".join(rows) + "\n")


def mobilenet(seed, part=1, **how):
    """What keras calls mobilenet_1_0_224_tf.h5, always as long; with a fourth
    `part` of its channels mobilenet_2_5_224_tf.h5."""
    w, layers = Weights(seed), []

    def layer(name, *parts):
        for part, dims, around in parts:
            w.add(f"{name}/{part}:0", *dims, around=around)
        layers.append((name, [(f"{part}:0", *w.tensors[f"{name}/{part}:0"])
                              for part, _, _ in parts]))

    def norm(name, n):
        layer(name, *((part, (n,), around) for part, around in (
            ("gamma", 1.0), ("beta", 0.0), ("moving_mean", 0.0),
            ("moving_variance", 1.0))))

    n = 32 // part
    layer("conv1", ("kernel", (3, 3, 3, n), 0.0))
    norm("conv1_bn", n)
    for i, to in enumerate(c // part for c in (
            64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)):
        layer(f"conv_dw_{i + 1}", ("depthwise_kernel", (3, 3, n, 1), 0.0))
        norm(f"conv_dw_{i + 1}_bn", n)
        layer(f"conv_pw_{i + 1}", ("kernel", (1, 1, n, to), 0.0))
        norm(f"conv_pw_{i + 1}_bn", to)
        n = to
    layer("conv_preds", ("kernel", (1, 1, n, 1000), 0.0),
          ("bias", (1000,), 0.0))
    return hdf5.keras_weights(layers, **how)


def sha8(data):
    return hashlib.sha256(data).hexdigest()[:8]


def named(name, data):
    return f"models/{name}-{sha8(data)}.pth", "sha256:" + sha8(data)


def heads(hub):
    return [e["method"] for e in hub.log()]
