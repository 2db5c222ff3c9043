"""Options of an SSDLite head. Imports nothing heavy.

Reference: SSD, arXiv:1512.02325; MobileNetV2, arXiv:1801.04381, section 6.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

from backbone.architecture import Padding
from backbone.errors import InputError
from heads.kinds import Kind

ASPECT_RATIOS = (1.0, 2.0, 1 / 2, 3.0, 1 / 3)
"""SSD's, arXiv:1512.02325, section 2.2."""


AUTO = "auto"
"""Value of `scales` that has them fitted to the training set."""


class Clip(Enum):
    """When boxes are cut at the border of the image: before suppression, or after it (the TensorFlow reference).

    What is outside altogether is no detection after it.
    """

    before = "before"
    after = "after"


class ClassScore(Enum):
    """Scores from logits: each class by itself (the TensorFlow reference), or against all others (SSD)."""

    sigmoid = "sigmoid"
    softmax = "softmax"


class Predictor(Enum):
    """What predicts from a map: SSDLite's separable convolution of 3x3, or SSD's full one of 3x3 or 1x1."""

    separable = "separable"
    conv3x3 = "conv3x3"
    conv1x1 = "conv1x1"


class BoxLoss(Enum):
    """Loss of matched boxes: SSD's on four offsets, or one less the generalised or complete IoU of the decoded box."""

    smooth_l1 = "smooth_l1"
    giou = "giou"
    ciou = "ciou"


class ClassLoss(Enum):
    """Loss of classes: cross entropy with SSD's hard negatives, or of all default boxes, easy ones weighing less.

    `focal` (arXiv:1708.02002) teaches 0 and 1; `quality` (arXiv:2006.04388) and `varifocal` (arXiv:2008.13367) teach
    the IoU that the predicted box has with its object.
    """

    mined = "mined"
    focal = "focal"
    quality = "quality"
    varifocal = "varifocal"


class Assigner(Enum):
    """Which default boxes learn an object: those above `match_iou` (SSD), above a threshold that each object has of its
    own (`adaptive`, ATSS, arXiv:1912.02424), or those that predict it best (`task_aligned`, TOOD, arXiv:2108.07755).
    """

    iou = "iou"
    adaptive = "adaptive"
    task_aligned = "task_aligned"


@dataclass(kw_only=True, slots=True)
class SSDLiteConfig:
    """SSDLite on two taps of a MobileNet, and four extra layers. The defaults are the paper's and its reference's."""

    KIND: ClassVar[Kind] = Kind.detection
    OUTPUT_STRIDE: ClassVar[int] = 32
    """What it asks of a backbone whose output stride is left open."""
    taps: list[str] = field(default_factory=lambda: ["c4.expand", "last"])
    """Levels, or features, of the backbone that have boxes, the finest first."""
    extra_channels: list[int] = field(default_factory=lambda: [512, 256, 256, 128])
    extra_width: float = 1.0
    """Multiplier of the extra layers' channels, at least 16 of them."""
    dense_extras: bool = False
    """Whether extra layers have full 3x3 convolutions, as SSD's, in place of separable ones."""
    predictor: Predictor = Predictor.separable
    min_scale: float = 0.2
    """Side of the smallest default boxes as a fraction of the image, before the halved one of the first map."""
    max_scale: float = 0.95
    scales: Any = None
    """Scales of the default boxes of each map: a list, or `auto`, which fits them to the training set and keeps
    them with the weights. null: evenly spaced from min_scale to max_scale."""
    aspect_ratios: list[float] = field(default_factory=lambda: list(ASPECT_RATIOS))
    """Width over height of the default boxes of every map but the first, which has 1, 2 and 1/2; one more square of the
    next scale follows. TensorFlow's reference has .3333."""
    three_boxes_first: bool = True
    """Whether a cell of the first map has three boxes, a square of half the scale, 2 and 1/2, as in TensorFlow's
    reference; false: as many as the others, as in torchvision."""
    limit_boxes: bool = False
    """Whether default boxes are at most as wide and as high as the image, as in torchvision."""
    class_slots: int | None = None
    """Class logits of a box, background's included; null: one for each class. Those that are no class of the data count
    in softmax and are never found: torchvision's detector of COCO has 91, for 80 classes."""
    score: ClassScore = ClassScore.softmax
    padding: Padding = Padding.symmetric
    bn_eps: float = 1e-3
    bn_momentum: float = 0.03
    assigner: Assigner = Assigner.iou
    match_iou: float = 0.5
    """Overlap from which on a default box is matched to an object, with `assigner=iou`."""
    box_loss: BoxLoss = BoxLoss.smooth_l1
    box_weight: float = 1.0
    """Weight of the loss of boxes; that of classes has 1."""
    class_loss: ClassLoss = ClassLoss.mined
    """All but `mined` need `score=sigmoid`."""
    negatives_per_positive: float = 3.0
    min_negatives: int = 3
    """Negatives of every image at least, also of one without objects."""
    score_threshold: float = 1e-8
    nms_iou: float = 0.6
    clip: Clip = Clip.before
    candidates: int | None = None
    """Most boxes of a class that enter suppression, those with the best scores; null: all above `score_threshold`."""
    max_detections: int = 100
    """Detections kept of an image."""

    def __post_init__(self) -> None:
        if len(self.taps) < 1 or len(set(self.taps)) != len(self.taps):
            raise InputError(f"head.taps={list(self.taps)}: must name one or more features, each once")
        if not all(channels >= 16 for channels in self.extra_channels):
            raise InputError(f"head.extra_channels={list(self.extra_channels)}: each must be at least 16")
        if not self.extra_width > 0:
            raise InputError(f"head.extra_width={self.extra_width}: must be positive")
        if not 0 < self.min_scale < self.max_scale <= 1:
            raise InputError(
                f"head.min_scale={self.min_scale}, head.max_scale={self.max_scale}: "
                "must be 0 < min_scale < max_scale <= 1"
            )
        self._check_scales()
        if not self.aspect_ratios or not all(0 < ratio < math.inf for ratio in self.aspect_ratios):
            raise InputError(f"head.aspect_ratios={list(self.aspect_ratios)}: must be one or more positive numbers")
        for name in ("match_iou", "nms_iou", "bn_momentum"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"head.{name}={getattr(self, name)}: must be in (0, 1]")
        if not 0 <= self.score_threshold < 1:
            raise InputError(f"head.score_threshold={self.score_threshold}: must be in [0, 1)")
        for name, least in (("max_detections", 1), ("min_negatives", 1), ("candidates", 1), ("class_slots", 2)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise InputError(f"head.{name}={getattr(self, name)}: must be at least {least}")
        for name in ("negatives_per_positive", "bn_eps", "box_weight"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"head.{name}={getattr(self, name)}: must be positive")
        if self.class_loss is not ClassLoss.mined and self.score is not ClassScore.sigmoid:
            raise InputError(
                f"head.class_loss={self.class_loss.value}, head.score={self.score.value}: needs head.score=sigmoid"
            )

    def _check_scales(self) -> None:
        if self.scales is None or self.scales == AUTO:
            return
        numbers = self.scales if isinstance(self.scales, list) else []
        rising = all(a < b for a, b in zip([0.0, *numbers], [*numbers, 1.0], strict=True) if _is_number(a, b))
        if not numbers or not _is_number(*numbers) or not rising:
            raise InputError(
                f"head.scales={self.scales}: must be {AUTO}, or rising numbers between 0 and 1, one for each map"
            )


def _is_number(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
