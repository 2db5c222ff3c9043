"""What mode=inspect is told. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from backbone.errors import InputError

MAX_DRAWN_SAMPLES = 200


@dataclass(kw_only=True, slots=True)
class InspectConfig:
    """What mode=inspect looks at."""

    images: int | None = None
    """Read at most this many of each split, evenly spread; null: all."""
    samples: int = 24
    """Training images on the page, varied as the model sees them."""

    def __post_init__(self) -> None:
        if self.images is not None and self.images < 1:
            raise InputError(f"inspect.images={self.images}: must be at least 1, or null for all")
        if not 0 <= self.samples <= MAX_DRAWN_SAMPLES:
            raise InputError(f"inspect.samples={self.samples}: must be 0 .. {MAX_DRAWN_SAMPLES}")
