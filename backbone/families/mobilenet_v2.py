"""MobileNetV2. Reference: arXiv:1801.04381, Table 2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from backbone.architecture import OUTPUT_STRIDES, Architecture, BlockSpec, Shortcut, make_divisible
from backbone.config import MobileNetConfig
from backbone.errors import InputError
from backbone.features import Activation, ConvSpec


class Row(NamedTuple):
    """A row of Table 2: expansion t, output channels c, repetitions n, stride s of the first repetition."""

    t: int
    c: int
    n: int
    s: int


MAX_DEPTH = 16
STEM_CHANNELS = 32
TABLE_2 = {
    "stage1": Row(1, 16, 1, 1),
    "stage2": Row(6, 24, 2, 2),
    "stage3": Row(6, 32, 3, 2),
    "stage4": Row(6, 64, 4, 2),
    "stage5": Row(6, 96, 3, 1),
    "stage6": Row(6, 160, 3, 2),
    "stage7": Row(6, 320, 1, 1),
}
LAST_CHANNELS = 1280
DIVISOR = 8
MAX_EXPANSION = 20
LEVELS = {
    "c2": "stage2",
    "c3": "stage3",
    "c3.depthwise": "stage3.depthwise",
    "c3.expand": "stage4.expand",
    "c4": "stage5",
    "c4.expand": "stage6.expand",
    "c5": "stage7",
    "context": "stage7",
}


def mobilenet_v2(
    width: float = 1.0,
    *,
    depth: float = 1.0,
    fixed_ends: bool = False,
    divisor: int = DIVISOR,
    linear_bottleneck: bool = True,
    shortcut: Shortcut = Shortcut.bottleneck,
    expansion: int | None = None,
) -> Architecture:
    """The network of Table 2 at a width and a depth (see `MobileNetV2Config`).

    The last 1x1 convolution is wider above width 1, never narrower (section 4).
    """
    stem = STEM_CHANNELS if fixed_ends else make_divisible(STEM_CHANNELS * width, divisor)
    last = LAST_CHANNELS if fixed_ends else make_divisible(LAST_CHANNELS * max(1.0, width), divisor)
    stages, before = {}, stem
    for name, row in TABLE_2.items():
        channels = make_divisible(row.c * width, divisor)
        blocks = []
        for index in range(math.ceil(row.n * depth) if row.n > 1 else 1):
            blocks.append(
                BlockSpec(
                    channels=channels,
                    expanded=make_divisible(before * (expansion or row.t)) if row.t > 1 else None,
                    stride=row.s if index == 0 else 1,
                    activation=Activation.relu6,
                    linear=linear_bottleneck,
                    shortcut=shortcut,
                )
            )
            before = channels
        stages[name] = tuple(blocks)
    return Architecture(
        stem=ConvSpec(channels=stem, activation=Activation.relu6),
        stages=stages,
        last=ConvSpec(channels=last, activation=Activation.relu6),
        levels=LEVELS,
    )


@dataclass(kw_only=True, slots=True)
class MobileNetV2Config(MobileNetConfig):
    """Which MobileNetV2 to build and with which weights to start."""

    NAME: ClassVar[str] = "mobilenet_v2"
    depth: float = 1.0
    """Multiplier of the repetitions in stages 2 to 6, rounded up; Table 2 has 1. timm's 110d has 1.2, its 120d 1.4."""
    fixed_ends: bool = False
    """Stem and last 1x1 convolution keep the channels of Table 2 at any width, as in timm's 110d and 120d."""
    divisor: int = DIVISOR
    """What the channels between blocks are rounded to a multiple of; TensorFlow's DeepLab rounds to 1 below width 1."""
    linear_bottleneck: bool = True
    """false: ReLU6 behind every projection, too, before the sum (the ablation of Figure 6a)."""
    shortcut: Shortcut = Shortcut.bottleneck
    """What sums join: bottlenecks, expansions, or nothing (the ablation of Figure 6b)."""
    expansion: int | None = None
    """Expansion of all blocks but the first; null: that of Table 2, which is 6."""

    def __post_init__(self) -> None:
        if not self.depth >= 1:
            raise InputError(f"backbone.depth={self.depth}: must be at least 1")
        if self.depth > MAX_DEPTH:
            raise InputError(f"backbone.depth={self.depth}: must be at most {MAX_DEPTH}")
        if self.divisor not in (1, DIVISOR):
            raise InputError(f"backbone.divisor={self.divisor}: must be {DIVISOR}, or 1")
        if self.expansion is not None and not 2 <= self.expansion <= MAX_EXPANSION:
            raise InputError(
                f"backbone.expansion={self.expansion}: must be 2 .. {MAX_EXPANSION}, or null for the paper's 6"
            )
        if self.shortcut is Shortcut.expansion and self.finest_stride < max(OUTPUT_STRIDES):
            raise InputError(
                f"backbone.shortcut=expansion: is for output stride {max(OUTPUT_STRIDES)}, and this one is"
                f" {self.finest_stride}; say backbone.output_stride={max(OUTPUT_STRIDES)}, or another shortcut"
            )
        if not self.linear_bottleneck:
            self.check_from_scratch("linear_bottleneck=false")
        if self.shortcut is not Shortcut.bottleneck:
            self.check_from_scratch(f"shortcut={self.shortcut.value}")
        MobileNetConfig.__post_init__(self)

    def undilated(self) -> Architecture:
        return mobilenet_v2(
            self.width,
            depth=self.depth,
            fixed_ends=self.fixed_ends,
            divisor=self.divisor,
            linear_bottleneck=self.linear_bottleneck,
            shortcut=self.shortcut,
            expansion=self.expansion,
        )
