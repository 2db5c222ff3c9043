"""MobileNetV1. Reference: arXiv:1704.04861, Table 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from backbone.architecture import Architecture, BlockSpec, Shortcut
from backbone.config import MobileNetConfig
from backbone.features import Activation, ConvSpec

MIN_CHANNELS = 8


class Row(NamedTuple):
    """Separable convolutions of Table 1: channels c, repetitions n, stride s of the first repetition."""

    c: int
    n: int
    s: int


STEM_CHANNELS = 32
TABLE_1 = {
    "stage1": Row(64, 1, 1),
    "stage2": Row(128, 2, 2),
    "stage3": Row(256, 2, 2),
    "stage4": Row(512, 6, 2),
    "stage5": Row(1024, 2, 2),
}
LEVELS = {
    "c2": "stage2",
    "c3": "stage3",
    "c3.depthwise": "stage3.depthwise",
    "c3.expand": "stage3",
    "c4": "stage4",
    "c4.expand": "stage4",
    "c5": "stage5",
    "last": "stage5",
    "context": "stage5",
}
SHALLOW = {"stage4": 1}
"""Repetitions of the shallow network of Table 5, which lacks the five layers of 14 x 14 x 512."""


def channels_at(channels: int, width: float) -> int:
    """Channels at a width by the reference's rule: cut, not rounded to a multiple of 8 as the later networks do."""
    return max(int(channels * width), MIN_CHANNELS)


def mobilenet_v1(width: float = 1.0, *, shallow: bool = False, separable: bool = True) -> Architecture:
    """The network of Table 1 at a width (see `MobileNetV1Config`)."""
    stages = {}
    for name, row in TABLE_1.items():
        repetitions = SHALLOW.get(name, row.n) if shallow else row.n
        stages[name] = tuple(
            BlockSpec(
                channels=channels_at(row.c, width),
                expanded=None,
                stride=row.s if index == 0 else 1,
                activation=Activation.relu6,
                linear=False,
                shortcut=Shortcut.none,
                separable=separable,
            )
            for index in range(repetitions)
        )
    return Architecture(
        stem=ConvSpec(channels=channels_at(STEM_CHANNELS, width), activation=Activation.relu6),
        stages=stages,
        last=None,
        levels=LEVELS
        if separable
        else {level: feature for level, feature in LEVELS.items() if level != "c3.depthwise"},
    )


@dataclass(kw_only=True, slots=True)
class MobileNetV1Config(MobileNetConfig):
    """Which MobileNetV1 to build and with which weights to start."""

    NAME: ClassVar[str] = "mobilenet_v1"
    shallow: bool = False
    """Leave out five of the thirteen layers, those of 14 x 14 x 512 at 224 pixels (Table 5)."""
    separable: bool = True
    """false: one full 3x3 convolution instead of each depthwise and pointwise pair (Table 4)."""

    def undilated(self) -> Architecture:
        return mobilenet_v1(self.width, shallow=self.shallow, separable=self.separable)
