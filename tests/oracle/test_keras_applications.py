#!/usr/bin/env python3
"""Staged weight files of keras.applications against what Keras makes of the
same files: weights are drawn for a builder's model and kept as published files
are, without a configuration, and Keras loads them as "imagenet". Those not in
DEFAULT run only when a word names them: `test_keras_applications.py
NAME...`, or `all`.
"""
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_keras import (BOUND, compare_arrays, randomised, run_onnx,  # noqa: E402
                        say, stage)                    # (77 without Keras)

import h5py  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras.src.legacy.saving import legacy_h5_format  # noqa: E402

A = keras.applications
TF = "_weights_tf_dim_ordering_tf_kernels"


def plain(stem, tail="_notop"):
    return f"{stem}.h5", f"{stem}{tail}.h5"


# builder: [(options, file with top, file without)]
BUILDERS = {n: [({}, *plain(n.lower() + TF))] for n in (
    "ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2",
    "ResNet152V2", "VGG16", "VGG19", "DenseNet121", "DenseNet169",
    "DenseNet201", "Xception")}
BUILDERS.update({
    "InceptionV3": [({}, *plain("inception_v3" + TF))],
    "InceptionResNetV2": [({}, *plain("inception_resnet_v2" + TF))],
    "MobileNet": [
        (dict(alpha=a, input_shape=(n, n, 3)),
         *plain(f"mobilenet_{t}_{n}_tf", "_no_top"))
        for a, t, n in ((0.25, "2_5", 128), (0.5, "5_0", 160),
                        (0.75, "7_5", 192), (1.0, "1_0", 224))],
    "MobileNetV2": [
        (dict(alpha=a, input_shape=(n, n, 3)),
         *plain(f"mobilenet_v2{TF}_{a}_{n}", "_no_top"))
        for a, n in ((0.35, 96), (0.5, 128), (0.75, 160), (1.0, 192),
                     (1.3, 224), (1.4, 224))],
    **{f"MobileNetV3{s}": [
        (dict(alpha=a, minimalistic=m), *plain(
            f"weights_mobilenet_v3_{s.lower()}"
            f"{'_minimalistic' if m else ''}_224_{a}_float", "_no_top_v2"))
        for a, m in ((0.75, False), (1.0, False), (1.0, True))]
       for s in ("Small", "Large")},
    "NASNetMobile": [({}, *plain("NASNet-mobile", "-no-top"))],
    "NASNetLarge": [(dict(input_shape=(331, 331, 3)),
                     *plain("NASNet-large", "-no-top"))],
    **{f"EfficientNetB{i}": [({}, *plain(f"efficientnetb{i}"))]
       for i in range(8)},
    **{f"EfficientNetV2{k}": [({}, *plain(f"efficientnetv2-{k.lower()}"))]
       for k in ("B0", "B1", "B2", "B3", "S", "M", "L")},
    **{f"ConvNeXt{k}": [({}, *plain(f"convnext_{k.lower()}"))]
       for k in ("Tiny", "Small", "Base", "Large", "XLarge")},
})
# The smallest of each family; with top too where something hangs on it.
DEFAULT = {"ResNet50": False, "ResNet50V2": False, "DenseNet121": False,
           "Xception": False, "InceptionV3": False, "MobileNet": True,
           "MobileNetV2": False, "MobileNetV3Small": True,
           "NASNetMobile": False, "EfficientNetB0": True,
           "EfficientNetV2B0": False, "ConvNeXtTiny": False}
FIXED = ("NASNetMobile", "NASNetLarge")
SIZES = ((96, 96), (107, 91))


def loaded(build, options, top, path):
    """The model with what Keras reads of the file as its own weights."""
    module = sys.modules[build.__module__]
    places = [module] + [m for n, m in sys.modules.items() if n.startswith(
        "keras.src.applications.") and hasattr(m, "file_utils")]

    class Files:
        exists = staticmethod(os.path.exists)

        @staticmethod
        def get_file(*_, **__):
            return path

    was = [(m, m.file_utils) for m in places if hasattr(m, "file_utils")]
    try:
        for m, _ in was:
            m.file_utils = Files
        return build(include_top=top, weights="imagenet", **options)
    finally:
        for m, old in was:
            m.file_utils = old


def free(options, top, name):
    """Without top the size is left open, as Keras does when nobody says it."""
    return {k: v for k, v in options.items()
            if top or name in FIXED or k != "input_shape"}


def one(name, options, file, top, opset):
    build = getattr(A, name)
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as repo:
        path = os.path.join(repo, name, file)
        os.makedirs(os.path.dirname(path))
        model = randomised(build(include_top=top, weights=None, **options))
        with h5py.File(path, "w") as f:
            legacy_h5_format.save_weights_to_hdf5_group(f, model)
        del model
        keras.backend.clear_session()
        model = loaded(build, free(options, top, name), top, path)
        onnx, why = stage(repo, os.path.join(repo, "out"), opset,
                          f"{name}/{file[:-3]}.onnx", "keras")
        if not onnx:
            return say(file, False, why)
        worst = 0.0
        rng = np.random.default_rng(5)
        h = model.input_shape[1]
        for size in SIZES if h is None else ((h, h),):
            image = rng.random((1, *size, 3), "float32") * 255.0
            if not name.startswith(("Eff", "Conv", "MobileNetV3")):
                image = image / 127.5 - 1.0
            want = np.asarray(model(image, training=False))
            worst = max(worst, compare_arrays(
                run_onnx(onnx, {"image": image})[0], want))
        return say(file, worst <= BOUND, f"{opset} {worst:.1e}")


def main(words):
    bad = 0
    for name, rows in BUILDERS.items():
        named = "all" in words or any(w == name for w in words)
        if words and not named or not words and name not in DEFAULT:
            continue
        for options, *files in rows if named else rows[:1]:
            for top in (True, False):
                if not named and top and not DEFAULT[name]:
                    continue
                try:
                    bad += not one(name, options, files[not top], top,
                                   13 if top else 17)
                except Exception as e:
                    bad += 1
                    say(files[not top], False,
                        f"{type(e).__name__}: {e}"[:400])
    print(f"{bad} failed")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
