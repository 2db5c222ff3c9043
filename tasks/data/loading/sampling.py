"""Which images come next, and how each is varied: a function of seed, epoch and rank, not of the number of workers."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from torch.utils.data import Dataset, Sampler

from tasks.data.files.encoded import EncodedData, EncodedTransform
from tasks.data.loading.balanced import drawn
from tasks.data.sample import SizedTransform, Transform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tasks.data.loading.mixed import MixedSampler
    from tasks.data.sample import Sample
    from tasks.data.splits import Images

    Key: TypeAlias = "int | tuple[int, ...]"


class TransformedData(Dataset["Sample"]):
    """A split seen through a transform.

    Asked for by position and seed, as `TrainingSampler` does, and by the side of the image, as `ProgressiveSampler`
    does; a plain position is its own seed.
    """

    def __init__(self, source: Images, transform: Transform) -> None:
        self.source = source
        self.transform = transform

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key) -> Sample:
        position, seed, *size = (key, key) if isinstance(key, int) else key
        transform = self.transform
        if size:
            assert isinstance(transform, SizedTransform), f"{type(transform).__name__} makes images of one size"
            transform = transform.at(*size)
        if isinstance(self.source, EncodedData) and isinstance(transform, EncodedTransform):
            return transform.from_encoded(self.source.encoded(position), seed)
        return transform(self.source[position], seed)


class TrainingSampler(Sampler["tuple[int, ...]"]):
    """Positions in a new order every epoch, each with the seed of its augmentation.

    Every rank gets the same number; the last few ranks repeat images of the first ones where images do not divide.
    A last batch of one image, which batch normalisation cannot use, gets a second image of the epoch; so each image
    is seen in every epoch and none is dropped, unless `expected` says otherwise.

    Args:
        length: images of the split.
        batch_size: per rank.
        seed: of the whole run.
        rank, world_size: this process and the number of processes that share an epoch.
        expected: (length,) how often each image is seen in an epoch, on average; None: once.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        *,
        expected: NDArray[np.float64] | None = None,
    ) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.expected = expected
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of an epoch, a resumed one too."""
        self.epoch = epoch

    def __len__(self) -> int:
        share = -(-self.length // self.world_size)
        return share + 1 if self.batch_size > 1 and share % self.batch_size == 1 else share

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(self.length) if self.expected is None else drawn(self.expected, rng)
        order = np.resize(order, len(self) * self.world_size)
        seeds = rng.integers(0, 2**32, len(order))
        mine = slice(self.rank, None, self.world_size)
        return iter(list(zip(order[mine].tolist(), seeds[mine].tolist(), strict=True)))


class StartingAt(Sampler["tuple[int, ...]"]):
    """A sampler that leaves out the beginning of one epoch, for a training that goes on in the middle of it.

    What is left out is not read. The length stays that of a whole epoch.

    Args:
        sampler: whose epochs these are.
        batch_size: of it.
        epoch: the one to go on in.
        batch: how many batches of it were seen.
    """

    def __init__(self, sampler: TrainingSampler | MixedSampler, batch_size: int, epoch: int, batch: int) -> None:
        self.sampler = sampler
        self._first = epoch
        self._seen = batch * batch_size
        self.set_epoch(epoch)

    def set_epoch(self, epoch: int) -> None:
        """See `TrainingSampler`."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return islice(self.sampler, self._seen if self.sampler.epoch == self._first else 0, None)


class EvaluationSampler(Sampler[int]):
    """Every image exactly once over all world_size, in order; world_size may differ by one image."""

    def __init__(self, length: int, rank: int = 0, world_size: int = 1) -> None:
        self.positions = range(rank, length, world_size)

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[int]:
        return iter(self.positions)
