"""Names of transformers' `MobileNetV1Model`, `MobileNetV2Model` and their models for classification and segmentation.

The segmentation head's tensors keep their names, `segmentation_head.conv_pool` and so on, for the head's importer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backbone.weights.sources import BLOCKS, BLOCKS_V1, Weights, trained_in_tensorflow, without_background

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ORIGIN = "Hugging Face"
PREFIX = "mobilenet_v2."
PREFIX_V1 = "mobilenet_v1."
PARTS = {"expand_1x1": "expand", "conv_3x3": "depthwise", "reduce_1x1": "project"}
KINDS = {"convolution": "conv", "normalization": "norm"}


def recognises(names: Mapping[str, Tensor]) -> bool:
    first = "conv_stem.first_conv.convolution.weight"
    return first in names or f"{PREFIX}{first}" in names or _is_v1(names)


def _is_v1(names: Mapping[str, Tensor]) -> bool:
    first = "conv_stem.convolution.weight"
    return first in names or f"{PREFIX_V1}{first}" in names


def convert(source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights:
    v1 = _is_v1(tensors)
    ours = rename_v1 if v1 else rename
    return trained_in_tensorflow(
        source,
        ORIGIN,
        without_background({ours(name): tensor for name, tensor in tensors.items()}),
        family="mobilenet_v1" if v1 else "mobilenet_v2",
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


def rename_v1(name: str) -> str:
    """Our name of a tensor of V1, whose layers are by turns depthwise and pointwise; without a counterpart it stays."""
    match name.removeprefix(PREFIX_V1).split("."):
        case ["conv_stem", kind, tail] if kind in KINDS:
            return f"stem.{KINDS[kind]}.{tail}"
        case ["layer", index, kind, tail] if index.isdigit() and int(index) < 2 * len(BLOCKS_V1) and kind in KINDS:
            part = "project" if int(index) % 2 else "depthwise"
            return f"{BLOCKS_V1[int(index) // 2]}.{part}.{KINDS[kind]}.{tail}"
    return name
