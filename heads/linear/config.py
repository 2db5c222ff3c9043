"""What a linear classifier is made of, as numbers. Imports nothing heavy.

Reference: MobileNetV2, arXiv:1801.04381, Table 2 and section 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbone.features import FeatureSpec
    from heads.linear.head import Linear


@dataclass(kw_only=True, slots=True)
class LinearConfig:
    """Pooling, dropout and one linear layer on the last feature of a MobileNet."""

    tap: str = "last"
    dropout: float = 0.2
    """Share of the pooled features that training leaves out."""
    label_smoothing: float = 0.1
    """Share of every label that is spread over all classes."""

    def __post_init__(self) -> None:
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"head.{name}={getattr(self, name)}: must be in [0, 1)")

    def build(self, specs: Mapping[str, FeatureSpec], *, num_classes: int, image_size: int) -> Linear:
        """The head on a backbone that offers `specs`; it takes images of any size.

        Raises:
            InputError: the tap is not among the specs; the message lists the names there are.
        """
        from heads.linear.head import Linear

        return Linear(self, specs, num_classes=num_classes)
