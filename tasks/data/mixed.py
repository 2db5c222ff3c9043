"""Several data sets, mixed in a ratio.

An epoch: every batch holds a fixed number of images of every part, by `data.ratio`. The part that needs most batches to
be seen whole defines the epoch: each of its images comes once, in a new order every epoch, and some of them a second
time where they do not fill the last batch. The other parts go on from epoch to epoch: they are repeated pass after
pass, each in a new order, and never start over before a pass is through. So all batches are alike and full.

Everything follows from the seed and the epoch: the number of workers does not matter, and several ranks share every
part of the epoch without overlap.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Dataset, Sampler

from backbone.errors import InputError
from tasks.data.config import MIN_SHARE
from tasks.data.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.data.splits import VisionData

VARIATION = 1
"""Tells the random numbers for augmentation from those for the order of images."""


class MixedData(Dataset[Sample]):
    """Images of several splits, one split after the other.

    Args:
        parts: by name.
        heads: names of the heads that each part has labels for.
    """

    def __init__(self, parts: Mapping[str, VisionData], heads: Mapping[str, Collection[str]]) -> None:
        self.parts = dict(parts)
        self._known = [frozenset(heads[name]) for name in parts]
        self._splits = list(parts.values())
        self._ends = np.cumsum([len(split) for split in self._splits])

    @property
    def sizes(self) -> dict[str, int]:
        """Images of every part."""
        return {name: len(split) for name, split in self.parts.items()}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        part, place = self._find(index)
        return replace(self._splits[part][place], known=self._known[part])

    def path(self, index: int) -> Path:
        """Of the image file."""
        part, place = self._find(index)
        return self._splits[part].path(place)

    def _find(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index}: must be in 0 .. {len(self) - 1}")
        part = int(np.searchsorted(self._ends, index, side="right"))
        return part, index - int(self._ends[part] - len(self._splits[part]))


def shares(parts: Sequence[str], ratio: Mapping[str, float] | None, batch_size: int) -> dict[str, int]:
    """Images of every part in a batch: by the ratio, rounded so that they are `batch_size` together.

    Raises:
        InputError: a part gets less than two.
    """
    weights = np.array([1.0 if not ratio else ratio[part] for part in parts])
    exact = batch_size * weights / weights.sum()
    counts = np.floor(exact).astype(int)
    largest = np.argsort(counts - exact, kind="stable")[: batch_size - counts.sum()]
    counts[largest] += 1
    found = dict(zip(parts, counts.tolist(), strict=True))
    for part, count in found.items():
        if count < MIN_SHARE:
            raise InputError(
                f"data.ratio: leaves {count} of data.batch_size={batch_size} images to {part}, and batch normalisation"
                f" needs {MIN_SHARE}; raise its share or the batch"
            )
    return found


class MixedSampler(Sampler["tuple[int, ...]"]):
    """Positions in mixed data, each with the seed of its augmentation, so that batches hold every part's share.

    Args:
        sizes: images of every part.
        shares: of them in a batch.
        seed: of the whole run.
        rank, ranks: this process and the number of processes that share an epoch.

    Attributes:
        batches: of an epoch, per rank.
    """

    def __init__(self, sizes: Sequence[int], shares: Sequence[int], seed: int, rank: int = 0, ranks: int = 1) -> None:
        self.seed = seed
        self.rank = rank
        self.ranks = ranks
        self.epoch = 0
        self._sizes = list(sizes)
        self._shares = list(shares)
        needed = [-(-size // (share * ranks)) for size, share in zip(sizes, shares, strict=True)]
        self.batches = max(needed)
        self._defines = [count == self.batches for count in needed]

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of an epoch, a resumed one too."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches * sum(self._shares)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        columns, seeds = [], []
        for part, share in enumerate(self._shares):
            shape = self.batches, self.ranks, share
            order = self._order(part).reshape(shape)
            columns.append(order[:, self.rank] + sum(self._sizes[:part]))
            # Drawn for all ranks, so that an image is varied as it would be with one rank and batches as large.
            rng = np.random.default_rng([self.seed, self.epoch, part, VARIATION])
            seeds.append(rng.integers(0, 2**32, shape)[:, self.rank])
        positions, varied = (np.concatenate(parts, axis=1).ravel() for parts in (columns, seeds))
        return iter(list(zip(positions.tolist(), varied.tolist(), strict=True)))

    def _order(self, part: int) -> NDArray[np.int64]:
        """Images of a part over all batches and ranks of this epoch."""
        size, count = self._sizes[part], self.batches * self.ranks * self._shares[part]
        if self._defines[part]:
            return np.resize(self._pass(part, self.epoch), count)
        first, start = divmod(self.epoch * count, size)
        passes = [self._pass(part, first + number) for number in range(-(-(start + count) // size))]
        return np.concatenate(passes)[start : start + count]

    def _pass(self, part: int, number: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, number, part]).permutation(self._sizes[part])
