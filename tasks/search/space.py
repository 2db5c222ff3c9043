"""Networks that a search over blocks can find: for every stage a choice of kernel, expansion, squeeze, width, depth.

The blocks of a stage are alike, and its first may stride (MnasNet, arXiv:1807.11626, section 4.1).
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from backbone.architecture import make_divisible
from backbone.errors import InputError
from backbone.units import SQUEEZE

if TYPE_CHECKING:
    import numpy as np

    from backbone.architecture import Architecture, BlockSpec
    from tasks.config.search import BlocksConfig


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage is made of.

    Attributes:
        kernel: side of the depthwise filters; None: its blocks have none.
        expansion: channels between expansion and projection for one of the input; None: its blocks do not expand.
        squeeze: whether its blocks have squeeze-and-excitation.
        width: factor of the configured channels.
        depth: number of blocks.
    """

    kernel: int | None
    expansion: int | None
    squeeze: bool
    width: float
    depth: int


Genome = tuple[Stage, ...]
"""A stage after the other, as the configured network has them."""
PARTS = tuple(field.name for field in fields(Stage))


class Space:
    """All networks that can be chosen.

    Args:
        base: the configured network; its stages, strides, activations and levels stay.
    """

    def __init__(self, base: Architecture, config: BlocksConfig) -> None:
        self.base = base
        self._divisor = config.divisor
        self.options: list[dict[str, list[Any]]] = []
        for stage, blocks in base.stages.items():
            least = 2 if f"{stage}.first" in base.levels.values() else 1
            depths = {max(least, len(blocks) + depth) for depth in config.depths}
            filters = any(block.kernel is not None and block.separable for block in blocks)
            expands = any(block.expanded is not None for block in blocks)
            self.options.append({
                "kernel": sorted(config.kernels) if filters else [None],
                "expansion": sorted(config.expansions) if expands else [None],
                "squeeze": sorted(config.squeezes),
                "width": sorted(config.widths),
                "depth": sorted(depths),
            })  # fmt: skip

    @property
    def size(self) -> int:
        """How many genomes there are."""
        return math.prod(len(values) for options in self.options for values in options.values())

    @property
    def largest(self) -> Genome:
        """The one that holds all others."""
        return tuple(Stage(**{part: options[part][-1] for part in PARTS}) for options in self.options)

    @property
    def smallest(self) -> Genome:
        """The one that all others hold."""
        return tuple(Stage(**{part: options[part][0] for part in PARTS}) for options in self.options)

    def random(self, rng: np.random.Generator) -> Genome:
        """One drawn uniformly."""
        return tuple(Stage(**{part: _drawn(options[part], rng) for part in PARTS}) for options in self.options)

    def mutated(self, genome: Genome, chance: float, rng: np.random.Generator) -> Genome:
        """Another of which every choice is drawn anew with a chance."""
        return tuple(
            Stage(**{
                part: _drawn(options[part], rng) if rng.random() < chance else getattr(stage, part) for part in PARTS
            })
            for stage, options in zip(genome, self.options, strict=True)
        )  # fmt: skip

    def lowered(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Another in which one choice, drawn uniformly of those that can, is the next smaller; the smallest stays."""
        able = [
            (number, part)
            for number, (stage, options) in enumerate(zip(genome, self.options, strict=True))
            for part in PARTS
            if getattr(stage, part) != options[part][0]
        ]
        if not able:
            return genome
        number, part = able[int(rng.integers(len(able)))]
        values = self.options[number][part]
        smaller = values[values.index(getattr(genome[number], part)) - 1]
        return (*genome[:number], replace(genome[number], **{part: smaller}), *genome[number + 1 :])

    def crossed(self, one: Genome, other: Genome, rng: np.random.Generator) -> Genome:
        """One that has every choice from one of two."""
        return tuple(
            Stage(**{part: getattr((mine, theirs)[int(rng.integers(2))], part) for part in PARTS})
            for mine, theirs in zip(one, other, strict=True)
        )

    def architecture(self, genome: Genome) -> Architecture:
        """The network of a genome."""
        channels = self.base.stem.channels
        stages = {}
        for (name, base), chosen in zip(self.base.stages.items(), genome, strict=True):
            blocks = []
            for index in range(chosen.depth):
                like = base[min(index, len(base) - 1)]
                block = self._block(like if index < len(base) else replace(like, stride=1), chosen, channels)
                channels = block.channels
                blocks.append(block)
            stages[name] = tuple(blocks)
        return replace(self.base, stages=stages)

    def _block(self, like: BlockSpec, chosen: Stage, channels: int) -> BlockSpec:
        expanded = like.expanded
        if expanded is not None and chosen.expansion is not None:
            expanded = make_divisible(channels * chosen.expansion, self._divisor)
        inside = channels if expanded is None else expanded
        can_squeeze = chosen.squeeze and like.separable
        return replace(
            like,
            channels=make_divisible(like.channels * chosen.width, self._divisor),
            expanded=expanded,
            kernel=chosen.kernel if like.kernel is not None and like.separable else like.kernel,
            squeeze=make_divisible(inside / SQUEEZE) if can_squeeze else None,
        )


def to_lists(genome: Genome) -> list[list[Any]]:
    """As plain data."""
    return [list(astuple(stage)) for stage in genome]


def from_lists(plain: Any) -> Genome:
    """From plain data.

    Raises:
        InputError: it is no genome.
    """
    try:
        return tuple(Stage(*values) for values in plain)
    except TypeError as error:
        raise InputError(f"{plain!r}: is no choice of blocks") from error


def _drawn(values: list[Any], rng: np.random.Generator) -> Any:
    return values[int(rng.integers(len(values)))]
