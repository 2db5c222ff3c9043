"""MobileNetV3, Large and Small. Reference: arXiv:1905.02244, Tables 1 and 2; where its code differs, its code."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from backbone.architecture import Architecture, BlockSpec, make_divisible
from backbone.config import MobileNetConfig
from backbone.errors import InputError
from backbone.features import Activation, ConvSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

STEM_CHANNELS = 16
SQUEEZE = 4
"""Channels of an expansion for each inside its squeeze-and-excitation."""
OLD_LAST_RATIO, OLD_LAST_EXPANSION = 2, 6
"""Ratios in the block that the last stage had before it was made efficient (Figure 5): 160 channels, 960, then 320."""
KERNELS = (3, 5, 7)


class ReducedTail(Enum):
    """Halves the channels of the last stage and of the last convolution (sections 6.3 and 6.4).

    Detection keeps the expansion of the stage's first block, which a head looks at; segmentation halves it, too.
    """

    none = "none"
    detection = "detection"
    segmentation = "segmentation"


class SqueezeOf(Enum):
    """What the inner channels of squeeze-and-excitation are a quarter of (section 5.3; MnasNet has the bottleneck)."""

    expansion = "expansion"
    bottleneck = "bottleneck"


class Row(NamedTuple):
    """A block: side k of its filters, ratio t of its expansion to its input, channels c, squeeze se, and stride s."""

    k: int
    t: float
    c: int
    se: bool
    s: int


class Table(NamedTuple):
    """A network at width 1.

    Attributes:
        stages: rows by stage.
        last: channels of the last 1x1 convolution.
        hidden: channels of the layer behind pooling; 0: there is none.
        hardswish_from: channels of the first rows that have hard swish.
        levels: see `Architecture`.
    """

    stages: Mapping[str, tuple[Row, ...]]
    last: int
    hidden: int
    hardswish_from: int
    levels: Mapping[str, str]


LARGE = Table(
    stages={
        "stage1": (Row(3, 1, 16, False, 1),),
        "stage2": (Row(3, 4, 24, False, 2), Row(3, 3, 24, False, 1)),
        "stage3": (Row(5, 3, 40, True, 2), Row(5, 3, 40, True, 1), Row(5, 3, 40, True, 1)),
        "stage4": (
            Row(3, 6, 80, False, 2),
            Row(3, 2.5, 80, False, 1),
            Row(3, 2.3, 80, False, 1),
            Row(3, 2.3, 80, False, 1),
        ),
        "stage5": (Row(3, 6, 112, True, 1), Row(3, 6, 112, True, 1)),
        "stage6": (Row(5, 6, 160, True, 2), Row(5, 6, 160, True, 1), Row(5, 6, 160, True, 1)),
    },
    last=960,
    hidden=1280,
    hardswish_from=80,
    levels={
        "c2": "stage2",
        "c3": "stage3",
        "c3.depthwise": "stage3.depthwise",
        "c3.expand": "stage4.expand",
        "c4": "stage5",
        "c4.expand": "stage6.expand",
        "c5": "stage6",
        "context": "last",
    },
)
SMALL = Table(
    stages={
        "stage1": (Row(3, 1, 16, True, 2),),
        "stage2": (Row(3, 4.5, 24, False, 2), Row(3, 88 / 24, 24, False, 1)),
        "stage3": (Row(5, 4, 40, True, 2), Row(5, 6, 40, True, 1), Row(5, 6, 40, True, 1)),
        "stage4": (Row(5, 3, 48, True, 1), Row(5, 3, 48, True, 1)),
        "stage5": (Row(5, 6, 96, True, 2), Row(5, 6, 96, True, 1), Row(5, 6, 96, True, 1)),
    },
    last=576,
    hidden=1024,
    hardswish_from=40,
    levels={
        "c2": "stage1",
        "c3": "stage2",
        "c3.depthwise": "stage2.depthwise",
        "c3.expand": "stage3.expand",
        "c4": "stage4",
        "c4.expand": "stage5.expand",
        "c5": "stage5",
        "context": "last",
    },
)


@dataclass(kw_only=True, slots=True)
class MobileNetV3Config(MobileNetConfig):
    """What both networks have. `h_swish_from` is declared by each, as their defaults differ."""

    TABLE: ClassVar[Table]
    reduced_tail: ReducedTail = ReducedTail.none
    minimalistic: bool = False
    """Filters of 3x3, ReLU everywhere, and no squeeze-and-excitation: for hardware that is slow at the others."""
    squeeze: bool = True
    """Whether the blocks have squeeze-and-excitation where the paper's have it."""
    squeeze_of: SqueezeOf = SqueezeOf.expansion
    """What the inner channels of squeeze-and-excitation are a quarter of; bottleneck: the block's input, as MnasNet."""
    efficient_last: bool = True
    """Whether the last wide layer comes behind pooling (section 5.1). false: as before (Figure 5): one block more, of
    twice the channels, and the wide layer before pooling."""
    kernel: int | None = None
    """Side of all depthwise filters; null: the paper's, 3 and 5."""
    fixed_stem: bool = False
    """The stem keeps its 16 channels at any width, as in timm's narrow ones."""

    def __post_init__(self) -> None:
        if self.kernel is not None and self.kernel not in KERNELS:
            raise InputError(f"backbone.kernel={self.kernel}: must be one of {KERNELS}, or null for the paper's")
        if self.table != self.TABLE:
            self.check_from_scratch("h_swish_from")
        if not self.efficient_last and self.reduced_tail is not ReducedTail.none:
            raise InputError(
                f"backbone.efficient_last=false: is for the whole network, and backbone.reduced_tail="
                f"{self.reduced_tail.value} halves its end; leave one of the two out"
            )
        MobileNetConfig.__post_init__(self)

    @property
    @abstractmethod
    def table(self) -> Table:
        """The network at width 1, with the place from which on it has hard swish."""

    def undilated(self) -> Architecture:
        return mobilenet_v3(
            self.table if self.efficient_last else with_old_last(self.table),
            self.width,
            reduced_tail=self.reduced_tail,
            squeeze=self.squeeze and not self.minimalistic,
            squeeze_of=self.squeeze_of,
            kernel=3 if self.minimalistic else self.kernel,
            relu=self.minimalistic,
            fixed_stem=self.fixed_stem,
        )


@dataclass(kw_only=True, slots=True)
class MobileNetV3LargeConfig(MobileNetV3Config):
    """Which MobileNetV3-Large to build and with which weights to start."""

    NAME: ClassVar[str] = "mobilenet_v3_large"
    TABLE: ClassVar[Table] = LARGE
    h_swish_from: int | None = LARGE.hardswish_from
    """Output channels, at width 1, of the first blocks that have hard swish (Table 5: 16, 80, 112); null: ReLU
    everywhere, in the stem and the last layers too."""

    @property
    def table(self) -> Table:
        return LARGE._replace(hardswish_from=_or_none(self.h_swish_from))


@dataclass(kw_only=True, slots=True)
class MobileNetV3SmallConfig(MobileNetV3Config):
    """Which MobileNetV3-Small to build and with which weights to start."""

    NAME: ClassVar[str] = "mobilenet_v3_small"
    TABLE: ClassVar[Table] = SMALL
    h_swish_from: int | None = SMALL.hardswish_from
    """Output channels, at width 1, of the first blocks that have hard swish; null: ReLU everywhere, in the stem and the
    last layers too."""

    @property
    def table(self) -> Table:
        return SMALL._replace(hardswish_from=_or_none(self.h_swish_from))


NEVER = 1 << 30


def _or_none(channels: int | None) -> int:
    return NEVER if channels is None else channels


def with_old_last(table: Table) -> Table:
    """The network before its last stage was made efficient (section 5.1, Figure 5)."""
    stage = f"stage{len(table.stages) + 1}"
    channels = list(table.stages.values())[-1][-1].c
    block = Row(3, OLD_LAST_EXPANSION, OLD_LAST_RATIO * channels, False, 1)
    return table._replace(
        stages={**table.stages, stage: (block,)}, last=table.hidden, hidden=0, levels={**table.levels, "c5": stage}
    )


def mobilenet_v3(
    table: Table,
    width: float = 1.0,
    *,
    reduced_tail: ReducedTail = ReducedTail.none,
    squeeze: bool = True,
    squeeze_of: SqueezeOf = SqueezeOf.expansion,
    kernel: int | None = None,
    relu: bool = False,
    fixed_stem: bool = False,
) -> Architecture:
    """The network of a table at a width; the options are those of `MobileNetV3Config`.

    An expansion is a multiple of its rounded input. The hidden layer is wider above width 1, never narrower.
    """
    outer = Activation.relu if relu or table.hardswish_from == NEVER else Activation.hardswish
    stem = STEM_CHANNELS if fixed_stem else make_divisible(STEM_CHANNELS * width)
    tail = 1 if reduced_tail is ReducedTail.none else 2
    stages, before = {}, stem
    for name, rows in table.stages.items():
        halved = tail if name == list(table.stages)[-1] else 1
        blocks: list[BlockSpec] = []
        for row in rows:
            ratio = row.t / halved if reduced_tail is ReducedTail.segmentation and not blocks else row.t
            expanded = make_divisible(before * ratio) if row.t > 1 else None
            weighed = before if squeeze_of is SqueezeOf.bottleneck else expanded or before
            hardswish = not relu and row.c >= table.hardswish_from
            blocks.append(
                BlockSpec(
                    channels=make_divisible(row.c // halved * width),
                    expanded=expanded,
                    kernel=kernel or row.k,
                    stride=row.s,
                    activation=Activation.hardswish if hardswish else Activation.relu,
                    squeeze=make_divisible(weighed / SQUEEZE) if row.se and squeeze else None,
                )
            )
            before = blocks[-1].channels
        stages[name] = tuple(blocks)
    return Architecture(
        stem=ConvSpec(channels=stem, activation=outer),
        stages=stages,
        last=ConvSpec(channels=make_divisible(table.last // tail * width), activation=outer),
        levels=table.levels,
        hidden=ConvSpec(channels=make_divisible(table.hidden * max(1.0, width)), activation=outer, norm=False)
        if table.hidden
        else None,
    )
