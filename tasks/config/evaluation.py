"""How metrics are computed and shown. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from backbone.errors import InputError


class Backend(Enum):
    """Who computes COCO's figures. Both give the same; pycocotools is the number of record."""

    faster_coco_eval = "faster_coco_eval"
    pycocotools = "pycocotools"


@dataclass(kw_only=True, slots=True)
class EvaluationConfig:
    """How figures are computed and shown."""

    backend: Backend = Backend.faster_coco_eval
    drawn_images: int = 12
    """On the contact sheet."""
    drawn_score: float = 0.3
    """Detections below it are not drawn."""
    multi_scale: bool = False
    """Segmentation only: average the probabilities over scales of 0.5 to 1.75, each mirrored too."""
    flip: bool = False
    """Look at each image mirrored left and right, too, and join both predictions, in training and prediction as well;
    takes twice the time."""
    beside: list[str] = field(default_factory=list)
    """Folders of other runs, whose main figures the report puts beside those of heads of the same kind."""

    def __post_init__(self) -> None:
        if self.drawn_images < 0:
            raise InputError(f"evaluation.drawn_images={self.drawn_images}: must not be negative")
        if not 0 <= self.drawn_score <= 1:
            raise InputError(f"evaluation.drawn_score={self.drawn_score}: must be in [0, 1]")
