"""Names of torchvision's `mobilenet_v2`: `features.0` is the stem, 1 to 17 are bottlenecks, 18 the last convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backbone.weights.sources import BLOCKS, Weights, trained_in_pytorch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ORIGIN = "torchvision"


def recognises(names: Mapping[str, Tensor]) -> bool:
    return "features.0.0.weight" in names and "features.1.conv.0.0.weight" in names


def convert(source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights:
    return trained_in_pytorch(source, ORIGIN, {rename(name): tensor for name, tensor in tensors.items()})


def rename(name: str) -> str:
    """Our name of a tensor; a name without a counterpart stays."""
    if name.startswith("classifier.1."):
        return name.replace("classifier.1.", "classifier.")
    top, _, rest = name.removeprefix("features.").partition(".")
    if not name.startswith("features.") or not top.isdigit() or int(top) > len(BLOCKS) + 1:
        return name
    if int(top) == 0:
        return f"stem.{_unit(rest)}"
    if int(top) == len(BLOCKS) + 1:
        return f"last.{_unit(rest)}"
    # A bottleneck is conv.0.{0,1} expand, conv.1.{0,1} depthwise, conv.2 and conv.3 project; the first has no expand.
    parts = ["expand", "depthwise", "project"][int(top) == 1 :]
    place, _, tail = rest.removeprefix("conv.").partition(".")
    if int(place) < len(parts) - 1:
        return f"{BLOCKS[int(top) - 1]}.{parts[int(place)]}.{_unit(tail)}"
    return f"{BLOCKS[int(top) - 1]}.project.{'norm' if int(place) == len(parts) else 'conv'}.{tail}"


def _unit(rest: str) -> str:
    """Our name of `0.weight`, a convolution's, and of `1.bias`, a normalisation's."""
    place, _, tail = rest.partition(".")
    return f"{'conv' if place == '0' else 'norm'}.{tail}"
