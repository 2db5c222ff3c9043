"""Loaders of the splits. Batches leave them as uint8 and are scaled on the device."""

from __future__ import annotations

import logging
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import cv2
import torch
from torch.utils.data import DataLoader, Sampler

from tasks.data.datasets.mixed import MixedData
from tasks.data.loading.balanced import classes_of_images, draws
from tasks.data.loading.collate import Collate
from tasks.data.loading.mixed import MixedSampler, shares
from tasks.data.loading.progressive import ProgressiveSampler
from tasks.data.loading.sampling import EvaluationSampler, StartingAt, TrainingSampler, TransformedData
from tasks.data.loading.workers import default_workers, start_worker
from tasks.data.transforms.build import evaluation_transform, growing_size, train_transform

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from tasks.data.config import DataConfig
    from tasks.data.sample import Transform
    from tasks.data.splits import DataSplits, Images, JointSplits, VisionData
    from tasks.data.transforms.config import TransformConfig

log = logging.getLogger(__name__)


class Loaders:
    """Splits, transformed and batched.

    The order of training images and their augmentation follow from `seed` and the epoch alone, whatever the number of
    workers. In training the last, smaller batch is used too (see `TrainingSampler`); validation and test see every
    image exactly once, also on several devices. The trainer must leave the samplers as they are:
    `use_distributed_sampler=False`.

    Args:
        splits: of the data set.
        config: batches and workers.
        transform: how images get to the model.
        kinds: by the head's name, what it learns.
        seed: of the run.
        rank, world_size: this process and the number of processes that share the images.
        local_world_size: how many of them are on this machine.
        workers: in place of `config.workers`.

    Attributes:
        batch_size: images of a training batch, of each process.
        steps: of the whole training, over which images may grow; None, before it is known: they are of their last size.
    """

    def __init__(
        self,
        splits: DataSplits | JointSplits,
        config: DataConfig,
        transform: TransformConfig,
        kinds: Mapping[str, str],
        seed: int = 0,
        *,
        rank: int = 0,
        world_size: int = 1,
        local_world_size: int = 1,
        workers: int | None = None,
    ) -> None:
        self.splits = splits
        self.config = config
        self.transform = transform
        self.batch_size = int(config.batch_size)
        self.collate = Collate(kinds)
        self.seed = seed
        self.steps: int | None = None
        self._rank = (rank, world_size)
        self._local_world_size = local_world_size
        self._workers = config.workers if workers is None else workers
        self._kinds = list(kinds.values())
        self._start = (0, 0)

    def start_at(self, epoch: int, batch: int) -> None:
        """Begin in that epoch, after so many batches of it: for a training that goes on."""
        self._start = (epoch, batch)

    def keys(self, epoch: int, batch: int) -> list[tuple[int, ...]]:
        """Keys of a training batch of this process: position, seed of the augmentation, side if images grow."""
        sampler = self._sampler()
        sampler.set_epoch(epoch)
        first = batch * self.batch_size
        return list(islice(sampler, first, first + self.batch_size))

    def samples(self) -> list[Any]:
        """Images of the first training batch, as the model sees them."""
        data = TransformedData(self.splits.train, train_transform(self.transform))
        return [data[key] for key in self.keys(0, 0)]

    def file(self, position: int) -> str | None:
        """Path of a training image; None where the data set does not say."""
        path = getattr(self.splits.train, "path", None)
        return None if path is None else str(path(position))

    def train(self) -> DataLoader[Any]:
        sampler: Sampler[Any] = self._sampler()
        if self._start != (0, 0):
            sampler = StartingAt(self._sampler(), self.batch_size, *self._start)
        return self._loader(self.splits.train, train_transform(self.transform), sampler, self.batch_size)

    def _sampler(self) -> TrainingSampler | MixedSampler:
        source, sizes = self.splits.train, growing_size(self.transform)
        plan = len(source), self.batch_size, self.seed, *self._rank
        if isinstance(source, MixedData):
            ratio = getattr(self.config, "ratio", None)
            share = shares(list(source.sizes), ratio, self.batch_size)
            return MixedSampler(list(source.sizes.values()), list(share.values()), self.seed, *self._rank)
        if sizes is None or self.steps is None:
            return TrainingSampler(*plan, expected=self._expected)
        return ProgressiveSampler(*plan, sizes=sizes, steps=self.steps, expected=self._expected)

    @cached_property
    def _expected(self) -> NDArray[np.float64] | None:
        """How often each training image is seen in a pass, on average; None: once."""
        strength = getattr(self.config, "balanced_sampling", 0.0)
        if not strength:
            return None
        found = draws(classes_of_images(cast("VisionData", self.splits.train), self._kinds[0]), strength)
        log.info("balanced sampling: an image is seen %.2g to %.2g times in a pass", found.min(), found.max())
        return found

    def evaluation(self, source: Images) -> DataLoader[Any]:
        """Every image of a split once, in its order."""
        sampler = EvaluationSampler(len(source), *self._rank)
        batch_size = self.batch_size if self.transform.same_size else 1
        return self._loader(source, evaluation_transform(self.transform), sampler, batch_size)

    def _loader(self, source: Images, transform: Transform, sampler: Sampler[Any], batch_size: int) -> DataLoader[Any]:
        workers = self._workers
        if workers is None:
            workers = default_workers(self._local_world_size)
        if workers:
            cv2.setNumThreads(1)  # here and not in a forked worker: ending threads that a fork left behind never ends
        return DataLoader(
            TransformedData(source, transform),
            batch_size=batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=self.collate,
            pin_memory=torch.cuda.is_available(),
            timeout=(self.config.timeout or 0) if workers else 0,
            worker_init_fn=start_worker,
            persistent_workers=workers > 0,
            generator=torch.Generator().manual_seed(self.seed),
        )
