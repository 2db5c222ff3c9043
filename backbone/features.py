"""What a backbone delivers: named feature maps, and what is known of each before it is computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Features: TypeAlias = "dict[str, Tensor]"
"""Feature maps by name, each (N, C, H, W)."""


class Activation(Enum):
    """Function after a convolution and its normalisation."""

    relu = "relu"
    relu6 = "relu6"
    hardswish = "hardswish"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvSpec:
    """A convolution and its activation: the stem, the last layer, or a classifier's hidden layer."""

    channels: int
    activation: Activation
    norm: bool = True
    """Whether it is normalised, and has no bias then."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """What is known of a feature map.

    Attributes:
        channels: how many it has.
        stride: input pixels from one cell to the next.
        hidden: the layer that a classifier of it has behind pooling, by the network's paper; None: there is none.
    """

    channels: int
    stride: int
    hidden: ConvSpec | None = field(default=None, repr=False)

    def size(self, image_size: int) -> int:
        """Cells along a side of `image_size` pixels. Every layer that strides rounds up, whatever its padding."""
        return -(-image_size // self.stride)
