"""Outputs of networks that are built with TensorFlow's TF-slim layers, written to `outputs.json`, with their variables.

    python -m tests.tensorflow_nets.write

needs `tensorflow-cpu==2.15.*` and `tf-slim`. Values of the variables are made of their names (see `values`).
Reference: tensorflow/models, research: slim/nets, object_detection/models and predictors, deeplab/model.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_slim as slim

from tests.tensorflow_nets.values import images, sampled, variable

v1 = tf.compat.v1
FILE = Path(__file__).with_name("outputs.json")
RELU6, RELU = tf.nn.relu6, tf.nn.relu
V1_ROWS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
V2_ROWS = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
HARDSWISH_FROM = 3
V3_SMALL = [
    (3, 16, 16, True, 2), (3, 72, 24, False, 2), (3, 88, 24, False, 1), (5, 96, 40, True, 2), (5, 240, 40, True, 1),
    (5, 240, 40, True, 1), (5, 120, 48, True, 1), (5, 144, 48, True, 1), (5, 288, 96, True, 2), (5, 576, 96, True, 1),
    (5, 576, 96, True, 1),
]  # fmt: skip
"""Filter, expansion, channels, squeeze-and-excitation, stride."""


def hard_swish(x: Any) -> Any:
    return x * RELU6(x + 3) * 0.16667


def hard_sigmoid(x: Any) -> Any:
    return RELU6(x + 3) * 0.16667


def divisible(value: float, divisor: int = 8) -> int:
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class Stride:
    """Strides until `most` is reached, rates from there on."""

    def __init__(self, most: int) -> None:
        self.most, self.now, self.rate = most, 1, 1

    def __call__(self, stride: int) -> dict[str, int]:
        if self.now == self.most:
            rate, self.rate = self.rate, self.rate * stride
            return {"stride": 1, "rate": rate}
        self.now *= stride
        return {"stride": stride, "rate": 1}


def mobilenet_v1(x: Any, width: float, strides: Stride) -> dict[str, Any]:
    ends = {}
    with v1.variable_scope("MobilenetV1"):
        x = slim.conv2d(x, max(int(32 * width), 8), 3, scope="Conv2d_0", **strides(2))
        for row, (channels, stride) in enumerate(V1_ROWS, 1):
            x = slim.separable_conv2d(
                x, None, 3, depth_multiplier=1, scope=f"Conv2d_{row}_depthwise", **strides(stride)
            )
            x = slim.conv2d(x, max(int(channels * width), 8), 1, scope=f"Conv2d_{row}_pointwise")
            ends[row] = x
    return {"c4": ends[11], "last": x, "name": "Conv2d_13_pointwise", "scope": "MobilenetV1"}


def mobilenet_v2(x: Any, width: float, strides: Stride, divisor: int = 8) -> dict[str, Any]:
    number, c4 = 0, None
    with v1.variable_scope("MobilenetV2"):
        x = slim.conv2d(x, divisible(32 * width, divisor), 3, scope="Conv", **strides(2))
        for ratio, channels, repeats, first in V2_ROWS:
            for stride in [first, *[1] * (repeats - 1)]:
                before = x
                with v1.variable_scope(f"expanded_conv_{number}" if number else "expanded_conv"):
                    if ratio > 1:
                        x = slim.conv2d(x, divisible(x.shape[-1] * ratio), 1, scope="expand")
                    c4 = x if number == 13 else c4
                    x = slim.separable_conv2d(x, None, 3, depth_multiplier=1, scope="depthwise", **strides(stride))
                    x = slim.conv2d(x, divisible(channels * width, divisor), 1, scope="project", activation_fn=None)
                    if stride == 1 and x.shape[-1] == before.shape[-1]:
                        x += before
                number += 1
        context = x
        x = slim.conv2d(x, divisible(1280 * max(1, width)), 1, scope="Conv_1")
    return {"c4": c4, "last": x, "context": context, "name": "layer_19", "scope": "MobilenetV2"}


def mobilenet_v3_small(x: Any, strides: Stride, *, reduced: str = "") -> dict[str, Any]:
    c4 = None
    with v1.variable_scope("MobilenetV3"):
        x = slim.conv2d(x, 16, 3, scope="Conv", activation_fn=hard_swish, **strides(2))
        for number, (kernel, expansion, channels, squeeze, stride) in enumerate(V3_SMALL):
            before, act = x, hard_swish if number >= HARDSWISH_FROM else RELU
            if number >= 8 and reduced:
                channels //= 2
                expansion //= 2 if number > 8 or reduced == "segmentation" else 1
            with v1.variable_scope(f"expanded_conv_{number}" if number else "expanded_conv"):
                if number:
                    x = slim.conv2d(x, expansion, 1, scope="expand", activation_fn=act)
                c4 = x if number == 8 else c4
                x = slim.separable_conv2d(
                    x, None, kernel, depth_multiplier=1, scope="depthwise", activation_fn=act, **strides(stride)
                )
                if squeeze:
                    x *= excitation(x)
                x = slim.conv2d(x, channels, 1, scope="project", activation_fn=None)
                if stride == 1 and x.shape[-1] == before.shape[-1]:
                    x += before
        x = slim.conv2d(x, 288 if reduced else 576, 1, scope="Conv_1", activation_fn=hard_swish)
    return {"c4": c4, "last": x, "context": x, "name": "layer_13", "scope": "MobilenetV3"}


def excitation(x: Any) -> Any:
    with v1.variable_scope("squeeze_excite"):
        mean = tf.reduce_mean(x, [1, 2], keepdims=True)
        inner = slim.conv2d(mean, divisible(x.shape[-1] / 4), 1, normalizer_fn=None, activation_fn=RELU, scope="Conv")
        return slim.conv2d(inner, x.shape[-1], 1, normalizer_fn=None, activation_fn=hard_sigmoid, scope="Conv_1")


def classifier(ends: dict[str, Any], hidden: int = 0) -> dict[str, Any]:
    x = tf.reduce_mean(ends["last"], [1, 2], keepdims=True)
    plain = {"normalizer_fn": None}
    with v1.variable_scope(ends["scope"]):
        if hidden:
            x = slim.conv2d(x, hidden, 1, activation_fn=hard_swish, scope="Conv_2", **plain)
        x = slim.conv2d(x, 1001, 1, activation_fn=None, scope="Logits/Conv2d_1c_1x1", **plain)
    return {"logits": tf.squeeze(x, [1, 2])[:, 1:]}


def detector(ends: dict[str, Any], classes: int, *, kernel: int = 0, base: str = "") -> dict[str, Any]:
    """SSD's head; with a kernel of full convolutions, else of separable ones."""
    maps = [ends["c4"], ends["last"]]
    with v1.variable_scope(f"{base}{ends['scope']}"):
        for index, depth in enumerate((512, 256, 256, 128), 2):
            x = slim.conv2d(maps[-1], depth // 2, 1, scope=f"{ends['name']}_1_Conv2d_{index}_1x1_{depth // 2}")
            name = f"{ends['name']}_2_Conv2d_{index}_3x3_s2_{depth}"
            if kernel:
                maps.append(slim.conv2d(x, depth, 3, stride=2, scope=name))
            else:
                x = slim.separable_conv2d(x, None, 3, depth_multiplier=1, stride=2, scope=f"{name}_depthwise")
                maps.append(slim.conv2d(x, depth, 1, scope=name))
    boxes, logits = [], []
    for number, x in enumerate(maps):
        count = 6 if number else 3
        for name, values, found in (("BoxEncoding", 4, boxes), ("Class", 1 + classes, logits)):
            with v1.variable_scope(f"BoxPredictor_{number}"):
                y, scope = x, f"{name}Predictor"
                if not kernel:
                    y = slim.separable_conv2d(x, None, 3, depth_multiplier=1, scope=f"{scope}_depthwise")
                y = slim.conv2d(y, count * values, kernel or 1, normalizer_fn=None, activation_fn=None, scope=scope)
                found.append(tf.reshape(y, [1, -1, values]))
    return {"boxes": tf.concat(boxes, 1), "logits": tf.concat(logits, 1)}


def segmenter(x: Any, classes: int, *, separable: bool) -> dict[str, Any]:
    """DeepLab's head with atrous rates 6, 12 and 18."""
    with slim.arg_scope([slim.conv2d, slim.separable_conv2d], activation_fn=RELU):
        with slim.arg_scope([slim.batch_norm], epsilon=1e-5):
            pooled = slim.conv2d(tf.reduce_mean(x, [1, 2], keepdims=True), 256, 1, scope="image_pooling")
            branches = [tf.image.resize(pooled, x.shape[1:3]), slim.conv2d(x, 256, 1, scope="aspp0")]
            for index, rate in enumerate((6, 12, 18), 1):
                if separable:
                    y = slim.separable_conv2d(x, None, 3, depth_multiplier=1, rate=rate, scope=f"aspp{index}_depthwise")
                    branches.append(slim.conv2d(y, 256, 1, scope=f"aspp{index}_pointwise"))
                else:
                    branches.append(slim.conv2d(x, 256, 3, rate=rate, scope=f"aspp{index}"))
            x = slim.conv2d(tf.concat(branches, 3), 256, 1, scope="concat_projection")
        with v1.variable_scope("logits"):
            x = slim.conv2d(x, classes, 1, normalizer_fn=None, activation_fn=None, scope="semantic")
    return {"logits": x}


def inside(scope: str, build: Any) -> Any:
    with v1.variable_scope(scope):
        return build()


NETS: dict[str, tuple[int, Any]] = {
    "v1 classifier": (64, lambda x: classifier(mobilenet_v1(x, 0.25, Stride(32)))),
    "v2 classifier": (63, lambda x: classifier(mobilenet_v2(x, 0.35, Stride(32)))),
    "v3 classifier": (65, lambda x: classifier(mobilenet_v3_small(x, Stride(32)), hidden=1024)),
    "v1 ssd": (
        96,
        lambda x: detector(
            inside("FeatureExtractor", lambda: mobilenet_v1(x, 0.25, Stride(32))), 5, kernel=1, base="FeatureExtractor/"
        ),
    ),
    "v2 ssd": (
        97,
        lambda x: detector(
            inside("FeatureExtractor", lambda: mobilenet_v2(x, 0.35, Stride(32))), 2, kernel=3, base="FeatureExtractor/"
        ),
    ),
    "v3 ssdlite": (
        128,
        lambda x: detector(
            inside("FeatureExtractor", lambda: mobilenet_v3_small(x, Stride(32), reduced="detection")),
            3,
            base="FeatureExtractor/",
        ),
    ),
    "v2 deeplab": (
        129,
        lambda x: segmenter(mobilenet_v2(x, 0.5, Stride(16), divisor=1)["context"], 4, separable=True),
    ),
    "v3 deeplab": (
        113,
        lambda x: segmenter(mobilenet_v3_small(x, Stride(16), reduced="segmentation")["context"], 21, separable=False),
    ),
}


def run(size: int, build: Any) -> dict[str, Any]:
    """Variables and outputs of one network."""
    with tf.Graph().as_default(), v1.Session() as session:
        given = v1.placeholder(tf.float32, [1, size, size, 3])
        norm = {"is_training": False, "scale": True, "epsilon": 0.001}
        convolution = {"activation_fn": RELU6, "normalizer_fn": slim.batch_norm}
        layers = [slim.conv2d, slim.separable_conv2d]
        with slim.arg_scope(layers, **convolution), slim.arg_scope([slim.batch_norm], **norm):
            outputs = build(given)
        variables = {one.op.name: [int(side) for side in one.shape] for one in v1.global_variables()}
        for one in v1.global_variables():
            one.load(variable(one.op.name, variables[one.op.name]), session)
        found = session.run(outputs, {given: images(size)})
    kept = {name: [float(f"{value:.7g}") for value in sampled(values)] for name, values in found.items()}
    shapes = {name: list(values.shape) for name, values in found.items()}
    return {"size": size, "variables": variables, "outputs": kept, "shapes": shapes}


if __name__ == "__main__":
    nets = {name: run(size, build) for name, (size, build) in NETS.items()}
    FILE.write_text(json.dumps(nets, separators=(",", ":")) + "\n")
