"""The order in which several data sets are read as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Sampler

from backbone.errors import InputError
from tasks.data.config import MIN_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray


VARIATION = 1
"""Tells the random numbers for augmentation from those for the order of images."""


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
        rank, world_size: this process and the number of processes that share an epoch.

    Attributes:
        batches: of an epoch, per rank.
    """

    def __init__(
        self, sizes: Sequence[int], shares: Sequence[int], seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._sizes = list(sizes)
        self._shares = list(shares)
        needed = [-(-size // (share * world_size)) for size, share in zip(sizes, shares, strict=True)]
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
            shape = self.batches, self.world_size, share
            order = self._order(part).reshape(shape)
            columns.append(order[:, self.rank] + sum(self._sizes[:part]))
            # Drawn for all world_size, so that an image is varied as it would be with one rank and batches as large.
            rng = np.random.default_rng([self.seed, self.epoch, part, VARIATION])
            seeds.append(rng.integers(0, 2**32, shape)[:, self.rank])
        positions, varied = (np.concatenate(parts, axis=1).ravel() for parts in (columns, seeds))
        return iter(list(zip(positions.tolist(), varied.tolist(), strict=True)))

    def _order(self, part: int) -> NDArray[np.int64]:
        """Images of a part over all batches and world_size of this epoch."""
        size, count = self._sizes[part], self.batches * self.world_size * self._shares[part]
        if self._defines[part]:
            return np.resize(self._pass(part, self.epoch), count)
        first, start = divmod(self.epoch * count, size)
        passes = [self._pass(part, first + number) for number in range(-(-(start + count) // size))]
        return np.concatenate(passes)[start : start + count]

    def _pass(self, part: int, number: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, number, part]).permutation(self._sizes[part])
