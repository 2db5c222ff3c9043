"""What happens beside the training: Ctrl-C, the end of the steps, and a line for every evaluation."""

from __future__ import annotations

import logging
import signal
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback

from tasks.runs.log import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning import LightningModule, Trainer

log = logging.getLogger(__name__)


class GracefulStop(Callback):
    """Ends training with an evaluation: after the last step, and at the first Ctrl-C or SIGTERM. A second one aborts.

    At a signal `CheckpointCallback` saves the training before the next step, and stops after it.

    Attributes:
        interrupted: whether a signal ended it.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.interrupted = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While this lasts a signal is noted instead of ending the process."""
        self._before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            self._restore()

    def _stop(self, number: int, frame: Any) -> None:
        self.interrupted = True
        log.warning("\nstopping: evaluating and saving what there is; once more to stop at once")
        self._restore()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step >= self.steps:
            trainer.should_stop = True

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class EvaluationLines(Callback):
    """One line for every evaluation while training: step, loss, the main metrics, speed and time left.

    Args:
        steps: of the whole training.
        metrics: names of the logged metrics to show.
    """

    def __init__(self, steps: int, metrics: list[str]) -> None:
        self.steps = steps
        self.metrics = metrics
        self._started = self._resumed = monotonic()
        self._training = 0.0
        self._first = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = self._resumed = monotonic()
        self._first = trainer.global_step

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._training += monotonic() - self._resumed

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._resumed = monotonic()
        step, logged = trainer.global_step, trainer.callback_metrics
        if trainer.sanity_checking or step == 0:
            return
        shown = [f"{name} {logged[name]:.3f}" for name in ("train/loss", *self.metrics) if name in logged]
        done = max(1, step - self._first)  # by this process
        left = (monotonic() - self._started) / done * (self.steps - step)
        log.info(
            "step %d/%d  %s  %.2f steps/s, %s left",
            step, self.steps, "  ".join(shown), done / max(self._training, 1e-9), duration(left),
        )  # fmt: skip
