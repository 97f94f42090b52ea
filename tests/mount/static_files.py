"""What the hubs of static files have, for the tests that mount them."""
import hashlib
import os

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


def sha8(data):
    return hashlib.sha256(data).hexdigest()[:8]


def named(name, data):
    return f"models/{name}-{sha8(data)}.pth", "sha256:" + sha8(data)


def heads(hub):
    return [e["method"] for e in hub.log()]
