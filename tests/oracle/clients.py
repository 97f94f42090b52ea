"""What test_foreign_caches.py runs in the interpreter that has the clients:
`clients.py CLIENT JSON` downloads as a user of that client would, and prints
where it put things. The environment says where its cache is."""
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


def keras(files):
    """[name, address, hash or null]..., as keras.applications asks."""
    from keras.utils import get_file
    return [str(get_file(name, url, cache_subdir="models", file_hash=md5))
            for name, url, md5 in files]


def tensorflow_hub(handles):
    import tensorflow_hub as hub
    return [hub.resolve(h) for h in handles]


def kagglehub(handles):
    import kagglehub as hub
    return [hub.model_download(h, path=path) for h, path in handles]


def onnx(asked):
    """The zoo's hosts are named in its source: put ours in their place."""
    from onnx import hub

    def base(repo, lfs=False):
        assert repo == "onnx/models:main", repo
        return asked["media" if lfs else "raw"]

    hub._get_base_url = base
    for name in asked["models"]:
        assert hub.load(name, silent=True) is not None
    return [hub.get_dir()]


CLIENTS = {"keras": keras, "tensorflow_hub": tensorflow_hub,
           "kagglehub": kagglehub, "onnx": onnx}

if __name__ == "__main__":
    try:
        told = CLIENTS[sys.argv[1]](json.loads(sys.argv[2]))
    except ImportError as e:
        print(f"skipped: {e}")
        sys.exit(77)
    print(json.dumps(told))
