"""Heads of SSDs that TensorFlow's object detection API trained, under the names of `SSDLite`'s state_dict.

Reference: tensorflow/models, research/object_detection: models/feature_map_generators.py (names of the extra layers),
predictors/convolutional_box_predictor.py, box_coders/faster_rcnn_box_coder.py (order of a box: y, x, h, w).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

EXTRA = re.compile(
    r"(Mobilenet\w+/(?:layer_\d+|Conv2d_\d+_pointwise)_([12])_Conv2d_(\d+)_(?:1x1|3x3_s2)_\d+)(_depthwise)?/(.+)"
)
PREDICTOR = re.compile(r"BoxPredictor_(\d+)/(BoxEncoding|Class)Predictor(_depthwise)?/(.+)")
ARRAYS = {
    "weights": "conv.weight",
    "depthwise_weights": "conv.weight",
    "BatchNorm/gamma": "norm.weight",
    "BatchNorm/beta": "norm.bias",
    "BatchNorm/moving_mean": "norm.running_mean",
    "BatchNorm/moving_variance": "norm.running_var",
}
LAST = {"weights": "1.weight", "biases": "1.bias"}
FIRST_EXTRA = 2
OUR_ORDER = (1, 0, 3, 2)
"""Positions of x, y, w, h among y, x, h, w."""


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the head by our names; empty if there are none.

    Args:
        tensors: by TensorFlow's names, in PyTorch's order of dimensions.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if (extra := EXTRA.fullmatch(name)) and extra[5] in ARRAYS:
            scope, place, number, depthwise, array = extra.groups()
            is_third = not depthwise and f"{scope}_depthwise/depthwise_weights" in tensors
            part = 0 if place == "1" else 2 if is_third else 1
            found[f"extras.{int(number) - FIRST_EXTRA}.{part}.{ARRAYS[array]}"] = tensor
        elif predictor := PREDICTOR.fullmatch(name):
            number, kind, depthwise, array = predictor.groups()
            ours = f"{'box' if kind == 'BoxEncoding' else 'class'}_predictors.{number}"
            if depthwise and array in ARRAYS:
                found[f"{ours}.0.{ARRAYS[array]}"] = tensor
            elif not depthwise and array in LAST:
                found[f"{ours}.{LAST[array]}"] = _reordered(tensor) if kind == "BoxEncoding" else tensor
    return found


def _reordered(tensor: Tensor) -> Tensor:
    """Rows of the box predictor, four to a box, in our order."""
    return tensor.reshape(-1, 4, *tensor.shape[1:])[:, list(OUR_ORDER)].reshape(tensor.shape)
