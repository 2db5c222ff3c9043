"""What every source of weights has in common."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backbone.architecture import Padding
from backbone.errors import InputError
from backbone.families.mobilenet_v2 import TABLE_2, mobilenet_v2

if TYPE_CHECKING:
    from torch import Tensor

KNOWN_WIDTHS = (0.1, 0.25, 0.35, 0.5, 0.75, 1.0, 1.1, 1.2, 1.3, 1.4)
KNOWN_DEPTHS = {1.2: 22, 1.4: 26}
"""Blocks of timm's deeper ones."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
IMAGENET_CLASSES = 1000

BLOCKS = [f"{stage}.{index}" for stage, row in TABLE_2.items() for index in range(row.n)]
"""Our names of the 17 bottlenecks, in the order in which other implementations number them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Tensors under our names, and what they were trained with.

    Attributes:
        source: where they came from, for messages.
        origin: the implementation whose names they had.
        tensors: by our names; a classifier's are `classifier.weight` and `classifier.bias`.
        input_mean, input_std: RGB scaling of inputs in [0, 1].
        checked: how a download was checked, in words; nothing for a user's own file.
        settings: what else they were trained and evaluated with, by section of a run (`task`, `head`, `transform`), as
            plain values of its options; nothing where the weights do not tell.
    """

    source: str
    origin: str
    tensors: dict[str, Tensor]
    padding: Padding
    bn_eps: float
    input_mean: tuple[float, ...]
    input_std: tuple[float, ...]
    checked: str = ""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values, least in (("mean", self.input_mean, -math.inf), ("std", self.input_std, 0.0)):
            if len(values) != len(HALF) or not all(least < value < math.inf for value in values):
                bound = "positive" if least == 0 else "finite"
                raise InputError(f"{self.source}: says input {name} {list(values)}; must be three {bound} numbers")
        if not 0 < self.bn_eps < math.inf:
            raise InputError(f"{self.source}: says BN eps {self.bn_eps:g}; must be a positive number")

    @property
    def options(self) -> str:
        """Options of the known backbone that has these channels and blocks; nothing if there is none."""
        shapes = {
            name: tensor.shape[0]
            for name, tensor in self.tensors.items()
            if name.endswith("conv.weight") and tensor.ndim
        }
        for width, fixed_ends in itertools.product(KNOWN_WIDTHS, (False, True)):
            specs = mobilenet_v2(width, fixed_ends=fixed_ends).specs
            wanted = {"stem.conv.weight": specs["stem"].channels, "last.conv.weight": specs["last"].channels}
            wanted |= {f"{stage}.0.project.conv.weight": specs[stage].channels for stage in TABLE_2}
            if all(shapes.get(name, channels) == channels for name, channels in wanted.items()):
                blocks = sum(name.endswith("depthwise.conv.weight") for name in shapes)
                depth = next((depth for depth, count in KNOWN_DEPTHS.items() if count == blocks), None)
                return (
                    f"width={width:g}"
                    + (f" depth={depth:g}" if depth else "")
                    + (" fixed_ends=true" if fixed_ends else "")
                )
        return ""


def trained_in_pytorch(source: str, origin: str, tensors: dict[str, Tensor]) -> Weights:
    """Weights of an implementation that trains as PyTorch's reference does."""
    return Weights(
        source=source,
        origin=origin,
        tensors=tensors,
        padding=Padding.symmetric,
        bn_eps=1e-5,
        input_mean=IMAGENET_MEAN,
        input_std=IMAGENET_STD,
    )


def trained_in_tensorflow(source: str, origin: str, tensors: dict[str, Tensor]) -> Weights:
    """Weights of an implementation that trains as TensorFlow's reference does."""
    return Weights(
        source=source,
        origin=origin,
        tensors=tensors,
        padding=Padding.tf_same,
        bn_eps=1e-3,
        input_mean=HALF,
        input_std=HALF,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What became of the weights. `fresh` names kept their initial values; `unused` ones had no place."""

    source: str
    origin: str
    loaded: list[str]
    fresh: list[str]
    unused: list[str]
    padding: Padding
    bn_eps: float
    input_mean: tuple[float, ...]
    input_std: tuple[float, ...]
    checked: str = ""

    def __str__(self) -> str:
        def names(label: str, items: list[str]) -> str:
            shown = ", ".join(items[:4]) + (" .." if len(items) > 4 else "")
            return f"{len(items)} {label}" + (f" ({shown})" if items else "")

        return (
            f"weights {self.source} ({self.origin} names): {len(self.loaded)} tensors loaded, "
            f"{names('left fresh', self.fresh)}, {names('not used', self.unused)}; padding {self.padding.value}, "
            f"BN eps {self.bn_eps:g}, input mean {_short(self.input_mean)}, std {_short(self.input_std)}"
            + (f"; {self.checked}" if self.checked else "")
        )


def _short(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "/".join(f"{value:g}" for value in values)


def without_background(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the first of 1001 classes: TensorFlow's ImageNet classifiers have a background there."""
    return {
        name: tensor[1:] if name.startswith("classifier.") and tensor.shape[:1] == (1 + IMAGENET_CLASSES,) else tensor
        for name, tensor in tensors.items()
    }
