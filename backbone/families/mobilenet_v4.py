"""MobileNetV4-Conv, small and medium. Reference: arXiv:2404.10518; rows as its code has them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from backbone.architecture import Architecture, BlockSpec, Shortcut, make_divisible
from backbone.config import MobileNetConfig
from backbone.features import Activation, ConvSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

STEM_CHANNELS = 32
LAST_CHANNELS = 960
HIDDEN = ConvSpec(channels=1280, activation=Activation.relu)


class Conv(NamedTuple):
    """A full convolution: side k of its filters, stride s, channels c; without activation where it is linear."""

    k: int
    s: int
    c: int
    linear: bool = False


class Uib(NamedTuple):
    """A universal inverted bottleneck: sides of the depthwise filters before and after expansion (0: none), ratio t of
    the expansion, channels c, stride s.
    """

    k1: int
    k2: int
    t: float
    c: int
    s: int = 1


class V4Table(NamedTuple):
    """Rows by stage, and levels (see `Architecture`)."""

    stages: Mapping[str, tuple[Conv | Uib, ...]]
    levels: Mapping[str, str]


LEVELS = {
    "c2": "stage1",
    "c3": "stage2",
    "c3.depthwise": "stage2.depthwise",
    "c3.expand": "stage3.expand",
    "c4": "stage3",
    "c4.expand": "stage4.expand",
    "c5": "stage4",
    "context": "last",
}
CONV_SMALL = V4Table(
    stages={
        "stage1": (Conv(3, 2, 32), Conv(1, 1, 32)),
        "stage2": (Conv(3, 2, 96), Conv(1, 1, 64)),
        "stage3": (Uib(5, 5, 3, 96, 2), *(Uib(0, 3, 2, 96),) * 4, Uib(3, 0, 4, 96)),
        "stage4": (
            Uib(3, 3, 6, 128, 2),
            Uib(5, 5, 4, 128),
            Uib(0, 5, 4, 128),
            Uib(0, 5, 3, 128),
            *(Uib(0, 3, 4, 128),) * 2,
        ),
    },
    levels=LEVELS | {"c3.depthwise": "stage2"},
)
CONV_MEDIUM = V4Table(
    stages={
        "stage1": (Conv(3, 2, 128), Conv(1, 1, 48, linear=True)),
        "stage2": (Uib(3, 5, 4, 80, 2), Uib(3, 3, 2, 80)),
        "stage3": (
            Uib(3, 5, 6, 160, 2),
            *(Uib(3, 3, 4, 160),) * 2,
            Uib(3, 5, 4, 160),
            Uib(3, 3, 4, 160),
            Uib(3, 0, 4, 160),
            Uib(0, 0, 2, 160),
            Uib(3, 0, 4, 160),
        ),
        "stage4": (
            Uib(5, 5, 6, 256, 2),
            Uib(5, 5, 4, 256),
            *(Uib(3, 5, 4, 256),) * 2,
            Uib(0, 0, 4, 256),
            Uib(3, 0, 4, 256),
            Uib(3, 5, 2, 256),
            Uib(5, 5, 4, 256),
            *(Uib(0, 0, 4, 256),) * 2,
            Uib(5, 0, 2, 256),
        ),
    },
    levels=LEVELS,
)


def mobilenet_v4(table: V4Table, width: float = 1.0) -> Architecture:
    """The network of a table at a width, which the hidden layer does not follow, nor below 1 the stem."""
    stem = before = make_divisible(STEM_CHANNELS * max(1.0, width))
    stages = {}
    for name, rows in table.stages.items():
        blocks = []
        for row in rows:
            channels = make_divisible(row.c * width)
            if isinstance(row, Conv):
                block = BlockSpec(
                    channels=channels,
                    expanded=None,
                    kernel=row.k,
                    stride=row.s,
                    activation=Activation.relu,
                    linear=row.linear,
                    shortcut=Shortcut.none,
                    separable=False,
                )
            else:
                block = BlockSpec(
                    channels=channels,
                    expanded=make_divisible(before * row.t),
                    kernel=row.k2 or None,
                    start=row.k1 or None,
                    stride=row.s,
                    activation=Activation.relu,
                )
            blocks.append(block)
            before = channels
        stages[name] = tuple(blocks)
    last = ConvSpec(channels=make_divisible(LAST_CHANNELS * width), activation=Activation.relu)
    return Architecture(stem=ConvSpec(channels=stem, activation=Activation.relu), stages=stages, last=last,
                        levels=table.levels, hidden=HIDDEN)  # fmt: skip


@dataclass(kw_only=True, slots=True)
class MobileNetV4Config(MobileNetConfig):
    """What both networks have."""

    @property
    @abstractmethod
    def table(self) -> V4Table:
        """The rows of the network."""

    def undilated(self) -> Architecture:
        return mobilenet_v4(self.table, self.width)


@dataclass(kw_only=True, slots=True)
class MobileNetV4SmallConfig(MobileNetV4Config):
    """Which MobileNetV4-Conv-Small to build and with which weights to start."""

    NAME: ClassVar[str] = "mobilenet_v4_small"

    @property
    def table(self) -> V4Table:
        return CONV_SMALL


@dataclass(kw_only=True, slots=True)
class MobileNetV4MediumConfig(MobileNetV4Config):
    """Which MobileNetV4-Conv-Medium to build and with which weights to start."""

    NAME: ClassVar[str] = "mobilenet_v4_medium"

    @property
    def table(self) -> V4Table:
        return CONV_MEDIUM
