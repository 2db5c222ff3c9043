"""Options of a linear classifier. Imports nothing heavy.

Reference: MobileNetV2, arXiv:1801.04381, Table 2 and section 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from backbone.errors import InputError
from heads.class_weights import check_class_weights
from heads.kinds import Kind


@dataclass(kw_only=True, slots=True)
class LinearConfig:
    """Pooling, dropout and one linear layer, or two, on the last feature of a MobileNet."""

    KIND: ClassVar[Kind] = Kind.classification
    OUTPUT_STRIDE: ClassVar[int] = 32
    """What it asks of a backbone whose output stride is left open."""
    tap: str = "last"
    """The level, or feature, of the backbone that is pooled."""
    hidden: int | None = None
    """Channels of a layer between pooling and classifier; 0: none; null: what the backbone's paper has there."""
    dropout: float = 0.2
    """Share of the pooled features that training leaves out."""
    label_smoothing: float = 0.1
    """Share of every label that is spread over all classes."""
    class_weights: Any = None
    """Weight of an image of each class in the cross entropy: a list, or `auto`, by how rare a class is in the training
    set; null: one."""
    calibrate: bool = False
    """After training, divide the logits by the temperature at which the cross entropy on the validation images is
    least, so that probabilities are nearer to shares of right predictions; it is kept in the classifier's weights."""

    def __post_init__(self) -> None:
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"head.{name}={getattr(self, name)}: must be in [0, 1)")
        check_class_weights(self.class_weights)
        if self.hidden is not None and self.hidden < 0:
            raise InputError(
                f"head.hidden={self.hidden}: must not be negative; 0 is no hidden layer, null the backbone's own"
            )
