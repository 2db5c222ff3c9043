"""What a head learns. Imports nothing heavy."""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """What a head learns: a class for the image, boxes, or a class for every pixel."""

    classification = "classification"
    detection = "detection"
    segmentation = "segmentation"

    @property
    def main_metric(self) -> str:
        """The metric that tells which weights are best; larger is better."""
        return {Kind.classification: "top1", Kind.detection: "map", Kind.segmentation: "miou"}[self]
