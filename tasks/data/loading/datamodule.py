"""Loaders for the trainer. Batches leave them as uint8 and are scaled on the device."""

from __future__ import annotations

import os
import signal
from itertools import islice
from typing import TYPE_CHECKING, Any

import cv2
import lightning as L
import torch
from torch.utils.data import DataLoader, Sampler

from backbone.errors import InputError
from tasks.data.datasets.mixed import MixedData
from tasks.data.loading.collate import Collate
from tasks.data.loading.mixed import MixedSampler, shares
from tasks.data.loading.progressive import ProgressiveSampler
from tasks.data.loading.sampling import EvaluationSampler, StartingAt, TrainingSampler, TransformedData
from tasks.distributed import group

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.data.config import DataConfig
    from tasks.data.sample import Transform
    from tasks.data.splits import DataSplits, JointSplits, Pictures
    from tasks.data.transforms.config import TransformConfig

MAX_WORKERS = 8


class DataModule(L.LightningDataModule):
    """Splits, transformed and batched.

    The order of training images and their augmentation follow from `seed` and the epoch alone, whatever the number of
    workers. In training the last, smaller batch is used too (see `TrainingSampler`); validation and test see every
    image exactly once, also on several devices. The trainer must leave the samplers as they are:
    `use_distributed_sampler=False`.

    Args:
        splits: what `config.build` gave.
        config: batches and workers.
        transform: how images get to the model.
        kinds: by the head's name, what it learns.
        seed: of the run.

    Attributes:
        steps: of the whole training, over which images may grow; None, before it is known: they are of their last size.
    """

    def __init__(
        self,
        splits: DataSplits | JointSplits,
        config: DataConfig,
        transform: TransformConfig,
        kinds: Mapping[str, str],
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.splits = splits
        self.config = config
        self.transform = transform
        self.collate = Collate(kinds)
        self.seed = seed
        self.steps: int | None = None
        self._start = (0, 0)

    def start_at(self, epoch: int, batch: int) -> None:
        """Begin in that epoch, after so many batches of it: for a training that goes on."""
        self._start = (epoch, batch)

    def keys(self, epoch: int, batch: int) -> list[tuple[int, ...]]:
        """Of the images of a training batch of this process: position, seed of the augmentation, side if that grows."""
        sampler = self._sampler()
        sampler.set_epoch(epoch)
        first = batch * self.config.batch_size
        return list(islice(sampler, first, first + self.config.batch_size))

    def file(self, position: int) -> str | None:
        """Of a training image; None where the data set does not say."""
        path = getattr(self.splits.train, "path", None)
        return None if path is None else str(path(position))

    def train_dataloader(self) -> DataLoader[Any]:
        sampler: Sampler[Any] = self._sampler()
        if self._start != (0, 0):
            sampler = StartingAt(self._sampler(), self.config.batch_size, *self._start)
        return self._loader(self.splits.train, self.transform.train(), sampler, self.config.batch_size)

    def _sampler(self) -> TrainingSampler | MixedSampler:
        source, sizes = self.splits.train, self.transform.sizes()
        plan = len(source), self.config.batch_size, self.seed, *self._rank()
        if isinstance(source, MixedData):
            ratio = getattr(self.config, "ratio", None)
            share = shares(list(source.sizes), ratio, self.config.batch_size)
            return MixedSampler(list(source.sizes.values()), list(share.values()), self.seed, *self._rank())
        if sizes is None or self.steps is None:
            return TrainingSampler(*plan)
        return ProgressiveSampler(*plan, sizes=sizes, steps=self.steps)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._evaluation_loader(self.splits.val)

    def test_dataloader(self) -> DataLoader[Any]:
        """The test split; the validation split where there is none."""
        return self._evaluation_loader(self.splits.test or self.splits.val)

    def predict_dataloader(self) -> DataLoader[Any]:
        """The images of `test_dataloader`."""
        return self.test_dataloader()

    def _evaluation_loader(self, source: Pictures) -> DataLoader[Any]:
        sampler = EvaluationSampler(len(source), *self._rank())
        batch_size = self.config.batch_size if self.transform.same_size else 1
        return self._loader(source, self.transform.evaluation(), sampler, batch_size)

    def _loader(
        self, source: Pictures, transform: Transform, sampler: Sampler[Any], batch_size: int
    ) -> DataLoader[Any]:
        workers = self.config.workers
        if workers is None:
            workers = default_workers(group.place().local_world_size)
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

    def _rank(self) -> tuple[int, int]:
        here = group.place()
        return here.rank, here.world_size


def default_workers(devices: int = 1) -> int:
    """Processes per device that prepare batches: the cores that this process may use, less those that drive devices."""
    return min(MAX_WORKERS, max(1, usable_cores() // devices - 1))


def usable_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_worker(worker: int) -> None:
    """One thread each for OpenCV and torch; Ctrl-C is left to the main process, which ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def clean_error(error: InputError) -> InputError:
    """The error as it was raised in a worker: the loader hands it on with the worker's traceback in the message."""
    marker = f"{InputError.__module__}.{InputError.__qualname__}: "
    text = str(error)
    return InputError(text.rsplit(marker, 1)[1].strip()) if marker in text else error
