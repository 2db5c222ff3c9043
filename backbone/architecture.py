"""A network of the MobileNet kind as plain numbers: blocks, stages, and the features that come out.

Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from backbone.errors import InputError
from backbone.features import Activation, ConvSpec, FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

OUTPUT_STRIDES = (8, 16, 32)
MIN_WIDTH = 0.1
MAX_WIDTH = 16
"""Weights of 3 GB."""


class Padding(Enum):
    """Padding rule of strided convolutions.

    `symmetric` pads both sides alike (PyTorch). `tf_same` pads so that the last cell is reached: at the bottom and
    right only when the input is even (TensorFlow). Weights know one of the two; under the other ImageNet top-1 falls by
    nine points.
    """

    symmetric = "symmetric"
    tf_same = "tf_same"


class Shortcut(Enum):
    """What a sum joins: a block's input and output where both are alike, expansions of neighbours, or nothing.

    `expansion`: the expansion of a block and that of the one before it, where they are as many and as fine; the
    classical residual between the wide ends (MobileNetV2, section 3.3 and Figure 6b, which leaves the tensors open).
    """

    bottleneck = "bottleneck"
    expansion = "expansion"
    none = "none"


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round to the nearest multiple of `divisor`, never below it and never below 90 % of `value`."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSpec:
    """A block in final channels, with nothing left to derive but its input: expand, filter by depth, weigh, project."""

    channels: int
    """Channels of the output."""
    expanded: int | None
    """Channels between expansion and projection; None: no 1x1 expansion (V1; the first rows of V2 and V3)."""
    kernel: int | None = 3
    """Side of the depthwise filters; None: there are none between expansion and projection."""
    start: int | None = None
    """Side of the filters of a depthwise convolution without activation before the expansion; None: there is none."""
    stride: int = 1
    dilation: int = 1
    activation: Activation
    squeeze: int | None = None
    """Inner channels of squeeze-and-excitation; None: there is none."""
    linear: bool = True
    """Whether the projection has no activation; false in V1."""
    shortcut: Shortcut = Shortcut.bottleneck
    separable: bool = True
    """false: the projection itself is a full convolution with this kernel, and no depthwise one is before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A whole network.

    Attributes:
        stem: the first convolution, 3x3 with a stride of 2.
        stages: blocks by the stage's name, in order. The names are those of the modules, which checkpoints have.
        last: the 1x1 convolution behind the stages; None: there is none, and the level `last` is a stage's.
        levels: names that every network has, each with the feature that it is in this one: `c2` to `c5`, the last block
            at strides 4, 8, 16 and 32 before dilation; `c3.depthwise`, the depthwise output of c3's last block;
            `c3.expand` and `c4.expand`, the expansion in the first block that leaves stride 8 and 16; `last`; and
            `context`, what segmentation looks at.
        last_stride: input pixels from one cell to the next at `last`, where it is coarser than the last stage; None: as
            there.
        hidden: the layer behind pooling that a classifier of `last` has; None: there is none.
    """

    stem: ConvSpec
    stages: Mapping[str, tuple[BlockSpec, ...]]
    last: ConvSpec | None
    levels: Mapping[str, str]
    last_stride: int | None = None
    hidden: ConvSpec | None = None

    def feature(self, name: str) -> str:
        """The feature that a level is; a feature's own name stays."""
        return self.levels.get(name, name)

    @property
    def specs(self) -> dict[str, FeatureSpec]:
        """Channels and stride of every feature in the order of computation, each level behind its feature.

        Features are `stem`, every stage, `last`, and of a stage `.expand`, the expansion in its first block, and
        `.depthwise`, the output of the depthwise convolution in its last block; of a stage of several blocks also
        `.first`, the output of the first one.
        """
        found = {"stem": FeatureSpec(self.stem.channels, 2)}
        stride, channels = 2, self.stem.channels
        for stage, blocks in self.stages.items():
            if blocks[0].expanded is not None:
                found[f"{stage}.expand"] = FeatureSpec(blocks[0].expanded, stride)
            for index, block in enumerate(blocks):
                stride *= block.stride
                filtered = block.expanded or channels
                channels = block.channels
                if index == 0 and len(blocks) > 1:
                    found[f"{stage}.first"] = FeatureSpec(channels, stride)
            if blocks[-1].separable:
                found[f"{stage}.depthwise"] = FeatureSpec(filtered, stride)
            found[stage] = FeatureSpec(channels, stride)
        if self.last is not None:
            found["last"] = FeatureSpec(self.last.channels, stride)
        specs = {}
        for name, spec in found.items():
            specs[name] = spec
            specs |= {level: spec for level, feature in self.levels.items() if feature == name}
        if "last" in specs:
            last = specs["last"]
            specs["last"] = FeatureSpec(last.channels, self.last_stride or last.stride, self.hidden)
        return specs

    def dilated(
        self, output_stride: int, last_stride: int | None = None, *, dilate_first: bool = False
    ) -> Architecture:
        """The same network with no feature coarser than `output_stride`, but for `last` where `last_stride` is.

        Where the resolution would fall below, a block keeps it and the blocks after it are dilated instead; the block
        that would have strided still has the old rate (DeepLabv3's rule, as its reference does it). Several libraries
        dilate that block too, which `dilate_first` does: under the other rule imported weights give other outputs.
        """
        stride, rate = 2, 1
        stages = {}
        for stage, blocks in self.stages.items():
            dilated = []
            for block in blocks:
                if stride * block.stride <= output_stride:
                    stride *= block.stride
                    dilated.append(replace(block, dilation=rate))
                else:
                    before, rate = rate, rate * block.stride
                    first = rate if dilate_first else before
                    dilated.append(replace(block, stride=1, dilation=first, shortcut=Shortcut.none))
            stages[stage] = tuple(dilated)
        return replace(self, stages=stages, last_stride=last_stride)

    def with_channels(self, stage: str, channels: int) -> Architecture:
        """The same network with another number of channels at the output of every block of a stage."""
        self._check(stage)
        blocks = tuple(replace(block, channels=channels) for block in self.stages[stage])
        return replace(self, stages={**self.stages, stage: blocks})

    def with_expanded(self, stage: str, index: int, expanded: int) -> Architecture:
        """The same network with another number of channels between expansion and projection of one block."""
        self._check(stage)
        blocks = list(self.stages[stage])
        if not -len(blocks) <= index < len(blocks) or blocks[index].expanded is None:
            raise InputError(f"{stage}.{index}: there is no such block that expands; {stage} has {len(blocks)} blocks")
        blocks[index] = replace(blocks[index], expanded=expanded)
        return replace(self, stages={**self.stages, stage: tuple(blocks)})

    def _check(self, stage: str) -> None:
        if stage not in self.stages:
            raise InputError(f"{stage}: there is no such stage; there are {', '.join(self.stages)}")
