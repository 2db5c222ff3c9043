"""Where in a training a step is, and how Lightning is made to begin there.

Lightning's own loops are not exact in the middle of an epoch: after a restart they read the epoch's data from its
start, count a step twice where an evaluation was due, and leave out `on_train_epoch_start`. So a training that goes on
is to Lightning a new one whose counters start elsewhere; the sampler leaves out what was seen (`StartingAt`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning import Trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Between two steps, with everything that belongs to the first of them done: its evaluation and its log lines.

    Attributes:
        epoch: passes over the data that are complete.
        batch: batches of this epoch that are done.
        batches: done in the whole training.
        step: optimiser steps done.
        logged: Lightning's own count of steps, under which loggers write.
    """

    epoch: int
    batch: int
    batches: int
    step: int
    logged: int

    @classmethod
    def before(cls, trainer: Trainer) -> Position:
        """The batch that is about to begin: for `on_train_batch_start`."""
        loop = trainer.fit_loop.epoch_loop
        done = loop.batch_progress
        return cls(
            epoch=trainer.current_epoch,
            batch=done.current.ready - 1,
            batches=done.total.ready - 1,
            step=trainer.global_step,
            logged=loop._batches_that_stepped,
        )

    @classmethod
    def after(cls, trainer: Trainer) -> Position:
        """The last batch of all: for `on_train_end`. A training that is told to be longer goes on from there."""
        loop = trainer.fit_loop.epoch_loop
        done = loop.batch_progress.current.ready  # Lightning counts the epoch as complete wherever it ends
        is_whole = done >= trainer.num_training_batches
        return cls(
            epoch=trainer.current_epoch - (not is_whole),
            batch=0 if is_whole else done,
            batches=loop.batch_progress.total.ready,
            step=trainer.global_step,
            logged=loop._batches_that_stepped,
        )

    def to_plain(self) -> dict[str, Any]:
        """For a file; `Position(**plain)` reads it."""
        return asdict(self)

    def count_steps(self, trainer: Trainer) -> None:
        """Set `trainer.global_step` and what loggers count, before the loops begin."""
        loop = trainer.fit_loop.epoch_loop
        loop._batches_that_stepped = self.logged
        steps = loop.automatic_optimization.optim_progress.optimizer.step.total
        steps.ready = steps.completed = self.step

    def begin(self, trainer: Trainer) -> None:
        """Set the counters of the loops: for `on_train_start`, when the loader is there and nothing was fetched."""
        fit, loop = trainer.fit_loop, trainer.fit_loop.epoch_loop
        for tracker in (fit.epoch_progress.total, fit.epoch_progress.current):
            tracker.ready = tracker.started = tracker.processed = tracker.completed = self.epoch  # type: ignore[attr-defined]
        total = loop.batch_progress.total
        total.ready = total.started = total.processed = total.completed = self.batches  # type: ignore[attr-defined]
        assert fit._data_fetcher is not None
        fit._data_fetcher.fetched = self.batch  # tells the last batch of the epoch
        fit._resuming_from_checkpoint = True  # the iterator over this epoch's batches is there already

    def begin_epoch(self, trainer: Trainer) -> None:
        """Count the batches of this epoch that were done before: for the first `on_train_batch_start`."""
        current = trainer.fit_loop.epoch_loop.batch_progress.current
        current.ready += self.batch
        current.started += self.batch  # type: ignore[attr-defined]
        current.processed += self.batch  # type: ignore[attr-defined]
        current.completed += self.batch
