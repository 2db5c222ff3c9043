"""PASCAL VOC's measure of segmentation: one confusion matrix over a whole data set, at the size of the originals.

Shapes: K classes, H W pixels.
Reference: The PASCAL VOC Challenge, Everingham et al., IJCV 2010, section 4.1.2: intersection over union per class.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from backbone.errors import InputError
from heads.structures import VOID

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

log = logging.getLogger(__name__)

PIXELS_AT_ONCE = 2**22
LABELS = VOID + 1
"""That a uint8 mask can hold."""


@dataclass(frozen=True, slots=True)
class ClassIoU:
    """One class.

    Attributes:
        iou: in [0, 1]; None where the class occurs neither in truth nor in prediction.
        true_pixels, predicted_pixels: those that are void in the truth left out.
    """

    name: str
    iou: float | None
    true_pixels: int
    predicted_pixels: int


@dataclass(frozen=True, slots=True)
class SegmentationScores:
    """The metrics of a data set, fractions in [0, 1]; None where every pixel is void.

    Attributes:
        miou: mean over the classes that occur in truth or prediction.
        pixel_accuracy: share of the pixels that have their true class.
        fw_iou: mean over the classes, weighted by their share of the true pixels.
        classes: in their order.
    """

    miou: float | None
    pixel_accuracy: float | None
    fw_iou: float | None
    classes: tuple[ClassIoU, ...]

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes that occur neither in truth nor in prediction; no mean counts them."""
        return tuple(scored.name for scored in self.classes if scored.iou is None)

    @property
    def in_truth(self) -> tuple[str, ...]:
        """Classes that occur in the truth."""
        return tuple(scored.name for scored in self.classes if scored.true_pixels)

    def metrics(self) -> dict[str, float | None]:
        """By name, ready for JSON."""
        return {"miou": self.miou, "pixel_accuracy": self.pixel_accuracy, "fw_iou": self.fw_iou}

    def per_class(self) -> dict[str, float | None]:
        """IoU by the name of the class, ready for JSON."""
        return {scored.name: scored.iou for scored in self.classes}

    def mean_over(self, names: Iterable[str]) -> float | None:
        """Mean IoU of some classes, such as `in_truth`; None where none of them occurs.

        Raises:
            InputError: there is no such class.
        """
        ious = self.per_class()
        wanted = list(names)
        if unknown := [name for name in wanted if name not in ious]:
            raise InputError(f"class {unknown[0]!r}: is not among those that were scored, {', '.join(ious)}")
        return _mean([ious[name] for name in wanted])


class MeanIoU:
    """Counts pixels by true and predicted class.

    Args:
        names: of class 0, 1, ...; at most 255.
    Attributes:
        counts: (K, K) int64, true class by predicted class, on the device of the masks; pixels that are void in the
            truth are not among them. Counts of several processes add up.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if not 1 <= len(names) <= VOID:
            raise InputError(f"evaluation of {len(names)} classes: must be 1 .. {VOID}")
        self.names = tuple(names)
        self.counts = torch.zeros(len(names), len(names), dtype=torch.int64)

    def update(self, truth: Tensor, prediction: Tensor) -> None:
        """Add the masks of an image or of many, both uint8 of one shape; 255 in the truth is void.

        Raises:
            InputError: other shapes or types, or a value that is no class; nothing is counted then.
        """
        if truth.shape != prediction.shape:
            raise InputError(
                f"evaluation: a mask of {tuple(truth.shape)} was answered with {tuple(prediction.shape)}; "
                f"predict at the size of the original"
            )
        for what, mask in (("truth", truth), ("prediction", prediction)):
            if mask.dtype != torch.uint8:
                raise InputError(f"evaluation: the {what} is {mask.dtype}; must be torch.uint8")
        pairs = torch.zeros(LABELS * LABELS, dtype=torch.int64, device=truth.device)
        masks = (truth, prediction.to(truth.device))
        parts = (torch.split(mask.flatten(), PIXELS_AT_ONCE) for mask in masks)
        for true, predicted in zip(*parts, strict=True):
            # Every pair of bytes has a place, so that one pass both counts and finds values that are no class.
            pairs += torch.bincount(true.int() * LABELS + predicted, minlength=LABELS * LABELS)
        table = pairs.view(LABELS, LABELS)[:VOID]
        found = table[: len(self.names), : len(self.names)]
        if found.sum() != table.sum():
            self._refuse(table)
        self.counts = self.counts.to(found.device) + found

    def _refuse(self, table: Tensor) -> None:
        classes = len(self.names)
        for what, pixels in (("truth", table.sum(dim=1)), ("prediction", table.sum(dim=0))):
            if wrong := pixels[classes:].nonzero().flatten().tolist():
                value, allowed = classes + wrong[0], f"0 .. {classes - 1}" + (" or 255" if what == "truth" else "")
                raise InputError(
                    f"evaluation: the {what} has {int(pixels[value])} pixels of value {value}; must be {allowed}"
                )

    def __iadd__(self, other: MeanIoU) -> Self:
        """Add what another process counted.

        Raises:
            InputError: it counted other classes.
        """
        if other.names != self.names:
            raise InputError(
                f"evaluation: counts of {len(other.names)} classes ({', '.join(other.names[:3])} ..) do not add to "
                f"those of {len(self.names)} ({', '.join(self.names[:3])} ..); evaluate both with one label map"
            )
        self.counts = self.counts + other.counts.to(self.counts.device)
        return self

    def compute(self) -> SegmentationScores:
        """The metrics of everything counted so far. Classes that occur nowhere are left out of the mean and named."""
        counts = self.counts.cpu()
        right, true, predicted = counts.diagonal().tolist(), counts.sum(dim=1).tolist(), counts.sum(dim=0).tolist()
        classes = tuple(
            ClassIoU(name, hits / (t + p - hits) if t + p else None, t, p)
            for name, hits, t, p in zip(self.names, right, true, predicted, strict=True)
        )
        pixels = sum(true)
        scores = SegmentationScores(
            miou=_mean([scored.iou for scored in classes]),
            pixel_accuracy=sum(right) / pixels if pixels else None,
            fw_iou=sum(c.iou * c.true_pixels for c in classes if c.iou is not None) / pixels if pixels else None,
            classes=classes,
        )
        if not pixels:
            log.warning("every pixel is void: no figure has a value")
        elif scores.absent:
            log.warning(
                "%d of %d classes occur neither in truth nor in prediction and are left out of the mean: %s",
                len(scores.absent), len(classes), ", ".join(scores.absent),
            )  # fmt: skip
        return scores


def mean_iou(counts: Tensor) -> float | None:
    """Mean IoU from counts (K, K), true class by predicted class, over the classes that occur; None without a pixel."""
    right = counts.diagonal()
    union = counts.sum(dim=0) + counts.sum(dim=1) - right
    there = union > 0
    return float((right[there] / union[there]).mean()) if there.any() else None


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
