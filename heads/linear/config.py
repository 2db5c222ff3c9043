"""Options of a linear classifier. Imports nothing heavy.

Reference: MobileNetV2, arXiv:1801.04381, Table 2 and section 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from backbone.errors import InputError


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
