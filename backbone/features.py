"""What a backbone delivers: named feature maps, and what is known of each before it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Features: TypeAlias = "dict[str, Tensor]"
"""Feature maps by name, each (N, C, H, W)."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Channels of a feature map, and its stride: input pixels from one cell to the next."""

    channels: int
    stride: int

    def size(self, image_size: int) -> int:
        """Cells along a side of `image_size` pixels. Every layer that strides rounds up, whatever its padding."""
        return -(-image_size // self.stride)
