"""What happens beside the training: Ctrl-C, the end of the steps, and a line for every evaluation."""

from __future__ import annotations

import logging
import signal
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Callback

from backbone.errors import InputError

if TYPE_CHECKING:
    from lightning import LightningModule, Trainer

log = logging.getLogger(__name__)


class GentleStop(Callback):
    """Ends training with an evaluation: after the last step, and at the first Ctrl-C or SIGTERM. A second one aborts.

    Attributes:
        interrupted: whether a signal ended it.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.interrupted = False
        self._before: dict[int, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._stop)

    def _stop(self, number: int, frame: Any) -> None:
        self.interrupted = True
        log.warning("\nstopping: evaluating and saving what there is; once more to stop at once")
        for other, handler in self._before.items():
            signal.signal(other, handler)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.interrupted or trainer.global_step >= self.steps:
            trainer.should_stop = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class FiniteLoss(Callback):
    """Stops at a loss that is not a number, before it spoils the weights that are saved."""

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        loss = trainer.callback_metrics.get("train/loss")
        if loss is not None and not torch.isfinite(loss):
            raise InputError(
                f"the loss is {loss.item()} at step {trainer.global_step}; train with a smaller optim.learning_rate"
            )


class EvaluationLines(Callback):
    """One line for every evaluation while training: step, loss, the main figures, speed and time left.

    Args:
        steps: of the whole training.
        figures: names of the logged figures to show.
    """

    def __init__(self, steps: int, figures: list[str]) -> None:
        self.steps = steps
        self.figures = figures
        self._started = self._resumed = monotonic()
        self._training = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = self._resumed = monotonic()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._training += monotonic() - self._resumed

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._resumed = monotonic()
        step, logged = trainer.global_step, trainer.callback_metrics
        if trainer.sanity_checking or step == 0:
            return
        shown = [f"{name} {logged[name]:.3f}" for name in ("train/loss", *self.figures) if name in logged]
        left = (monotonic() - self._started) / step * (self.steps - step)
        log.info(
            "step %d/%d  %s  %.2f steps/s, %s left",
            step, self.steps, "  ".join(shown), step / max(self._training, 1e-9), duration(left),
        )  # fmt: skip


def duration(seconds: float) -> str:
    """In words short enough for a line: 42 s, 3 min 20 s, 5 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
