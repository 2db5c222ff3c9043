"""Options that every segmentation head has. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from backbone.errors import InputError
from heads.class_weights import check_class_weights
from heads.kinds import Kind


@dataclass(kw_only=True, slots=True)
class SegmentationConfig:
    """A segmentation head on the context of a backbone."""

    KIND: ClassVar[Kind] = Kind.segmentation
    OUTPUT_STRIDE: ClassVar[int] = 16
    """What it asks of a backbone whose output stride is left open."""
    tap: str = "context"
    """The level, or feature, of the backbone that is looked at."""
    channels: int = 256
    """Channels of every branch and of the projection, at any width of the backbone."""
    aligned_corners: bool = True
    """Whether the first and last cell of the logits lie on the first and last pixel of the image.

    They do: with either padding, cell i of an image of 16 k + 1 pixels looks at pixel 16 i. False spreads the cells
    as squares that tile the image, which moves the mask by up to half a cell. Google's weights need true.
    """
    class_weights: Any = None
    """Weight of a pixel of each class in the cross entropy: a list, or `auto`, by how rare a class is in the training
    set; null: one."""
    dice: float = 0.0
    """Weight of the Dice loss beside the cross entropy: every class that occurs in a batch counts alike. 0: none."""
    lovasz: float = 0.0
    """Weight of the Lovász-Softmax loss, which stands for the IoU, beside the cross entropy. 0: none."""
    bn_eps: float = 1e-5
    bn_momentum: float = 0.03
    """Share of the new batch in the running statistics, as in PyTorch."""

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise InputError(f"head.channels={self.channels}: must be at least 1")
        check_class_weights(self.class_weights)
        for name in ("dice", "lovasz"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"head.{name}={getattr(self, name)}: must be finite and not negative")
        if not self.bn_eps > 0:
            raise InputError(f"head.bn_eps={self.bn_eps}: must be positive")
        if not 0 < self.bn_momentum <= 1:
            raise InputError(f"head.bn_momentum={self.bn_momentum}: must be in (0, 1]; it is 1 - decay")
