"""Loaders for the trainer. Batches leave them as uint8 and are scaled on the device."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING, Any

import cv2
import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from backbone.errors import InputError
from tasks.data.collate import collate
from tasks.data.sampling import EvaluationSampler, TrainingSampler, Transform, TransformedData
from tasks.data.transforms import MIN_SIDE_PX, EvalTransform, TrainTransform

if TYPE_CHECKING:
    from tasks.data.config import DataConfig
    from tasks.data.splits import DataSplits, DetectionData

log = logging.getLogger(__name__)

MAX_WORKERS = 8


class DataModule(L.LightningDataModule):
    """Splits, transformed and batched.

    The order of training images and their augmentation follow from `seed` and the epoch alone, whatever the number of
    workers. In training the last, smaller batch is used too (see `TrainingSampler`); validation and test see every
    image exactly once, also on several devices. The trainer must leave the samplers as they are:
    `use_distributed_sampler=False`.

    Args:
        splits: what `config.build` gave.
        config: sizes and augmentation.
        seed: of the run.
    """

    def __init__(self, splits: DataSplits, config: DataConfig, seed: int = 0) -> None:
        super().__init__()
        self.splits = splits
        self.config = config
        self.seed = seed
        self._reported = False

    def setup(self, stage: str) -> None:
        """Say once how many objects are too small to be taught at this image size."""
        if stage == "fit" and not self._reported:
            self._reported = True
            small, count = count_small(self.splits.train, self.config.image_size)
            if small:
                log.warning(
                    "%d of %d training objects are narrower than %g pixel at data.image_size=%d and are not taught",
                    small,
                    count,
                    MIN_SIDE_PX,
                    self.config.image_size,
                )

    def train_dataloader(self) -> DataLoader[Any]:
        transform = TrainTransform(self.config.image_size, self.config.augment)
        source = self.splits.train
        sampler = TrainingSampler(len(source), self.config.batch_size, self.seed, *self._rank())
        return self._loader(source, transform, sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._evaluation_loader(self.splits.val)

    def test_dataloader(self) -> DataLoader[Any]:
        """The test split; the validation split where there is none."""
        return self._evaluation_loader(self.splits.test or self.splits.val)

    def predict_dataloader(self) -> DataLoader[Any]:
        """The images of `test_dataloader`."""
        return self.test_dataloader()

    def _evaluation_loader(self, source: DetectionData) -> DataLoader[Any]:
        sampler = EvaluationSampler(len(source), *self._rank())
        return self._loader(source, EvalTransform(self.config.image_size), sampler)

    def _loader(self, source: DetectionData, transform: Transform, sampler: Sampler[Any]) -> DataLoader[Any]:
        workers = self.config.workers
        if workers is None:
            workers = default_workers(self.trainer.num_devices if self.trainer else 1)
        return DataLoader(
            TransformedData(source, transform),
            batch_size=self.config.batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=start_worker,
            persistent_workers=workers > 0,
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def default_workers(devices: int = 1) -> int:
    """Processes per device that prepare batches: the cores that this process may use, less those that drive devices."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_WORKERS, max(1, cores // devices - 1))


def start_worker(worker: int) -> None:
    """One thread each for OpenCV and torch; Ctrl-C is left to the main process, which ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def count_small(source: DetectionData, image_size: int) -> tuple[int, int]:
    """How many objects of a split have a side of less than a pixel at `image_size`, and how many objects there are."""
    boxes = np.concatenate([boxes for boxes, _ in source.boxes()])
    sides = (boxes[:, 2:] - boxes[:, :2]) * image_size
    return int((sides < MIN_SIDE_PX).any(axis=1).sum()), len(boxes)


def clean_error(error: InputError) -> InputError:
    """The error as it was raised in a worker: the loader hands it on with the worker's traceback in the message."""
    marker = f"{InputError.__module__}.{InputError.__qualname__}: "
    text = str(error)
    return InputError(text.rsplit(marker, 1)[1].strip()) if marker in text else error
