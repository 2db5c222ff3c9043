"""What a MobileNetV2 is made of, as numbers. Imports nothing heavy: a configuration is checked before torch is loaded.

Reference: MobileNetV2, arXiv:1801.04381, Table 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from backbone.errors import InputError
from backbone.features import FeatureSpec


class Padding(Enum):
    """How a convolution with a stride of two meets the border.

    `symmetric` pads both sides alike (PyTorch). `tf_same` pads so that the last cell is reached: at the bottom and
    right only when the input is even (TensorFlow). Weights know one of the two; under the other ImageNet top-1 falls by
    nine points.
    """

    symmetric = "symmetric"
    tf_same = "tf_same"


class Row(NamedTuple):
    """A row of Table 2: expansion t, output channels c, repetitions n, stride s of the first repetition."""

    expansion: int
    channels: int
    repeats: int
    stride: int


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

OUTPUT_STRIDES = (8, 16, 32)
MIN_WIDTH = 0.1


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round to the nearest multiple of `divisor`, never below it and never below 90 % of `value`."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor


class StagePlan(NamedTuple):
    """One row of Table 2 at a given width and output stride, nothing left to derive."""

    in_channels: int
    hidden_channels: int
    """Of the first block: expansion x in_channels."""
    channels: int
    expansion: int
    strides: tuple[int, ...]
    """Of every block, after strides beyond the output stride were turned into dilation."""
    dilations: tuple[int, ...]
    """Of every block's depthwise convolution."""
    stride_in: int
    """Input pixels from one cell of the stage's input to the next."""
    stride_out: int
    keeps_resolution: bool
    """Whether Table 2 gives the first block a stride of one, so that it may have a shortcut."""


@dataclass(kw_only=True, slots=True)
class MobileNetV2Config:
    """Which MobileNetV2 to build and with which weights to start.

    What is None is taken from `weights`, and without weights from the defaults of `MobileNetV2`.
    """

    width: float = 1.0
    """Multiplier of all channels; the last 1x1 convolution grows with it above 1 but does not shrink below."""
    depth: float = 1.0
    """Multiplier of the repetitions in stages 2 to 6, rounded up; Table 2 has 1. timm's 110d has 1.2, its 120d 1.4."""
    fixed_ends: bool = False
    """Stem and last 1x1 convolution keep the channels of Table 2 at any width, as in timm's 110d and 120d."""
    output_stride: int = 32
    """Input pixels from one cell to the next at `last`: 32, 16 or 8. Smaller ones dilate instead of striding."""
    last_stride: int | None = None
    """Of `last` where it is coarser than `output_stride`: every second or fourth cell, and the very numbers that a
    backbone of that output stride gives; null: `output_stride`."""
    padding: Padding | None = None
    bn_eps: float | None = None
    bn_momentum: float = 0.03
    """PyTorch's convention: the share of the new batch. The paper's decay of 0.997 is 0.003 here."""
    input_mean: list[float] | None = None
    """RGB mean subtracted from inputs in [0, 1]."""
    input_std: list[float] | None = None
    weights: str | None = None
    """Where to start from: a path or `source:name` (see backbone.weights)."""
    freeze_at: str | None = None
    """Freeze every layer up to this feature, parameters and batch statistics."""
    freeze_bn: bool = False
    """Keep all batch-normalisation statistics as they are while training."""
    activation_checkpointing: bool = False
    """Compute blocks again in the backward pass instead of keeping their activations: slower, less memory."""
    split: int = 1
    """Inference only: run each bottleneck this many ways over its expanded channels (section 5): less memory."""

    def __post_init__(self) -> None:
        if not self.width >= MIN_WIDTH:
            raise InputError(f"backbone.width={self.width}: must be at least {MIN_WIDTH}")
        if not self.depth >= 1:
            raise InputError(f"backbone.depth={self.depth}: must be at least 1")
        if self.output_stride not in OUTPUT_STRIDES:
            raise InputError(f"backbone.output_stride={self.output_stride}: must be one of {OUTPUT_STRIDES}")
        if self.last_stride is not None and not (
            self.last_stride in OUTPUT_STRIDES and self.last_stride >= self.output_stride
        ):
            raise InputError(
                f"backbone.last_stride={self.last_stride}: must be one of {OUTPUT_STRIDES}, not below"
                f" backbone.output_stride={self.output_stride}, or null for the same"
            )
        if self.bn_eps is not None and not self.bn_eps > 0:
            raise InputError(f"backbone.bn_eps={self.bn_eps}: must be positive")
        if not 0 < self.bn_momentum <= 1:
            raise InputError(f"backbone.bn_momentum={self.bn_momentum}: must be in (0, 1]; it is 1 - decay")
        for name, value in (("input_mean", self.input_mean), ("input_std", self.input_std)):
            if value is not None and len(value) != 3:
                raise InputError(f"backbone.{name}={list(value)}: must have three values, one for each of R, G, B")
        if self.input_std is not None and not all(std > 0 for std in self.input_std):
            raise InputError(f"backbone.input_std={list(self.input_std)}: all must be positive")
        if self.split < 1:
            raise InputError(f"backbone.split={self.split}: must be at least 1")
        if self.freeze_at is not None and self.freeze_at not in self.specs:
            raise InputError(f"backbone.freeze_at={self.freeze_at}: must be one of {', '.join(self.specs)}")

    @property
    def specs(self) -> dict[str, FeatureSpec]:
        """Channels and stride of every feature that this backbone can deliver, in the order of computation."""
        specs = feature_specs(self.width, self.output_stride, fixed_ends=self.fixed_ends)
        if self.last_stride is not None:
            specs["last"] = FeatureSpec(specs["last"].channels, self.last_stride)
        return specs


def stage_plans(
    width: float, output_stride: int, *, depth: float = 1.0, fixed_ends: bool = False
) -> dict[str, StagePlan]:
    """Table 2 at a width, a depth and an output stride.

    Where the resolution would fall below `output_stride`, a block keeps it and the blocks after it are dilated instead;
    the block that would have strided still has the old rate (DeepLabv3's rule, as its reference does it). Several
    libraries dilate that block too, and imported weights then give other outputs.
    """
    plans: dict[str, StagePlan] = {}
    in_channels, stride, rate = stem_channels(width, fixed_ends), 2, 1
    for name, row in TABLE_2.items():
        channels = make_divisible(row.channels * width)
        repeats = math.ceil(row.repeats * depth) if row.repeats > 1 else 1
        first_stride = row.stride if stride * row.stride <= output_stride else 1
        rate_after = rate * row.stride // first_stride
        plans[name] = StagePlan(
            in_channels=in_channels,
            hidden_channels=in_channels * row.expansion,
            channels=channels,
            expansion=row.expansion,
            strides=(first_stride, *[1] * (repeats - 1)),
            dilations=(rate, *[rate_after] * (repeats - 1)),
            stride_in=stride,
            stride_out=stride * first_stride,
            keeps_resolution=row.stride == 1,
        )
        in_channels, stride, rate = channels, stride * first_stride, rate_after
    return plans


def stem_channels(width: float, fixed: bool = False) -> int:
    """Of the first convolution."""
    return STEM_CHANNELS if fixed else make_divisible(STEM_CHANNELS * width)


def last_channels(width: float, fixed: bool = False) -> int:
    """Of the last 1x1 convolution: wider above width 1, never narrower (section 4)."""
    return LAST_CHANNELS if fixed else make_divisible(LAST_CHANNELS * max(1.0, width))


def feature_specs(width: float, output_stride: int, *, fixed_ends: bool = False) -> dict[str, FeatureSpec]:
    """Channels and stride of every named feature, in the order of computation."""
    plans = stage_plans(width, output_stride, fixed_ends=fixed_ends)
    specs = {"stem": FeatureSpec(stem_channels(width, fixed_ends), 2)}
    for name, plan in plans.items():
        if plan.expansion > 1:
            specs[f"{name}.expand"] = FeatureSpec(plan.hidden_channels, plan.stride_in)
        specs[name] = FeatureSpec(plan.channels, plan.stride_out)
    specs["last"] = FeatureSpec(last_channels(width, fixed_ends), plans["stage7"].stride_out)
    return specs
