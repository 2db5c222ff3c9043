"""`data.batch_size=auto` of a training: found once, kept in its checkpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.config.training import AUTO
from tasks.data.config import MIN_SHARE
from tasks.distributed import group
from tasks.training import batch_size
from tasks.training.resume import rng

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.build import Builder
    from tasks.commands.job import Job
    from tasks.config.training import TrainerConfig
    from tasks.data.labels import LabelMap
    from tasks.data.splits import DataSplits, JointSplits
    from tasks.training.resume.checkpoints import Checkpoint

IMAGES = "images in a batch"
"""Fact of a checkpoint."""


def is_auto(job: Job) -> bool:
    """Whether the command leaves the size of a batch to a trial."""
    data = job.command.written.get("data")
    return isinstance(data, dict) and data.get("batch_size") == AUTO


def with_fitting_batches(
    job: Job, splits: DataSplits | JointSplits, labels: Mapping[str, LabelMap], trainer: TrainerConfig,
    begun: Checkpoint | None,
) -> Job:  # fmt: skip
    """The run with batches of what its training began with, or of as many images as fit in all processes.

    Raises:
        InputError: so many as are needed do not fit.
    """
    if begun is not None and IMAGES in begun.facts:
        return replace(job, builder=job.builder.with_batches(int(begun.facts[IMAGES])))
    before = rng.state()
    images = _fitting(job.builder, splits, labels, trainer)
    rng.restore(before)
    return replace(job, builder=job.builder.with_batches(images))


def _fitting(
    builder: Builder, splits: DataSplits | JointSplits, labels: Mapping[str, LabelMap], trainer: TrainerConfig
) -> int:
    here, parts = group.place(), len(getattr(builder.data, "parts", None) or (None,))
    loaders = builder.with_batches(batch_size.FIRST * parts).loaders(splits)
    samples = loaders.samples()
    found = batch_size.find(
        builder.starting_model(labels),
        lambda images: loaders.collate([samples[position % len(samples)] for position in range(images)]),
        builder.device,
        trainer.precision,
        most=batch_size.limit(len(splits.train), here.world_size, trainer.accumulate),
        least=parts * MIN_SHARE,
        sharers=here.local_world_size,
    )
    images = min(group.all_gather(found.images))
    batch_size.say(found, images)
    return images
