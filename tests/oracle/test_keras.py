#!/usr/bin/env python3
"""Staged models of Keras against Keras itself: a row for each layer with its
options, as .keras at opset 17 and as .h5 at 13. `test_keras.py WORD...` runs
the rows whose name has one of the words. Keras lives in the interpreter that
ORACLE_CLIENTS names, with what requirements-clients.txt names, or in this one;
77 without it.
"""
import os
import subprocess
import sys
import tempfile
import warnings
import zipfile

if os.environ.get("ORACLE_CLIENTS"):
    other = os.environ.pop("ORACLE_CLIENTS")
    os.execv(other, [other, *sys.argv])

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="",
                  KERAS_BACKEND="tensorflow")
try:
    import h5py
    import keras
    import numpy as np
    import onnxruntime as ort
except ImportError as e:
    print(f"{e}: skipped")
    sys.exit(77)

L = keras.layers
BUILD = os.environ.get("BUILDDIR", ".")
PROGRAM = os.path.join(BUILD, "tests/oracle/stage-dir")
BOUND = 2e-5
REFUSED = 3


def randomised(model, seed=7):
    """Every weight is drawn again, none of it 0 or 1."""
    rng = np.random.default_rng(seed)
    for w in model.weights:
        shape, name = w.shape, w.path.rsplit("/", 1)[-1]
        if "seed" in name or "int" in str(w.dtype):
            continue
        if "variance" in name:
            v = 0.4 + 1.2 * rng.random(shape)
        elif name == "gamma":
            v = 0.7 + 0.2 * rng.standard_normal(shape)
        elif len(shape) < 2:
            v = 0.1 + 0.1 * rng.standard_normal(shape)
        else:
            fan = np.prod(shape[:-1])
            v = rng.standard_normal(shape) * (1.4 / fan) ** 0.5
        w.assign(v.astype(w.dtype))
    for layer in model.layers:
        if isinstance(layer, L.Normalization):
            layer.finalize_state()
    return model


def stage(repo, out, opset, path, hub="huggingface"):
    """(file, None), or (None, the reason)."""
    os.makedirs(os.path.dirname(os.path.join(out, path)), exist_ok=True)
    run = subprocess.run([PROGRAM, repo, str(opset), out, path, hub],
                         capture_output=True, text=True)
    if run.returncode not in (0, REFUSED):
        raise RuntimeError(f"stage-dir: {run.returncode} {run.stderr}")
    if run.returncode:
        return None, run.stderr.strip()
    return os.path.join(out, path), None


def inputs_of(model, batch, seed):
    """{name: array} of some size where the model leaves it open."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for t in model.inputs:
        shape = [batch] + [d or 9 + i for i, d in enumerate(t.shape[1:])]
        if "int" in str(t.dtype):
            feeds[t.name] = rng.integers(0, 5, shape).astype(t.dtype)
        else:
            feeds[t.name] = rng.standard_normal(shape).astype("float32")
    return feeds


def run_onnx(onnx, feeds):
    o = ort.SessionOptions()
    o.intra_op_num_threads = 1
    session = ort.InferenceSession(onnx, o, ["CPUExecutionProvider"])
    assert {i.name for i in session.get_inputs()} == set(feeds), (
        [i.name for i in session.get_inputs()], list(feeds))
    return session.run(None, feeds)


def compare_arrays(a, b):
    assert a.shape == b.shape, (a.shape, b.shape)
    assert b.std() > 1e-6 or b.size < 5, "says nothing"
    return float(np.abs(a - b).max() / np.abs(b).max())


def compare(model, onnx, batch=2, seed=3):
    """The largest difference over the outputs, as a part of the largest."""
    feeds = inputs_of(model, batch, seed)
    want = model([feeds[t.name] for t in model.inputs], training=False)
    want = [np.asarray(w) for w in keras.tree.flatten(want)]
    got = run_onnx(onnx, feeds)
    assert len(got) == len(want)
    return max(compare_arrays(a, b) for a, b in zip(got, want))


# ---- rows: name: a model, or what is behind an input of such a shape ---------

def chain(*layers, shape, dtype="float32"):
    x = i = keras.Input(shape, dtype=dtype, name="features")
    for layer in layers:
        x = layer(x)
    return keras.Model(i, x)


IMAGE, ODD, STEPS, ROW = (12, 10, 3), (11, 13, 4), (9, 5), (6,)
FREE = (None, None, 3)

CHAINS = {
    "dense": (ROW, lambda: [L.Dense(4, activation="relu")]),
    "dense of steps": (STEPS, lambda: [L.Dense(4, use_bias=False)]),
    "dense of an image": (IMAGE, lambda: [L.Dense(4, activation="tanh")]),
    "conv2d": (IMAGE, lambda: [L.Conv2D(5, 3), L.Conv2D(4, 2)]),
    "conv2d same": (IMAGE, lambda: [
        L.Conv2D(5, (3, 4), padding="same", activation="relu")]),
    "conv2d same stride": (ODD, lambda: [
        L.Conv2D(5, (3, 2), strides=2, padding="same", use_bias=False)]),
    "conv2d same stride 3": (IMAGE, lambda: [
        L.Conv2D(5, 1, strides=3, padding="same")]),
    "conv2d free": (FREE, lambda: [L.Conv2D(5, 3, 2, padding="same"),
                                   L.Conv2D(4, 4, padding="same")]),
    "conv2d groups dilation": (ODD, lambda: [
        L.Conv2D(6, 3, dilation_rate=2, groups=2)]),
    "conv2d dilation same": (ODD, lambda: [
        L.Conv2D(6, 3, dilation_rate=2, padding="same")]),
    "conv1d": (STEPS, lambda: [L.Conv1D(4, 3, activation="elu")]),
    "conv1d causal": (STEPS, lambda: [
        L.Conv1D(4, 3, padding="causal", dilation_rate=2)]),
    "conv1d same": (STEPS, lambda: [L.Conv1D(4, 4, 2, padding="same")]),
    "conv2d transpose": (ODD, lambda: [
        L.Conv2DTranspose(5, 3, 2), L.Conv2DTranspose(3, 4, 2,
                                                      padding="same")]),
    "conv2d transpose small": (ODD, lambda: [
        L.Conv2DTranspose(5, 2, 3, padding="same", use_bias=False),
        L.Conv2DTranspose(2, 1, 2)]),
    "conv1d transpose": (STEPS, lambda: [
        L.Conv1DTranspose(4, 3, 2, padding="same")]),
    "depthwise": (IMAGE, lambda: [L.DepthwiseConv2D(3, padding="same")]),
    "depthwise multiplier": (ODD, lambda: [
        L.DepthwiseConv2D((3, 2), strides=2, depth_multiplier=3,
                          activation="relu6", use_bias=False)]),
    "depthwise 1d": (STEPS, lambda: [
        L.DepthwiseConv1D(3, strides=2, depth_multiplier=2)]),
    "separable": (IMAGE, lambda: [
        L.SeparableConv2D(7, 3, 2, padding="same", depth_multiplier=2)]),
    "separable 1d": (STEPS, lambda: [L.SeparableConv1D(7, 3)]),
    "max pool": (ODD, lambda: [L.MaxPooling2D(), L.MaxPooling2D((2, 3), 2)]),
    "max pool same": (ODD, lambda: [L.MaxPooling2D(3, 2, padding="same")]),
    "average pool": (ODD, lambda: [L.AveragePooling2D((3, 2), 2)]),
    "average pool same": (ODD, lambda: [
        L.AveragePooling2D(3, 2, padding="same")]),
    "pools 1d": (STEPS, lambda: [L.MaxPooling1D(2, 1),
                                 L.AveragePooling1D(3, 2, padding="same")]),
    "global average": (IMAGE, lambda: [L.GlobalAveragePooling2D()]),
    "global average kept": (IMAGE, lambda: [
        L.GlobalAveragePooling2D(keepdims=True), L.Conv2D(3, 1)]),
    "global max": (IMAGE, lambda: [L.GlobalMaxPooling2D()]),
    "global 1d": (STEPS, lambda: [L.GlobalAveragePooling1D()]),
    "global max 1d": (STEPS, lambda: [L.GlobalMaxPooling1D()]),
    "padding": (IMAGE, lambda: [L.ZeroPadding2D(((1, 2), (0, 1))),
                                L.MaxPooling2D(3)]),
    "padding free": (FREE, lambda: [L.ZeroPadding2D(3), L.Conv2D(4, 7, 2)]),
    "padding 1d": (STEPS, lambda: [L.ZeroPadding1D((2, 1))]),
    "cropping": (IMAGE, lambda: [L.Cropping2D(((1, 2), (0, 3)))]),
    "cropping 1d": (STEPS, lambda: [L.Cropping1D((2, 1))]),
    "upsampling": (IMAGE, lambda: [L.UpSampling2D((2, 3))]),
    "upsampling bilinear": (IMAGE, lambda: [
        L.UpSampling2D(2, interpolation="bilinear"), L.Conv2D(2, 3)]),
    "upsampling 1d": (STEPS, lambda: [L.UpSampling1D(3)]),
    "resizing": (IMAGE, lambda: [L.Resizing(7, 15)]),
    "resizing nearest": (IMAGE, lambda: [
        L.Resizing(7, 15, interpolation="nearest")]),
    "batch norm": (IMAGE, lambda: [L.Conv2D(4, 3), L.BatchNormalization()]),
    "batch norm bare": (IMAGE, lambda: [
        L.BatchNormalization(scale=False, center=False, epsilon=1e-5)]),
    "batch norm of a row": (ROW, lambda: [
        L.Dense(5), L.BatchNormalization(scale=False)]),
    "batch norm of steps": (STEPS, lambda: [
        L.BatchNormalization(center=False)]),
    "layer norm": (STEPS, lambda: [L.LayerNormalization()]),
    "layer norm bare": (STEPS, lambda: [
        L.LayerNormalization(center=False, epsilon=1e-6)]),
    "layer norm of an image": (IMAGE, lambda: [L.LayerNormalization(
        scale=False)]),
    "group norm": ((6, 5, 8), lambda: [L.GroupNormalization(4)]),
    "instance norm": ((6, 5, 8), lambda: [L.GroupNormalization(-1)]),
    "unit norm": (STEPS, lambda: [L.UnitNormalization()]),
    "normalization": (IMAGE, lambda: [L.Normalization()]),
    "normalization given": (IMAGE, lambda: [
        L.Normalization(mean=[1, 2, 3.], variance=[4, 5, 6.])]),
    "normalization of one": (IMAGE, lambda: [
        L.Normalization(axis=None, mean=1.5, variance=3.)]),
    "rescaling": (IMAGE, lambda: [L.Rescaling(1 / 127.5, offset=-1)]),
    "rescaling list": (IMAGE, lambda: [L.Rescaling([.5, .6, .7])]),
    "relus": (IMAGE, lambda: [L.ReLU(max_value=1.5, negative_slope=0.1)]),
    "relu threshold": (IMAGE, lambda: [L.ReLU(threshold=0.5)]),
    "leaky relu": (IMAGE, lambda: [L.LeakyReLU(0.15)]),
    "prelu": (ROW, lambda: [L.PReLU()]),
    "prelu shared": (IMAGE, lambda: [L.PReLU(shared_axes=[1, 2])]),
    "elu": (ROW, lambda: [L.ELU(0.7)]),
    "softmax": (IMAGE, lambda: [L.Softmax(axis=1)]),
    "flatten": (IMAGE, lambda: [L.Conv2D(4, 3), L.Flatten(), L.Dense(3)]),
    "reshape": (IMAGE, lambda: [L.Reshape((5, -1)), L.Permute((2, 1))]),
    "permute": (IMAGE, lambda: [L.Permute((3, 1, 2))]),
    "repeat": (ROW, lambda: [L.RepeatVector(4)]),
    "dropouts": (IMAGE, lambda: [
        L.Dropout(0.5), L.SpatialDropout2D(0.5), L.GaussianNoise(1.0),
        L.GaussianDropout(0.5), L.Conv2D(2, 3)]),
    "lstm": (STEPS, lambda: [L.LSTM(4)]),
    "lstm steps": (STEPS, lambda: [L.LSTM(4, return_sequences=True),
                                   L.LSTM(3, use_bias=False)]),
    "lstm free": ((None, 5), lambda: [L.LSTM(4, return_sequences=True)]),
    "lstm backwards": (STEPS, lambda: [L.LSTM(4, go_backwards=True)]),
    "gru": (STEPS, lambda: [L.GRU(4, return_sequences=True)]),
    "gru old": (STEPS, lambda: [L.GRU(4, reset_after=False)]),
    "simple rnn": (STEPS, lambda: [L.SimpleRNN(4)]),
    "bidirectional": (STEPS, lambda: [
        L.Bidirectional(L.LSTM(4, return_sequences=True)),
        L.Bidirectional(L.GRU(3), merge_mode="sum")]),
    "distributed": ((4, 12, 10, 3), lambda: [
        L.TimeDistributed(L.Conv2D(4, 3, activation="relu")),
        L.TimeDistributed(L.Flatten()), L.TimeDistributed(L.Dense(3))]),
}
INTEGERS = {
    "embedding": ((7,), lambda: [L.Embedding(9, 4), L.GlobalAveragePooling1D()
                                 ]),
    "embedding lstm": ((None,), lambda: [
        L.Embedding(9, 4), L.Bidirectional(L.LSTM(3)), L.Dense(2)]),
}
for a in ("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "softplus",
          "softsign", "silu", "gelu", "tanh", "hard_tanh", "tanh_shrink",
          "sigmoid", "log_sigmoid", "exponential", "hard_sigmoid",
          "hard_silu", "mish", "softmax", "log_softmax", "linear"):
    CHAINS["activation " + a] = (STEPS, lambda a=a: [L.Activation(a)])


def merges():
    a, b = keras.Input(IMAGE, name="a"), keras.Input(IMAGE, name="b")
    x, y = L.Conv2D(4, 3)(a), L.Conv2D(4, 3)(b)
    z = [L.Add()([x, y, x]), L.Subtract()([x, y]), L.Multiply()([x, y]),
         L.Average()([x, y, y]), L.Maximum()([x, y]), L.Minimum()([x, y]),
         L.Concatenate()([x, y]), L.Concatenate(axis=1)([x, y])]
    return keras.Model([a, b], z)


def functions():
    a, b = keras.Input(STEPS, name="a"), keras.Input(STEPS, name="b")
    return keras.Model([a, b], [a + b, a - b * 2.0, a / 3.0,
                                keras.ops.maximum(a, b)])


def dots():
    a, b = keras.Input(ROW, name="a"), keras.Input(ROW, name="b")
    return keras.Model([a, b], L.Dot(1)([a, b]))


def nested():
    i = keras.Input(IMAGE, name="image")
    inner = keras.Sequential([
        keras.Input((10, 8, 4)), L.Conv2D(5, 1, name="same_name"),
        L.BatchNormalization()], name="inner")
    j = keras.Input((10, 8, 5))
    twice = keras.Model(j, L.Add()([inner_conv(j), j]), name="twice")
    x = L.Conv2D(4, 3, name="same_name_out")(i)
    x = inner(x)
    x = twice(twice(x))
    return keras.Model(i, [x, L.Flatten()(x)])


def inner_conv(j):
    deep = keras.Sequential([keras.Input(j.shape[1:]), L.Conv2D(5, 1),
                             L.ReLU()], name="deep")
    return deep(j)


def sequential():
    return keras.Sequential([
        keras.Input(IMAGE, name="features"), L.Conv2D(4, 3), L.MaxPooling2D(),
        L.Flatten(), L.Dropout(0.2), L.Dense(3, activation="softmax")])


def shared():
    a, b = keras.Input(ROW, name="a"), keras.Input(ROW, name="b")
    d = L.Dense(4, name="both")
    return keras.Model([a, b], L.Concatenate()([d(a), d(b)]))


def attention():
    a, b = keras.Input(STEPS, name="a"), keras.Input((7, 5), name="b")
    x = L.MultiHeadAttention(2, 3)(a, b)
    y = L.MultiHeadAttention(2, 3, value_dim=4, use_bias=False)(b, a, key=a)
    z = L.MultiHeadAttention(2, 3)(a, a, use_causal_mask=True)
    return keras.Model([a, b], [x, y, z, L.Attention()([a, b])])


def states():
    a, b = keras.Input(STEPS, name="a"), keras.Input((None, 5), name="b")
    _, h, c = L.LSTM(4, return_state=True)(a)
    y = L.LSTM(4, return_sequences=True)(b, initial_state=[h, c])
    return keras.Model([a, b], L.Dense(3)(y))


def channels_first():
    i = keras.Input((3, 12, 10), name="image")
    first = dict(data_format="channels_first")
    x = L.BatchNormalization(axis=1)(i)
    x = L.ZeroPadding2D(1, **first)(x)
    x = L.Flatten(**first)(x)
    return keras.Model(i, x)


MODELS = {f.__name__: f for f in (
    merges, functions, dots, nested, sequential, shared, attention, states,
    channels_first)}
MODELS.update({k: lambda v=v: chain(*v[1](), shape=v[0])
               for k, v in CHAINS.items()})
MODELS.update({k: lambda v=v: chain(*v[1](), shape=v[0], dtype="int32")
               for k, v in INTEGERS.items()})


@keras.saving.register_keras_serializable("mine")
class Doubled(L.Layer):
    def call(self, x):
        return x * 2


def packed_model():
    return chain(L.Conv2D(7, 3, activation="relu"), L.BatchNormalization(),
                 L.Flatten(), L.Dense(300, activation="tanh"), L.Dense(5),
                 shape=(12, 12, 3))


# name: (model, what the reason has to have)
UNHANDLED = {
    "lambda": (lambda: chain(L.Lambda(lambda x: x + 1), shape=ROW),
               "Lambda"),
    "custom": (lambda: chain(Doubled(), shape=ROW), "mine>Doubled"),
    "mask": (lambda: chain(L.Embedding(9, 4, mask_zero=True), L.LSTM(3),
                           shape=(7,), dtype="int32"), "mask_zero"),
    "stateful": (lambda: keras.Sequential([
        keras.Input(batch_shape=(2, 9, 5)), L.LSTM(3, stateful=True)]),
        "stateful"),
    "other axis": (lambda: chain(L.LayerNormalization(axis=1), shape=STEPS),
                   "axis"),
    "conv3d": (lambda: chain(L.Conv3D(2, 2), shape=(5, 5, 5, 2)), "Conv3D"),
}


def say(name, ok, text):
    print(f"{'ok  ' if ok else 'FAIL'} {name:40} {text}", flush=True)
    return ok


def one_row(name, model, top):
    ok = True
    for ending, opset in ((".keras", 17), (".h5", 13)):
        repo = os.path.join(top, "repo" + ending)
        os.makedirs(repo, exist_ok=True)
        model.save(os.path.join(repo, "m" + ending))
        onnx, why = stage(repo, os.path.join(top, "out"), opset, "m.onnx")
        worst = compare(model, onnx) if onnx else 9.0
        fine = worst <= BOUND
        ok = say(name, fine, f"{ending} {opset} " + (
            f"{worst:.1e}" if onnx else why)) and ok
    return ok


def one_refusal(name, model, needle, top):
    repo = os.path.join(top, "refused")
    os.makedirs(repo, exist_ok=True)
    model.save(os.path.join(repo, "m.keras"))
    onnx, why = stage(repo, os.path.join(top, "out"), 13, "m.onnx")
    return say(name, not onnx and needle in why, why or "was staged")


# ---- the same model, packed --------------------------------------------------

def chunked(source, target):
    """The same file, every dataset with an element in chunks that go through
    filters, as h5repack makes them."""
    with h5py.File(source) as a, h5py.File(target, "w") as b:
        def copy(name, old):
            if isinstance(old, h5py.Group):
                new = b.require_group(name)
            else:
                packed = {} if not old.shape else {
                    "chunks": tuple(max(1, n * 2 // 3) for n in old.shape),
                    "compression": "gzip", "shuffle": True,
                    "fletcher32": True}
                new = b.create_dataset(name, data=old[()], **packed)
            for key, value in old.attrs.items():
                new.attrs[key] = value
        copy("/", a["/"])
        a.visititems(copy)


def zipped(source, target, how, weights=None):
    with zipfile.ZipFile(source) as a, zipfile.ZipFile(target, "w", how) as b:
        for name in a.namelist():
            data = a.read(name)
            if weights and name == "model.weights.h5":
                with open(weights, "rb") as f:
                    data = f.read()
            b.writestr(name, data)


def packed_forms(model, top):
    """(ending, what it is, how it is made of the file that Keras wrote)"""
    plain = os.path.join(top, "weights.h5")
    inner = os.path.join(top, "chunks.h5")
    saved = os.path.join(top, "saved.keras")
    model.save(saved)
    with zipfile.ZipFile(saved) as z, open(plain, "wb") as f:
        f.write(z.read("model.weights.h5"))
    chunked(plain, inner)
    deflated, stored = zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED
    return [
        (".h5", "in chunks", chunked),
        (".keras", "deflated", lambda a, b: zipped(a, b, deflated)),
        (".keras", "in chunks", lambda a, b: zipped(a, b, stored, inner)),
        (".keras", "both", lambda a, b: zipped(a, b, deflated, inner))]


def packed_row(top):
    """Packed files become models that compute the very numbers of those that
    plain ones become."""
    model = randomised(packed_model())
    ok = True
    for ending, what, make in packed_forms(model, top):
        repo = os.path.join(top, f"{what}{ending}".replace(" ", "-"))
        plain, packed = (os.path.join(repo, k) for k in ("plain", "packed"))
        for k in (plain, packed):
            os.makedirs(k)
        model.save(os.path.join(plain, "m" + ending))
        make(os.path.join(plain, "m" + ending),
             os.path.join(packed, "m" + ending))
        files = [stage(k, k + "-out", 17, "m.onnx") for k in (plain, packed)]
        reasons = [why for _, why in files if why]
        worst, same = 9.0, False
        if not reasons:
            worst = compare(model, files[1][0])
            feeds = inputs_of(model, 2, 3)
            a, b = (run_onnx(onnx, feeds) for onnx, _ in files)
            same = all(np.array_equal(x, y) for x, y in zip(a, b))
        ok = say("packed", worst <= BOUND and same, f"{ending} {what} " + (
            reasons[0] if reasons else f"{worst:.1e} "
            f"{'the same' if same else 'other'} numbers")) and ok
    return ok


def main(words):
    warnings.filterwarnings("ignore")

    def chosen(name):
        return not words or any(w in name for w in words)

    bad = 0
    for name, make in MODELS.items():
        if not chosen(name):
            continue
        keras.backend.clear_session()
        with tempfile.TemporaryDirectory() as top:
            try:
                bad += not one_row(name, randomised(make()), top)
            except Exception as e:
                bad += 1
                say(name, False, f"{type(e).__name__}: {e}"[:400])
    if chosen("packed"):
        keras.backend.clear_session()
        with tempfile.TemporaryDirectory() as top:
            bad += not packed_row(top)
    for name, (make, needle) in UNHANDLED.items():
        if chosen(name):
            keras.backend.clear_session()
            with tempfile.TemporaryDirectory() as top:
                bad += not one_refusal(name, make(), needle, top)
    print(f"{bad} failed")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
