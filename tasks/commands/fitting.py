"""`data.batch_size=auto` and `trainer.precision=auto` of a training: found once, kept in its checkpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tasks.config.training import AUTO
from tasks.data.config import MIN_SHARE
from tasks.distributed import group
from tasks.training import batch_size
from tasks.training.precision import FULL, fastest
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
PRECISION = "precision"
"""Facts of a checkpoint."""


def asks_trials(job: Job, trainer: TrainerConfig) -> bool:
    """Whether the command leaves something to a trial, whose outcome a training that was begun keeps."""
    return _is_auto(job) or trainer.precision == AUTO or trainer.minutes is not None


def with_trials(
    job: Job, trainer: TrainerConfig, splits: DataSplits | JointSplits, labels: Mapping[str, LabelMap],
    begun: Checkpoint | None,
) -> tuple[Job, TrainerConfig, dict[str, Any]]:  # fmt: skip
    """The run in the type and with batches of what its training began with, or of what trials find in all processes.

    Returns:
        It, its trainer, and what was found, as facts of a checkpoint.
    Raises:
        InputError: so many images as are needed do not fit.
    """
    facts: dict[str, Any] = {} if begun is None else begun.facts
    found: dict[str, Any] = {}
    if trainer.precision == AUTO:
        found[PRECISION] = str(facts[PRECISION]) if PRECISION in facts else _precision(job.builder)
        job = replace(job, builder=job.builder.with_precision(found[PRECISION]))
        trainer = replace(trainer, precision=found[PRECISION])
    if _is_auto(job):
        if IMAGES in facts:
            found[IMAGES] = int(facts[IMAGES])
        else:
            before = rng.state()
            found[IMAGES] = _fitting(job.builder, splits, labels, trainer)
            rng.restore(before)
        job = replace(job, builder=job.builder.with_batches(found[IMAGES]))
    return job, trainer, found


def _is_auto(job: Job) -> bool:
    data = job.command.written.get("data")
    return isinstance(data, dict) and data.get("batch_size") == AUTO


def _precision(builder: Builder) -> str:
    found = group.all_gather(fastest(builder.device))
    return found[0] if len(set(found)) == 1 else FULL


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
