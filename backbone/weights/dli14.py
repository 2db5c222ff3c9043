"""Names of d-li14's `mobilenetv2.pytorch`: blocks are flat lists, the last convolution is outside `features`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backbone.weights.sources import BLOCKS, Weights, trained_in_pytorch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ORIGIN = "d-li14"
LAYERS = {
    "0": "expand.conv",
    "1": "expand.norm",
    "3": "depthwise.conv",
    "4": "depthwise.norm",
    "6": "project.conv",
    "7": "project.norm",
}
FIRST_LAYERS = {"0": "depthwise.conv", "1": "depthwise.norm", "3": "project.conv", "4": "project.norm"}
"""Layers of the first block, which does not expand."""
ENDS = {"0": "conv", "1": "norm"}


def recognises(names: Mapping[str, Tensor]) -> bool:
    return "features.0.0.weight" in names and "features.2.conv.6.weight" in names


def convert(source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights:
    return trained_in_pytorch(source, ORIGIN, {rename(name): tensor for name, tensor in tensors.items()})


def rename(name: str) -> str:
    """Our name of a tensor; a name without a counterpart stays."""
    match name.split("."):
        case ["features", "0", layer, tail] if layer in ENDS:
            return f"stem.{ENDS[layer]}.{tail}"
        case ["features", index, "conv", layer, tail] if index.isdigit() and 1 <= int(index) <= len(BLOCKS):
            layers = LAYERS if int(index) > 1 else FIRST_LAYERS
            return f"{BLOCKS[int(index) - 1]}.{layers[layer]}.{tail}" if layer in layers else name
        case ["conv", layer, tail] if layer in ENDS:
            return f"last.{ENDS[layer]}.{tail}"
    return name
