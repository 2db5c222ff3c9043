"""Names of timm's `mobilenetv2_*`: `blocks.S.I` is our stage S + 1, block I; 110d and 120d have more blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backbone.weights.sources import Weights, trained_in_pytorch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ORIGIN = "timm"
ENDS = {"conv_stem": "stem.conv", "bn1": "stem.norm", "conv_head": "last.conv", "bn2": "last.norm"}
FIRST_BLOCK = {
    "conv_dw": "depthwise.conv",
    "bn1": "depthwise.norm",
    "conv_pw": "project.conv",
    "bn2": "project.norm",
}
"""Layers of stage 1, which does not expand: timm calls its projection `pw`."""
BLOCK = {
    "conv_pw": "expand.conv",
    "bn1": "expand.norm",
    "conv_dw": "depthwise.conv",
    "bn2": "depthwise.norm",
    "conv_pwl": "project.conv",
    "bn3": "project.norm",
}


def recognises(names: Mapping[str, Tensor]) -> bool:
    return "conv_stem.weight" in names and "blocks.1.0.conv_pwl.weight" in names


def convert(source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights:
    return trained_in_pytorch(source, ORIGIN, {rename(name): tensor for name, tensor in tensors.items()})


def rename(name: str) -> str:
    """Our name of a tensor; a name without a counterpart stays."""
    module, _, tail = name.rpartition(".")
    if module in ENDS:
        return f"{ENDS[module]}.{tail}"
    match module.split("."):
        case ["blocks", stage, block, part] if stage.isdigit():
            parts = BLOCK if int(stage) else FIRST_BLOCK
            return f"stage{int(stage) + 1}.{block}.{parts[part]}.{tail}" if part in parts else name
    return name
