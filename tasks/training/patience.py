"""A training ends when it no longer gets better."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lightning.pytorch.callbacks import Callback

if TYPE_CHECKING:
    from lightning import LightningModule, Trainer

    from tasks.training.resume.keeper import CheckpointCallback

log = logging.getLogger(__name__)


class Patience(Callback):
    """Ends the training after so many evaluations in a row without a better main metric.

    It asks `keeper`, which remembers the best evaluation in its checkpoints, and comes after it: a training that was
    stopped and goes on ends at the same step.

    Args:
        evaluations: how many.
        interval: steps from one to the next.
    """

    def __init__(self, evaluations: int, interval: int, keeper: CheckpointCallback) -> None:
        self.evaluations = evaluations
        self.interval = interval
        self.keeper = keeper

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        best, step = self.keeper.best, trainer.global_step
        if trainer.sanity_checking or best is None or step - best.step < self.evaluations * self.interval:
            return
        log.info(
            "no better evaluation since step %d (trainer.patience=%d): the training ends at step %d",
            best.step, self.evaluations, step,
        )  # fmt: skip
        self.keeper.ends_early = True
        trainer.should_stop = True
