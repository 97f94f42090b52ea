#!/usr/bin/env python3
"""Models as Keras writes them (model_config), with the shapes of their weights:
good ones, ones that contradict themselves, ones that are refused."""
import json
import os
import sys


def layer(cls, name, *inbound, **config):
    return {"class_name": cls, "name": name,
            "config": {"name": name, **config}, "inbound_nodes": [
                [[f, 0, 0, {}] for f in node] for node in inbound]}


def image(name="in", shape=(None, 8, 8, 3)):
    return layer("InputLayer", name, batch_input_shape=list(shape))


def model(layers, into="in", out=None, node=0):
    return {"class_name": "Functional", "config": {
        "name": "m", "layers": layers, "input_layers": [[into, 0, 0]],
        "output_layers": [[out or layers[-1]["name"], node, 0]]}}


def chain(*layers):
    last, done = layers[0]["name"], [layers[0]]
    for one in layers[1:]:
        one["inbound_nodes"] = [[[last, 0, 0, {}]]]
        last = one["name"]
        done.append(one)
    return model(done, layers[0]["name"])


def tensor(name, node=0):
    return {"class_name": "__keras_tensor__", "config": {
        "shape": [None, 4], "dtype": "float32",
        "keras_history": [name, node, 0]}}


def keras3(cls, name, *args, config=None, **kwargs):
    return {"module": "keras.layers", "class_name": cls, "name": name,
            "config": {"name": name, "dtype": {
                "module": "keras", "class_name": "DTypePolicy",
                "config": {"name": "float32"}}, **(config or {})},
            "registered_name": None, "build_config": {"input_shape": [None, 4]},
            "inbound_nodes": [{"args": list(args), "kwargs": kwargs}]}


def rows(name="in", n=4, **more):
    return layer("InputLayer", name, batch_input_shape=[None, n], **more)


def seeds():
    conv = dict(filters=2, kernel_size=[3, 3], strides=[1, 1], padding="same",
                data_format="channels_last", dilation_rate=[1, 1], groups=1,
                activation="relu", use_bias=True)
    plain = {k: v for k, v in conv.items() if k != "groups"}
    dense = dict(units=3, activation="softmax", use_bias=True)
    yield "good-conv", chain(
        image(), layer("Conv2D", "c", **conv),
        layer("BatchNormalization", "b", axis=[3], epsilon=1e-3, center=True,
              scale=True),
        layer("ReLU", "r", max_value=6.0, negative_slope=0.0, threshold=0.0),
        layer("MaxPooling2D", "p", pool_size=[2, 2], strides=[2, 2],
              padding="valid", data_format="channels_last"),
        layer("ZeroPadding2D", "z", padding=[[0, 1], [0, 1]],
              data_format="channels_last"),
        layer("DepthwiseConv2D", "w", kernel_size=[3, 3], strides=[2, 2],
              padding="valid", depth_multiplier=1, activation="linear",
              data_format="channels_last", dilation_rate=[1, 1],
              use_bias=False),
        layer("GlobalAveragePooling2D", "g", data_format="channels_last"),
        layer("Dropout", "o", rate=0.5), layer("Dense", "d", **dense)), {
            "c.kernel": [3, 3, 3, 2], "c.bias": [2], "b.gamma": [2],
            "b.beta": [2], "b.moving_mean": [2], "b.moving_variance": [2],
            "w.kernel": [3, 3, 2, 1],
            "d.kernel": [2, 3], "d.bias": [3]}
    yield "good-branches", model(
        [rows(), layer("Dense", "d", ["in"], ["d2"], **dense | {"units": 4}),
         layer("Dense", "d2", ["in"], units=4, activation="gelu",
               use_bias=False), layer("Add", "s", ["d", "d2"]),
         layer("Concatenate", "k", ["s", "in"], axis=-1),
         layer("Reshape", "h", ["k"], target_shape=[2, 4]),
         layer("Permute", "t", ["h"], dims=[2, 1]),
         layer("Flatten", "f", ["t"])]), {
             "d.kernel": [4, 4], "d.bias": [4], "d2.kernel": [4, 4]}
    text = rows(n=5, dtype="int32")
    for name, cls, gates in (("lstm", "LSTM", 4), ("gru", "GRU", 3),
                             ("rnn", "SimpleRNN", 1)):
        rnn = dict(units=3, activation="tanh", use_bias=True,
                   recurrent_activation="sigmoid", reset_after=True,
                   return_sequences=True, return_state=False,
                   go_backwards=False, stateful=False, unroll=False,
                   time_major=False)
        bias = [2, 9] if gates == 3 else [3 * gates]
        yield "good-" + name, chain(
            text, layer("Embedding", "e", input_dim=9, output_dim=2,
                        mask_zero=False), layer(cls, "l", **rnn)), {
                            "e.embeddings": [9, 2],
                            "l.kernel": [2, 3 * gates], "l.bias": bias,
                            "l.recurrent_kernel": [3, 3 * gates]}
        yield "good-both-ways-" + name, chain(
            text, layer("Embedding", "e", input_dim=9, output_dim=2),
            layer("Bidirectional", "y", merge_mode="concat", layer={
                "class_name": cls, "config": {"name": "l", **rnn}})), {
                    "e.embeddings": [9, 2], **{
                        f"y.{way}.{k}": v for way in ("forward", "backward")
                        for k, v in (("kernel", [2, 3 * gates]),
                                     ("recurrent_kernel", [3, 3 * gates]),
                                     ("bias", bias))}}
    yield "good-keras3", model(
        [{"class_name": "InputLayer", "name": "in", "module": "keras.layers",
          "config": {"name": "in", "batch_shape": [None, 4],
                     "dtype": "float32", "sparse": False},
          "registered_name": None, "inbound_nodes": []},
         keras3("Dense", "d", tensor("in"), config=dense | {"units": 4}),
         keras3("LayerNormalization", "n", tensor("d"), config={
             "axis": [-1], "epsilon": 1e-3, "center": True, "scale": True}),
         keras3("Add", "s", [tensor("n"), tensor("in")])]), {
             "d.kernel": [4, 4], "d.bias": [4], "n.gamma": [4],
             "n.beta": [4]}
    yield "good-sequential", {"class_name": "Sequential", "config": {
        "name": "q", "layers": [
            layer("Dense", "d", batch_input_shape=[None, 4], **dense),
            layer("Activation", "a", activation="tanh")]}}, {
                "d.kernel": [4, 3], "d.bias": [3]}
    inner = model([rows("i"), layer("Dense", "d", ["i"], **dense)], "i")
    yield "good-nested", model(
        [rows(), {**inner, "name": "m2", "inbound_nodes": [
            [["in", 0, 0, {}]]]}], out="m2", node=1), {
                "m2/d.kernel": [4, 3], "m2/d.bias": [3]}
    yield "good-image", chain(
        image(), layer("Rescaling", "s", scale=0.5, offset=[1.0, 2.0, 3.0]),
        layer("Resizing", "q", height=4, width=4, interpolation="bilinear",
              crop_to_aspect_ratio=False),
        layer("SeparableConv2D", "c", **plain, depth_multiplier=1),
        layer("Conv2DTranspose", "t", **plain | {"strides": [2, 2]}),
        layer("UpSampling2D", "u", size=[2, 2], interpolation="nearest"),
        layer("Cropping2D", "k", cropping=[[1, 0], [0, 1]]),
        layer("GroupNormalization", "g", groups=2, axis=-1, epsilon=1e-3,
              center=True, scale=True),
        layer("PReLU", "p", shared_axes=[1, 2]),
        layer("AveragePooling2D", "a", pool_size=[2, 2], strides=None,
              padding="same", data_format="channels_last"), layer("Softmax", "m", axis=-1)), {
                  "c.depthwise_kernel": [3, 3, 3, 1], "c.bias": [2],
                  "c.pointwise_kernel": [1, 1, 3, 2], "t.bias": [2],
                  "t.kernel": [3, 3, 2, 2], "g.gamma": [2], "g.beta": [2],
                  "p.alpha": [1, 1, 2]}
    yield "good-signal", chain(
        rows(n=6), layer("RepeatVector", "r", n=5),
        layer("Conv1D", "c", **conv | {"kernel_size": [3], "strides": [1],
                                       "padding": "causal",
                                       "dilation_rate": [2]}),
        layer("LayerNormalization", "n", axis=[-1], epsilon=1e-3, center=True,
              scale=True), layer("MaxPooling1D", "p", pool_size=[2], strides=[2],
              padding="valid"),
        layer("TimeDistributed", "d", layer={
            "class_name": "Dense", "config": {"name": "x", **dense}})), {
                "c.kernel": [3, 6, 2], "c.bias": [2], "n.gamma": [2],
                "n.beta": [2], "d.kernel": [2, 3], "d.bias": [3]}
    heads = [2, 2]
    yield "good-attention", model(
        [rows(), layer("RepeatVector", "r", ["in"], n=3),
         layer("MultiHeadAttention", "h", ["r", "r"], num_heads=2, key_dim=2,
               use_bias=True, dropout=0.0), layer("Add", "s", ["r", "h"]),
         layer("Attention", "a", ["s", "r"], use_scale=False,
               score_mode="dot")]), {
                   f"h.{k}.{v}": shape for k in ("query", "key", "value",
                                                 "attention_output")
                   for v, shape in (
                       ("kernel", heads + [4] if k[0] == "a" else
                        [4] + heads),
                       ("bias", [4] if k[0] == "a" else heads))}
    yield "bad-loop", model([rows(), layer("Add", "x", ["y", "in"]),
                             layer("Add", "y", ["x", "in"])]), {}
    yield "bad-shape", chain(rows(), layer("Dense", "d", **dense)), {
        "d.kernel": [5, 3], "d.bias": [3]}
    yield "bad-no-weights", chain(rows(), layer("Dense", "d", **dense)), {}
    yield "bad-output", model([rows()], out="nobody"), {}
    yield "bad-names", model([{"class_name": "InputLayer", "name": None,
                               "config": {"name": 7}}, 1, None, []], out="y"), {}
    yield "unsupported-lambda", chain(rows(), layer(
        "Lambda", "f", function=["4wEA", None, None])), {}
    yield "unsupported-option", chain(rows(), layer(
        "Dense", "d", **dense, **{"": 1})), {"d.kernel": [4, 3], "d.bias": [3]}
    yield "unsupported-options", chain(rows(), layer(
        "Dense", "d", **dense, **{"units activation": 1})), {
            "d.kernel": [4, 3], "d.bias": [3]}
    yield "unsupported-class", chain(rows(), layer("Mine", "f")), {}


def main(to):
    for name, what, weights in seeds():
        for old in (False, True):
            with open(os.path.join(to, name + ("-old" if old else "")),
                      "w") as f:
                json.dump({"model": what, "old": old, "weights": weights}, f)
    for name, text in (("bad-empty", ""), ("bad-json", "{\"model\":"),
                       ("bad-model", "{\"model\": 1}")):
        with open(os.path.join(to, name), "w") as f:
            f.write(text)


main(sys.argv[1])
