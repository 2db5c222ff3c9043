"""Files of TF-slim's MobileNets, and of what was built on them: the object detection API's SSD and SSDLite, DeepLab.

The backbone's variables get our names. What belongs to a detector's head keeps TensorFlow's, with its arrays in
PyTorch's order, for the head's importer (`heads.ssdlite.tensorflow`); a segmentation head gets those of transformers.
What the authors trained with, and how they looked at images, is in `Weights.settings`.

Reference: tensorflow/models, research/slim (nets/mobilenet), research/object_detection (configs of
ssdlite_mobilenet_v2_coco), research/deeplab (model.py, common.py).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from backbone.errors import InputError
from backbone.weights.sources import Weights, trained_in_tensorflow, without_background
from backbone.weights.tensorflow.names import net_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from backbone.weights.tensorflow.names import Net

ORIGIN = "TensorFlow"
DETECTOR = "FeatureExtractor/"
SHARED = "WeightSharedConvolutionalBoxPredictor/"
NETWORK = (
    "MobilenetV",
    DETECTOR,
    "BoxPredictor_",
    "image_pooling/",
    "aspp",
    "concat_projection/",
    "logits/",
    "decoder/",
    SHARED,
)
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
} | {
    f"aspp{rate}{part}": f"segmentation_head.conv_aspp{rate}{part}"
    for rate in (1, 2, 3)
    for part in ("", "_depthwise", "_pointwise")
}
UNKNOWN = {
    "decoder/": "a decoder (DeepLabv3+)",
    "logits/semantic_1/": "atrous convolutions for logits",
    "BoxPredictor_0/Conv2d_0": "convolutions before its predictors",
    SHARED: "predictors that all maps share, behind a feature pyramid",
}
"""Beginnings of names of layers that no head here has, in words."""
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
ASSUMED = (
    "scores, default boxes, thresholds and size of images: taken as in the object detection API's"
    " ssdlite_mobilenet_v2_coco; put the pipeline.config beside it, or say head.* and transform.*"
)
DEEPLAB_SIZE = 513
BACKBONE_EPS, HEAD_EPS = 1e-3, 1e-5
"""Epsilon of batch normalisation, in DeepLab's model.py for the head."""


def recognises(names: Mapping[str, Tensor]) -> bool:
    return net_of(names) is not None or net_of(names, DETECTOR) is not None


def convert(source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights:
    variables = _variables(tensors)
    detector = net_of(variables, DETECTOR)
    net = detector or net_of(variables)
    assert net is not None
    converted: dict[str, Tensor] = {}
    for name, tensor in variables.items():
        converted |= _renamed(name.removeprefix(DETECTOR), tensor, net)
    weights = trained_in_tensorflow(source, ORIGIN, without_background(converted), family=net.family)
    unknown = [what for beginning, what in UNKNOWN.items() if any(name.startswith(beginning) for name in variables)]
    if unknown:
        return replace(weights, unknown=unknown[0])
    facts = json.loads(header.get("graph", "{}"))
    if detector is not None:
        settings = _detector(source, facts, variables) | backbone_options(weights.options)
        return replace(weights, settings=settings, assumed="" if facts else ASSUMED)
    if "segmentation_head.classifier.convolution.weight" in converted:
        return replace(weights, settings=_segmenter(facts, variables) | backbone_options(weights.options))
    return weights


def backbone_options(options: str) -> dict[str, dict[str, Any]]:
    """Options of the known network that has these channels and blocks, as `Weights.settings` has them."""
    pairs = [word.split("=") for word in options.split()]
    values: dict[str, Any] = {}
    for name, text in pairs:
        values[name] = text if name == "reduced_tail" else json.loads(text)
    return {"backbone": values} if values else {}


def _variables(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the network; their moving averages in their place where the training kept some, as evaluation did.

    A normalisation that has no scale has ones.
    """
    found = {}
    for name, tensor in tensors.items():
        is_slot = name.rstrip("_0123456789").endswith(LEFT_OUT) or name.endswith(AVERAGE)
        if is_slot or not name.startswith(NETWORK) or not tensor.is_floating_point():
            continue
        average = tensors.get(f"{name}{AVERAGE}")
        found[name] = (tensor if average is None else average).float()
    for name in [name for name in found if name.endswith(MEAN)]:
        scale = f"{name.removesuffix(MEAN)}/gamma"
        found.setdefault(scale, torch.ones_like(found[name]))
    return found


def _renamed(name: str, tensor: Tensor, net: Net) -> dict[str, Tensor]:
    """A variable under our name, or its own where it is no backbone's, in PyTorch's order.

    Weights with a folded normalisation get one that changes nothing but adds their bias.
    """
    if name.endswith(FOLDED):
        place = _place(name.removesuffix(FOLDED), net)
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
    scope, _, array = name.rpartition("/")
    if array in PLAIN and (layer := _plain_layer(scope, net)) is not None:
        is_matrix = array == "weights" and not layer.startswith(("segmentation_head", *net.blocks))
        return {f"{layer}.{PLAIN[array]}": tensor.flatten(1) if is_matrix else tensor}
    for array, ours in ARRAYS.items():
        place = _place(name.removesuffix(f"/{array}"), net) if name.endswith(f"/{array}") else None
        if place is not None:
            if place.startswith("segmentation"):
                ours = ours.replace("conv.", "convolution.").replace("norm.", "normalization.")
            return {f"{place}.{ours}": tensor}
    return {name: tensor}


PLAIN = {"weights": "weight", "biases": "bias"}
MEAN = "/moving_mean"


def _plain_layer(scope: str, net: Net) -> str | None:
    """Our layer of a scope that has weights and biases and no normalisation."""
    if scope == f"{net.scope}Logits/Conv2d_1c_1x1":
        return "classifier"
    if scope == f"{net.scope}Conv_2":
        return "hidden.0"
    if scope == "logits/semantic":
        return "segmentation_head.classifier.convolution"
    place = net.place(scope)
    return place if place is not None and ".squeeze." in place else None


def _place(scope: str, net: Net) -> str | None:
    """Our layer of a scope of variables, with a normalisation."""
    return SEGMENTATION.get(scope) or net.place(scope)


def to_torch(name: str, array: Tensor) -> Tensor:
    """From (height, width, in, out) to (out, in, height, width); depthwise filters are (height, width, out, 1)."""
    if array.ndim != 4:
        return array
    return array.permute((2, 3, 0, 1) if name.endswith("depthwise_weights") else (3, 2, 0, 1)).contiguous()


def _detector(source: str, facts: Mapping[str, Any], variables: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Options of the head and of the transform that an SSD was trained with."""
    head = DETECTOR_HEAD | _kinds(variables) | {name: facts[name] for name in FROM_FACTS if name in facts}
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


def _kinds(variables: Mapping[str, Tensor]) -> dict[str, Any]:
    """Kinds and channels of a detector's own layers: separable, or of full convolutions."""
    predictor = variables.get("BoxPredictor_0/BoxEncodingPredictor/weights")
    extras = {name: tensor for name, tensor in variables.items() if EXTRA.fullmatch(name)}
    found: dict[str, Any] = {"extra_channels": [extras[name].shape[-1] for name in sorted(extras, key=_number)]}
    if any(tensor.shape[0] > 1 for tensor in extras.values()):
        found["dense_extras"] = True
    if predictor is not None and not any(
        name.startswith("BoxPredictor_0/BoxEncodingPredictor_depth") for name in variables
    ):
        found["predictor"] = f"conv{predictor.shape[0]}x{predictor.shape[1]}"
    return found


EXTRA = re.compile(r"FeatureExtractor/Mobilenet.+_2_Conv2d_(\d+)_3x3_s2_\d+/weights")


def _number(name: str) -> int:
    """Number of an extra layer."""
    found = EXTRA.fullmatch(name)
    return int(found[1]) if found else 0


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


def _segmenter(facts: Mapping[str, Any], variables: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Options that a DeepLab was evaluated with: images are padded to the size of its training crops."""
    size = facts.get("image_size", DEEPLAB_SIZE)
    head: dict[str, Any] = {}
    if any(name.startswith("aspp1") for name in variables):
        head = {"aspp": "full", "separable": any(name.startswith("aspp1_depthwise/") for name in variables)}
    return {"task": {"name": "segmentation"}, "head": head, "transform": {"image_size": size, "pad": True}}
