"""Names of transformers' `MobileNetV2Model` and of its models for classification and for segmentation (DeepLab).

The segmentation head's tensors keep their names, `segmentation_head.conv_pool` and so on, for the head's importer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backbone.weights.sources import BLOCKS, Weights, trained_in_tensorflow, without_background

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ORIGIN = "Hugging Face"
PREFIX = "mobilenet_v2."
PARTS = {"expand_1x1": "expand", "conv_3x3": "depthwise", "reduce_1x1": "project"}
KINDS = {"convolution": "conv", "normalization": "norm"}


def recognises(names: Mapping[str, Tensor]) -> bool:
    first = "conv_stem.first_conv.convolution.weight"
    return first in names or f"{PREFIX}{first}" in names


def convert(source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights:
    return trained_in_tensorflow(
        source, ORIGIN, without_background({rename(name): tensor for name, tensor in tensors.items()})
    )


def rename(name: str) -> str:
    """Our name of a tensor; a name without a counterpart stays."""
    match name.removeprefix(PREFIX).split("."):
        case ["conv_stem", "first_conv", kind, tail] if kind in KINDS:
            return f"stem.{KINDS[kind]}.{tail}"
        case ["conv_stem", part, kind, tail] if part in PARTS and kind in KINDS:
            return f"{BLOCKS[0]}.{PARTS[part]}.{KINDS[kind]}.{tail}"
        case ["layer", index, part, kind, tail] if index.isdigit() and int(index) + 1 < len(BLOCKS) and part in PARTS:
            return f"{BLOCKS[int(index) + 1]}.{PARTS[part]}.{KINDS.get(kind, kind)}.{tail}"
        case ["conv_1x1", kind, tail] if kind in KINDS:
            return f"last.{KINDS[kind]}.{tail}"
    return name
