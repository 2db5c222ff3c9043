"""What a head is told besides what it is made of, where there are several. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from heads.deeplabv3.config import DeepLabV3Config
from heads.linear.config import LinearConfig
from heads.ssdlite.config import SSDLiteConfig


class Kind(Enum):
    """What a head learns: a class for the image, boxes, or a class for every pixel."""

    classification = "classification"
    detection = "detection"
    segmentation = "segmentation"


class Balance(Enum):
    """How the losses of several heads become one.

    `fixed` weighs them by `heads.NAME.loss_weight` alone; `uncertainty` learns a factor for each besides
    (arXiv:1705.07115).
    """

    fixed = "fixed"
    uncertainty = "uncertainty"


@dataclass(kw_only=True, slots=True)
class HeadConfig:
    """One of several heads. With `head` anything that has the interface of a head's configuration."""

    kind: Kind = Kind.classification
    head: Any = None
    loss_weight: float = 1.0
    factor: float = 1.0
    """Learning rate of this head over `optim.learning_rate`; 0 freezes it, its batch statistics too."""
    data: str | None = None
    """Which of `data.parts` it learns from; null: the one of the head's name. With one data set: null."""
    figure: str | None = None
    """Of its figures, the one that counts when the best weights are chosen; null: top1, map or miou."""
    weights: str | None = None
    """A run's model.safetensors to start this head from; its backbone must be built alike."""


@dataclass(kw_only=True, slots=True)
class LinearHeadConfig(HeadConfig):
    """A classifier."""

    head: LinearConfig = field(default_factory=LinearConfig)


@dataclass(kw_only=True, slots=True)
class SSDLiteHeadConfig(HeadConfig):
    """A detector."""

    kind: Kind = Kind.detection
    head: SSDLiteConfig = field(default_factory=SSDLiteConfig)


@dataclass(kw_only=True, slots=True)
class DeepLabV3HeadConfig(HeadConfig):
    """A segmenter."""

    kind: Kind = Kind.segmentation
    loss_weight: float = 4.0
    """Its loss, a mean over pixels most of which are easy, is the smallest; with 1 it learns less than alone."""
    head: DeepLabV3Config = field(default_factory=DeepLabV3Config)
