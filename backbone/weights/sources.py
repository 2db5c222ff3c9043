"""What every source of weights has in common."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backbone.architecture import Padding
from backbone.errors import InputError
from backbone.families.mobilenet_v1 import TABLE_1
from backbone.families.mobilenet_v2 import TABLE_2
from backbone.weights.likeness import options_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
IMAGENET_CLASSES = 1000

BLOCKS = [f"{stage}.{index}" for stage, row in TABLE_2.items() for index in range(row.n)]
"""Our names of the 17 bottlenecks, in the order in which other implementations number them."""
BLOCKS_V1 = [f"{stage}.{index}" for stage, row in TABLE_1.items() for index in range(row.n)]
"""The same of V1's 13 separable convolutions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Tensors under our names, and what they were trained with.

    Attributes:
        source: where they came from, for messages.
        origin: the implementation whose names they had.
        tensors: by our names; a classifier's are `classifier.weight` and `classifier.bias`.
        input_mean, input_std: RGB scaling of inputs in [0, 1].
        checked: how a download was checked, in words; nothing for a user's own file.
        settings: what else they were trained and evaluated with, by section of a run (`task`, `backbone`, `head`,
            `transform`), as plain values of its options; nothing where the weights do not tell.
        unknown: what their head has that no head here has, in words; nothing where all is known.
        assumed: what of it the file does not tell and is taken as it usually is, in words; nothing if there is no such.
    """

    source: str
    origin: str
    tensors: dict[str, Tensor]
    padding: Padding
    bn_eps: float
    input_mean: tuple[float, ...]
    input_std: tuple[float, ...]
    family: str = ""
    """Option of the group `backbone` that the network is; nothing: not told by the names."""
    dilate_first: bool | None = None
    """The rule of dilation that they were trained with; None: they were trained without."""
    checked: str = ""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    unknown: str = ""
    assumed: str = ""

    def __post_init__(self) -> None:
        for name, values, least in (("mean", self.input_mean, -math.inf), ("std", self.input_std, 0.0)):
            if len(values) != len(HALF) or not all(least < value < math.inf for value in values):
                bound = "positive" if least == 0 else "finite"
                raise InputError(f"{self.source}: says input {name} {list(values)}; must be three {bound} numbers")
        if not 0 < self.bn_eps < math.inf:
            raise InputError(f"{self.source}: says BN eps {self.bn_eps:g}; must be a positive number")

    @property
    def options(self) -> str:
        """Options of the known network that has these channels and blocks; nothing if there is none."""
        return options_of(self.family, self.tensors) if self.family else ""


def block_names(rows: Mapping[str, Sequence[object]]) -> list[str]:
    """Our names of the blocks of a table, in the order in which other implementations number them."""
    return [f"{stage}.{index}" for stage, row in rows.items() for index in range(len(row))]


def trained_in_pytorch(
    source: str, origin: str, tensors: dict[str, Tensor], *, family: str = "mobilenet_v2", bn_eps: float = 1e-5
) -> Weights:
    """Weights of an implementation that trains as PyTorch's reference does."""
    return Weights(
        source=source,
        origin=origin,
        tensors=tensors,
        padding=Padding.symmetric,
        bn_eps=bn_eps,
        input_mean=IMAGENET_MEAN,
        input_std=IMAGENET_STD,
        family=family,
    )


def trained_in_tensorflow(
    source: str, origin: str, tensors: dict[str, Tensor], *, family: str = "mobilenet_v2"
) -> Weights:
    """Weights of an implementation that trains as TensorFlow's reference does."""
    return Weights(
        source=source,
        origin=origin,
        tensors=tensors,
        padding=Padding.tf_same,
        bn_eps=1e-3,
        input_mean=HALF,
        input_std=HALF,
        family=family,
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
