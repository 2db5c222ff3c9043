"""Names of TF-slim's MobileNetV2, and of what was built on it: the object detection API's SSD and SSDLite, and DeepLab.

The backbone's variables get our names. What belongs to a detector's head keeps TensorFlow's, with its arrays in
PyTorch's order, for the head's importer (`heads.ssdlite.tensorflow`); a segmentation head gets those of transformers.
What the authors trained with, and how they looked at images, is in `Weights.settings`.

Reference: tensorflow/models, research/slim (nets/mobilenet), research/object_detection (configs of
ssdlite_mobilenet_v2_coco), research/deeplab (model.py, common.py).
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from backbone.errors import InputError
from backbone.weights.sources import BLOCKS, Weights, trained_in_tensorflow, without_background

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ORIGIN = "TensorFlow"
NET = "MobilenetV2/"
DETECTOR = "FeatureExtractor/"
NETWORK = (NET, DETECTOR, "BoxPredictor_", "image_pooling/", "aspp", "concat_projection/", "logits/")
"""Beginnings of the names of what is part of a network; a graph has other constants, too."""
FOLDED = "/folded_bias"
"""Ending of a bias that has a normalisation folded in."""
AVERAGE = "/ExponentialMovingAverage"
LEFT_OUT = ("/RMSProp", "/Momentum", "/Adam", "/Adagrad", "/Ftrl")
"""Endings of what an optimiser keeps beside each variable, a number perhaps behind them."""
ARRAYS = {
    "weights": "conv.weight",
    "depthwise_weights": "conv.weight",
    "BatchNorm/gamma": "norm.weight",
    "BatchNorm/beta": "norm.bias",
    "BatchNorm/moving_mean": "norm.running_mean",
    "BatchNorm/moving_variance": "norm.running_var",
}
SEGMENTATION = {
    "image_pooling": "segmentation_head.conv_pool",
    "aspp0": "segmentation_head.conv_aspp",
    "concat_projection": "segmentation_head.conv_projection",
}
DETECTOR_HEAD: dict[str, Any] = {
    "padding": "tf_same",
    "bn_eps": 1e-3,
    "score": "sigmoid",
    "aspect_ratios": [1.0, 2.0, 0.5, 3.0, 0.3333],
    "clip": "after",
}
FROM_FACTS = (
    "score",
    "score_threshold",
    "nms_iou",
    "max_detections",
    "min_scale",
    "max_scale",
    "aspect_ratios",
)
DETECTOR_TRANSFORM: dict[str, Any] = {"image_size": 300, "interpolation": "legacy_bilinear"}
"""Values of ssdlite_mobilenet_v2_coco.config; what a graph or a pipeline.config says goes before it."""
DEEPLAB_SIZE = 513
BACKBONE_EPS, HEAD_EPS = 1e-3, 1e-5
"""Epsilon of batch normalisation, in DeepLab's model.py for the head."""


def recognises(names: Mapping[str, Tensor]) -> bool:
    return any(f"{prefix}{NET}Conv/weights" in names for prefix in ("", DETECTOR))


def convert(source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights:
    variables = _variables(tensors)
    is_detector = any(name.startswith(DETECTOR) for name in variables)
    converted: dict[str, Tensor] = {}
    for name, tensor in variables.items():
        converted |= _renamed(name.removeprefix(DETECTOR) if f"{DETECTOR}{NET}" in name else name, tensor)
    weights = trained_in_tensorflow(source, ORIGIN, without_background(converted))
    facts = json.loads(header.get("graph", "{}"))
    if is_detector:
        return replace(weights, settings=_detector(source, facts))
    if "segmentation_head.classifier.convolution.weight" in converted:
        return replace(weights, settings=_segmenter(facts))
    return weights


def _variables(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the network; their moving averages in their place where the training kept some, as evaluation did."""
    found = {}
    for name, tensor in tensors.items():
        is_slot = name.rstrip("_0123456789").endswith(LEFT_OUT) or name.endswith(AVERAGE)
        if is_slot or not name.startswith(NETWORK) or not tensor.is_floating_point():
            continue
        average = tensors.get(f"{name}{AVERAGE}")
        found[name] = (tensor if average is None else average).float()
    return found


def _renamed(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """A variable under our name, or its own where it is no backbone's, in PyTorch's order.

    Weights with a folded normalisation get one that changes nothing but adds their bias.
    """
    if name.endswith(FOLDED):
        place = _place(name.removesuffix(FOLDED))
        if place is None:
            return {name: tensor}
        of_head = place.startswith("segmentation")
        norm, eps = ("normalization", HEAD_EPS) if of_head else ("norm", BACKBONE_EPS)
        return {
            f"{place}.{norm}.weight": torch.full_like(tensor, math.sqrt(1 + eps)),
            f"{place}.{norm}.bias": tensor,
            f"{place}.{norm}.running_mean": torch.zeros_like(tensor),
            f"{place}.{norm}.running_var": torch.ones_like(tensor),
        }
    tensor = to_torch(name, tensor)
    if name in LOGITS:
        return {LOGITS[name]: tensor.flatten(1) if LOGITS[name] == "classifier.weight" else tensor}
    for array, ours in ARRAYS.items():
        place = _place(name.removesuffix(f"/{array}")) if name.endswith(f"/{array}") else None
        if place is not None:
            if place.startswith("segmentation"):
                ours = ours.replace("conv.", "convolution.").replace("norm.", "normalization.")
            return {f"{place}.{ours}": tensor}
    return {name: tensor}


LOGITS = {
    "MobilenetV2/Logits/Conv2d_1c_1x1/weights": "classifier.weight",
    "MobilenetV2/Logits/Conv2d_1c_1x1/biases": "classifier.bias",
    "logits/semantic/weights": "segmentation_head.classifier.convolution.weight",
    "logits/semantic/biases": "segmentation_head.classifier.convolution.bias",
}


def _place(scope: str) -> str | None:
    """Our layer of a scope of variables."""
    if scope in SEGMENTATION:
        return SEGMENTATION[scope]
    match scope.removeprefix(NET).split("/"):
        case ["Conv"] if scope.startswith(NET):
            return "stem"
        case ["Conv_1"] if scope.startswith(NET):
            return "last"
        case [block, part] if part in ("expand", "depthwise", "project") and block.startswith("expanded_conv"):
            number = block.removeprefix("expanded_conv").removeprefix("_") or "0"
            if number.isdigit() and int(number) < len(BLOCKS):
                return f"{BLOCKS[int(number)]}.{part}"
    return None


def to_torch(name: str, array: Tensor) -> Tensor:
    """From (height, width, in, out) to (out, in, height, width); depthwise filters are (height, width, out, 1)."""
    if array.ndim != 4:
        return array
    return array.permute((2, 3, 0, 1) if name.endswith("depthwise_weights") else (3, 2, 0, 1)).contiguous()


def _detector(source: str, facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Options of the head and of the transform that an SSD was trained with."""
    head = DETECTOR_HEAD | {name: facts[name] for name in FROM_FACTS if name in facts}
    if head["score"] not in ("sigmoid", "softmax"):
        raise InputError(f"{source}: makes scores by {head['score']}; known are sigmoid and softmax")
    if "boxes" in facts:
        head |= _default_boxes(source, facts["boxes"])
    names = ("image_size", "interpolation")
    return {
        "task": {"name": "detection"},
        "head": head,
        "transform": DETECTOR_TRANSFORM | {name: facts[name] for name in names if name in facts},
    }


def _default_boxes(source: str, boxes: list[Any]) -> dict[str, Any]:
    """Options that give the default boxes of a graph: by map, scales and ratios.

    Raises:
        InputError: they are of another arrangement than SSD's for MobileNets.
    """
    try:
        (first, first_ratios), *others = boxes
        ratios = others[0][1][:-1]
        is_known = (
            [round(scale / first[1], 4) for scale in first] == [0.5, 1, 1]
            and [round(ratio, 4) for ratio in first_ratios] == [1, 2, 0.5]
            and all(one[:-1] == ratios and one[-1] == 1 for _, one in others)
        )
    except (ValueError, IndexError, TypeError, ZeroDivisionError):
        is_known = False
    if not is_known:
        raise InputError(
            f"{source}: its default boxes are of another arrangement than SSD's for MobileNets: three in the first map,"
            " the same ratios and one more square in the others"
        )
    return {
        "min_scale": round(first[1], 6),
        "max_scale": round(others[-1][0][0], 6),
        "aspect_ratios": [round(ratio, 6) for ratio in ratios],
    }


def _segmenter(facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Options that a DeepLab was evaluated with: images are padded to the size of its training crops."""
    size = facts.get("image_size", DEEPLAB_SIZE)
    return {"task": {"name": "segmentation"}, "head": {}, "transform": {"image_size": size, "pad": True}}
