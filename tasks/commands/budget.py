"""`trainer.minutes`: how many steps fit into a time, by the measured time of some."""

from __future__ import annotations

import logging
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch

from backbone.errors import InputError
from tasks.distributed import group
from tasks.inference import computing, predict
from tasks.training import batch_size
from tasks.training.resume import rng

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.build import Builder
    from tasks.config.training import TrainerConfig
    from tasks.data.labels import LabelMap
    from tasks.data.splits import DataSplits, JointSplits
    from tasks.model import VisionModel
    from tasks.training.resume.checkpoints import Checkpoint

log = logging.getLogger(__name__)

FIRST = 2
"""Batches that are not timed: what is allocated once, and workers that start."""
TIMED = 6
SHARE = 0.95
"""Share of the time that steps and evaluations may take; the rest is for what is not measured, such as the report."""


def steps_within(
    builder: Builder, splits: DataSplits | JointSplits, labels: Mapping[str, LabelMap], trainer: TrainerConfig,
    begun: Checkpoint | None, evaluations: int,
) -> int:  # fmt: skip
    """Steps of a training of `trainer.minutes`: those that it began with, or as many as fit by a trial.

    Args:
        evaluations: of the validation split, while training.
    Raises:
        InputError: evaluations alone take as long.
    """
    assert trainer.minutes is not None
    if begun is not None:
        return int(begun.facts["steps"])
    before = rng.state()
    step, evaluation = _measured(builder, splits, labels, trainer, evaluations)
    rng.restore(before)
    found = group.all_gather((step, evaluation))
    step, evaluation = (max(times) for times in zip(*found, strict=True))
    steps = steps_in(trainer.minutes, step, evaluation)
    log.info(
        "trainer.minutes=%g: %d steps, by %.3g s for a step and %.3g s for all evaluations",
        trainer.minutes, steps, step, evaluation,
    )  # fmt: skip
    return steps


def steps_in(minutes: float, step: float, evaluation: float) -> int:
    """Steps that fit.

    Args:
        step, evaluation: seconds of one step, and of all evaluations together.
    Raises:
        InputError: none does.
    """
    steps = int((SHARE * 60 * minutes - evaluation) / step)
    if steps < 1:
        raise InputError(
            f"trainer.minutes={minutes:g}: leaves no time for a step: one takes {step:.2g} s, all evaluations"
            f" {evaluation:.2g} s; say at least {(step + evaluation) / 60 / SHARE + 0.1:.1f}"
        )
    return steps


def _measured(
    builder: Builder, splits: DataSplits | JointSplits, labels: Mapping[str, LabelMap], trainer: TrainerConfig,
    evaluations: int,
) -> tuple[float, float]:  # fmt: skip
    """Seconds of a step with its batch, and of all evaluations, the one at the end included."""
    data, model = builder.loaders(splits), builder.starting_model(labels)
    model.to(builder.device).train()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(learned, lr=1e-12, momentum=0.9)
    count, began = 0, monotonic()
    for number, batch in enumerate(islice(data.train(), FIRST + TIMED)):
        if number == FIRST:
            count, began = 0, _now(builder.device)
        batch_size.step(model, batch.to(builder.device), builder.device, trainer.precision)
        optimiser.step()
        optimiser.zero_grad()
        count += 1
    step = (_now(builder.device) - began) / count * trainer.accumulate
    val = _evaluation(builder, model, data.evaluation(splits.val), trainer.precision)
    images = getattr(splits, "test", None)
    test = 0.0 if images is None else _evaluation(builder, model, data.evaluation(images), trainer.precision)
    return step, val * (evaluations + 1) + test


def _evaluation(builder: Builder, model: VisionModel, batches: Any, precision: str) -> float:
    """Seconds of an evaluation of a split, by its first batches."""
    model.eval()
    count, began = 0, _now(builder.device)
    with computing(builder.device, precision):
        for batch in islice(batches, TIMED):
            batch = batch.to(builder.device)
            predict(model, batch.images, batch.sizes, batch.rows)
            count += 1
    return (_now(builder.device) - began) / max(count, 1) * len(batches)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return monotonic()
