"""Head of torchvision's `ssdlite320_mobilenet_v3_large` under the names of `SSDLite`'s state_dict.

Reference: torchvision, models/detection/ssdlite.py (names), anchor_utils.py (the order of a cell's boxes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

PREDICTORS = {"classification_head": "class_predictors", "regression_head": "box_predictors"}
UNIT = {"0": "conv", "1": "norm"}
BOX_VALUES = 4


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the head by our names; empty if there are none."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        match name.split("."):
            case ["backbone", "extra", number, part, kind, tail] if kind in UNIT:
                found[f"extras.{number}.{part}.{UNIT[kind]}.{tail}"] = tensor
            case ["head", predictor, "module_list", number, "0", kind, tail] if (
                predictor in PREDICTORS and kind in UNIT
            ):
                found[f"{PREDICTORS[predictor]}.{number}.0.{UNIT[kind]}.{tail}"] = tensor
            case ["head", predictor, "module_list", number, "1", tail] if predictor in PREDICTORS:
                boxes = len(tensors[f"head.regression_head.module_list.{number}.1.{tail}"]) // BOX_VALUES
                found[f"{PREDICTORS[predictor]}.{number}.1.{tail}"] = _reordered(tensor, boxes)
    return found


def _reordered(tensor: Tensor, boxes: int) -> Tensor:
    """Rows of a predictor in our order of a cell's boxes: the square of the next scale, their second, is our last."""
    order = [0, *range(2, boxes), 1][:boxes]
    return tensor.reshape(boxes, -1, *tensor.shape[1:])[order].flatten(0, 1)
