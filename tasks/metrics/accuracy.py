"""Accuracy of a classifier, from sums that add up over batches and processes.

Shapes: N images, K classes, B bins of confidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

BINS = 15
"""Bins of confidence, equally wide. Source: Guo et al., On Calibration of Modern Neural Networks, arXiv:1706.04599."""


class Accuracy:
    """Top-1, top-5, accuracy per class, the confusion matrix and the expected calibration error.

    The place of the true class is one plus the number of classes with a larger score, or with an equal one and a
    smaller index: ties are the same on every machine. A row of scores with a NaN is no answer: it is wrong at any k
    and in no column of the confusion matrix, and `unanswered` counts it. With fewer than five classes there is no
    top-5.

    Attributes:
        confusion: (K, K) int64, true class by predicted class.
        images: (K,) int64, of each true class.
        unanswered: images whose scores hold a NaN.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.images = torch.zeros(num_classes, dtype=torch.int64)
        self.in_top5 = 0
        self.unanswered = 0
        self.bin_images = torch.zeros(BINS, dtype=torch.int64)
        self.bin_correct = torch.zeros(BINS, dtype=torch.int64)
        self.bin_confidence = torch.zeros(BINS, dtype=torch.float64)

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Add a batch: probabilities (N, K) and true classes (N,)."""
        scores, labels = scores.detach().cpu().double(), labels.cpu()
        self.images += torch.bincount(labels, minlength=self.num_classes)
        answered = ~scores.isnan().any(dim=1)
        self.unanswered += int((~answered).sum())
        scores, labels = scores[answered], labels[answered]
        if not len(labels):
            return
        ranks = place(scores, labels)
        self.in_top5 += int((ranks <= 5).sum())
        confidence, predicted = best(scores)
        cells = labels * self.num_classes + predicted
        self.confusion += torch.bincount(cells, minlength=self.num_classes**2).view_as(self.confusion)
        bins = (confidence * BINS).long().clamp(0, BINS - 1)
        self.bin_images += torch.bincount(bins, minlength=BINS)
        self.bin_correct += torch.bincount(bins[ranks == 1], minlength=BINS)
        self.bin_confidence += torch.bincount(bins, weights=confidence, minlength=BINS)

    def __iadd__(self, other: Self) -> Self:
        """Add what another process counted."""
        for name in ("confusion", "images", "in_top5", "unanswered", "bin_images", "bin_correct", "bin_confidence"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def metrics(self) -> dict[str, float | None]:
        """`top1`, `top5` and `calibration_error`, in 0 .. 1; None where there is nothing to count."""
        total = int(self.images.sum())
        answered = int(self.bin_images.sum())
        gaps = (self.bin_confidence - self.bin_correct).abs().sum().item()
        return {
            "top1": int(self.confusion.diagonal().sum()) / total if total else None,
            "top5": self.in_top5 / total if total and self.num_classes >= 5 else None,
            "calibration_error": gaps / answered if answered else None,
        }

    def per_class(self, names: Sequence[str]) -> dict[str, float | None]:
        """Share of each class's images that were recognised; None for a class without images."""
        right, images = self.confusion.diagonal().tolist(), self.images.tolist()
        return {name: r / n if n else None for name, r, n in zip(names, right, images, strict=True)}


def place(scores: Tensor, labels: Tensor) -> Tensor:
    """(N,) the place of the true class, from 1."""
    own = scores.gather(1, labels[:, None])
    index = torch.arange(scores.shape[1])
    ahead = (scores > own) | ((scores == own) & (index < labels[:, None]))
    return 1 + ahead.sum(dim=1)


def best(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The largest score of every row and the first index that has it."""
    largest = scores.amax(dim=1)
    return largest, (scores == largest[:, None]).int().argmax(dim=1)
