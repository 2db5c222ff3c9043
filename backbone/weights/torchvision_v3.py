"""Names of torchvision's `mobilenet_v3_large` and `_small`, and of its detector and segmenters on the large one.

`features.0` is the stem, then come the blocks, then the last convolution. A block's parts are numbered as it has them:
expansion, depthwise convolution, squeeze-and-excitation, projection. The classifier is `hidden.0` and `classifier`
here; other heads' tensors keep their names for the heads' importers. What the authors evaluated with is in
`Weights.settings`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backbone.families.mobilenet_v3 import LARGE, SMALL, ReducedTail
from backbone.weights.sources import HALF, Weights, block_names, trained_in_pytorch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ORIGIN = "torchvision"
FEATURES = "features."
SEGMENTER = "backbone."
DETECTOR = "backbone.features."
BN_EPS = 1e-3
CLASSIFIER = {"classifier.0": "hidden.0", "classifier.3": "classifier"}
SQUEEZE = {"fc1": "reduce", "fc2": "expand"}
UNIT = {"0": "conv", "1": "norm"}
LRASPP_SETTINGS: dict[str, dict[str, Any]] = {
    "task": {"name": "segmentation"},
    "transform": {},
    "head": {
        "low_tap": "stage3.first",
        "pool": "whole",
        "gate": "sigmoid",
        "gate_bias": False,
        "aligned_corners": False,
    },
}
DEEPLAB_SETTINGS: dict[str, dict[str, Any]] = {
    "task": {"name": "segmentation"},
    "transform": {},
    "head": {"aspp": "full", "atrous_rates": [12, 24, 36], "refine": True, "aligned_corners": False},
}
DETECTOR_SETTINGS: dict[str, dict[str, Any]] = {
    "task": {"name": "detection"},
    "transform": {"image_size": 320, "interpolation": "float_bilinear"},
    "head": {
        "min_scale": 0.2,
        "max_scale": 0.95,
        "aspect_ratios": [1.0, 2.0, 1 / 2, 3.0, 1 / 3],
        "three_boxes_first": False,
        "limit_boxes": True,
        "score": "softmax",
        "padding": "symmetric",
        "bn_eps": 1e-3,
        "score_threshold": 0.001,
        "nms_iou": 0.55,
        "clip": "before",
        "candidates": 300,
        "max_detections": 300,
    },
}
BOXES_PER_CELL = 6
"""Default boxes of every map of the detector, four values each: two squares, ratios 2 and 3 lying and standing."""
PREDICTOR = "head.{}_head.module_list.{}.1.weight"


def recognises(names: Mapping[str, Tensor]) -> bool:
    first = ("features.1.block.0.0.weight", "backbone.1.block.0.0.weight", "backbone.features.0.1.block.0.0.weight")
    return any(name in names for name in first)


def convert(source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights:
    detector = any(name.startswith(DETECTOR) for name in tensors)
    segmenter = not detector and any(name.startswith(SEGMENTER) for name in tensors)
    plain = {_as_classifier(name, detector=detector, segmenter=segmenter): t for name, t in tensors.items()}
    rows = max(int(name.split(".")[1]) for name in plain if name.startswith(FEATURES)) - 1
    large = rows == len(block_names(LARGE.stages))
    blocks = block_names((LARGE if large else SMALL).stages)
    renamed = {_rename(name, plain, blocks, classifies=not segmenter): tensor for name, tensor in plain.items()}
    weights = trained_in_pytorch(
        source, ORIGIN, renamed, family="mobilenet_v3_large" if large else "mobilenet_v3_small", bn_eps=BN_EPS
    )
    if detector:
        return replace(weights, input_mean=HALF, input_std=HALF, settings=_detector(renamed))
    if segmenter:
        settings = LRASPP_SETTINGS if "classifier.low_classifier.weight" in plain else DEEPLAB_SETTINGS
        return replace(weights, dilate_first=True, settings=settings)
    return weights


def _detector(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """What a detector was evaluated with; nothing if its default boxes are not as many as torchvision's own."""
    found: dict[str, dict[str, Any]] = {}
    number = 0
    while (boxes := tensors.get(PREDICTOR.format("regression", number))) is not None:
        classes = tensors.get(PREDICTOR.format("classification", number))
        if classes is None or len(boxes) != 4 * BOXES_PER_CELL:
            return {}
        slots, last = len(classes) // BOXES_PER_CELL, len(tensors["last.conv.weight"])
        tail = ReducedTail.none if last == LARGE.last else ReducedTail.detection
        backbone = {"reduced_tail": tail.value}
        found = DETECTOR_SETTINGS | {"head": DETECTOR_SETTINGS["head"] | {"class_slots": slots}, "backbone": backbone}
        number += 1
    return found


def _as_classifier(name: str, *, detector: bool, segmenter: bool) -> str:
    """Name that a tensor has in the model for classification.

    The detector is cut behind the expansion of the first block of the last stage: `features.0` ends with that, and
    `features.1.0` holds the block's other parts.
    """
    if segmenter and name.startswith(SEGMENTER):
        return f"{FEATURES}{name.removeprefix(SEGMENTER)}"
    if not detector or not name.startswith(DETECTOR):
        return name
    cut = len(block_names(LARGE.stages)) - len(list(LARGE.stages.values())[-1]) + 1
    half, index, *rest = name.removeprefix(DETECTOR).split(".")
    if half == "0":
        part = ["block", "0"] if int(index) == cut else []
        return ".".join(["features", index, *part, *rest])
    if index == "0":
        return ".".join(["features", str(cut), "block", *rest])
    return ".".join(["features", str(cut + int(index)), *rest])


def _rename(name: str, names: Mapping[str, Tensor], blocks: list[str], *, classifies: bool) -> str:
    """Our name of a tensor; a name without a counterpart stays."""
    module, _, tail = name.rpartition(".")
    if classifies and module in CLASSIFIER:
        return f"{CLASSIFIER[module]}.{tail}"
    match name.split("."):
        case ["features", "0", kind, tail] if kind in UNIT:
            return f"stem.{UNIT[kind]}.{tail}"
        case ["features", index, kind, tail] if int(index) == len(blocks) + 1 and kind in UNIT:
            return f"last.{UNIT[kind]}.{tail}"
        case ["features", index, "block", place, kind, tail] if 1 <= int(index) <= len(blocks):
            block = blocks[int(index) - 1]
            if kind in SQUEEZE:
                return f"{block}.squeeze.{SQUEEZE[kind]}.{tail}"
            return f"{block}.{_parts(index, names)[int(place)]}.{UNIT.get(kind, kind)}.{tail}"
    return name


def _parts(index: str, names: Mapping[str, Tensor]) -> list[str]:
    """Parts of a block in their order."""
    prefix = f"{FEATURES}{index}.block."
    places = {name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)}
    squeeze = any(name.startswith(prefix) and ".fc1." in name for name in names)
    parts = ["depthwise", *(["squeeze"] if squeeze else []), "project"]
    return parts if len(places) == len(parts) else ["expand", *parts]
