"""Writes what a training needs to go on, and reads it back: the callback and the reader that Lightning gets."""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager, nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from backbone.errors import InputError
from tasks.distributed.group import all_gather, any_has, is_first, place
from tasks.distributed.world import PeerLostError
from tasks.training.csv_log import CsvLog
from tasks.training.resume import rng
from tasks.training.resume.checkpoints import Best, Checkpoint, Checkpoints
from tasks.training.resume.longer import check_length, take_rates
from tasks.training.resume.place import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from lightning import LightningModule, Trainer
    from torch import Tensor

    from tasks.training.callbacks import GracefulStop
    from tasks.training.ema import MovingAverage
    from tasks.training.watchdog.disk import DiskSpace

log = logging.getLogger(__name__)

SECONDS = 60.0
"""Between checkpoints, unless saving takes long."""
SHARE = 0.01
"""Largest share of the time that may go to saving."""


class CheckpointCallback(Callback):
    """Keeps a training so that it can go on: at times, at a signal, and after the last step.

    It saves between two steps, when everything that belongs to the first is done: so where it saves changes nothing.
    It also keeps the weights of the best evaluation. It comes after the callbacks that it saves, but before
    `MovingAverage`, which gives its weights away when the training ends.

    Args:
        checkpoints: where to.
        monitor: name of the logged figure that tells which weights are best; larger is better.
        facts: of the data and the training; to go on they must be the same.
        stop: says when a signal came: it saves, and lets the step that begins be the last.
        every: steps between checkpoints; None: a minute, or longer, so that saving takes under 1 % of the time.
        average: what is evaluated; None: the weights themselves.
        resumed: what the training goes on from.
        at_start: save before the first step, too.
        disk: is looked at after every checkpoint.
        timed: context in which it saves.
        clock: seconds from any start.

    Attributes:
        best: the best evaluation so far.
        step: after which the training ended; 0 before that.
        is_done: whether the last step was taken.
        ends_early: whether the step that was just taken is to be the last.
        checkpoints, average, resumed: as given.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        monitor: str,
        facts: Mapping[str, Any],
        stop: GracefulStop,
        *,
        every: int | None = None,
        average: MovingAverage | None = None,
        resumed: Checkpoint | None = None,
        at_start: bool = False,
        disk: DiskSpace | None = None,
        timed: Callable[[], AbstractContextManager[None]] = nullcontext,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.best = resumed.best if resumed else None
        self.step = resumed.place.step if resumed else 0
        self.is_done = resumed is not None and resumed.place.step >= int(facts["steps"])
        self._is_longer = resumed is not None and resumed.facts["steps"] != facts["steps"]
        self.ends_early = False
        self.resumed = resumed
        self.average = average
        self.checkpoints = checkpoints
        self._monitor = monitor
        self._facts = dict(facts)
        self._stop = stop
        self._every = every
        self._begins = resumed
        self._unwritten: dict[str, Any] | None = None
        self._at_start = at_start
        self._disk = disk
        self._timed = timed
        self._clock = clock
        self._last = clock()
        self._interval = SECONDS

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Context of a training. What goes wrong while it takes over its checkpoint is said of that, in one line.

        Raises:
            InputError: its contents do not fit: another version wrote it, or somebody who is not to be trusted.
        """
        try:
            yield
        except InputError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, AssertionError, RuntimeError) as error:
            if self._begins is None or isinstance(error, torch.OutOfMemoryError | PeerLostError):
                raise
            why = (str(error).splitlines() or [""])[0]
            raise InputError(
                f"{self._begins.path}: does not fit this training ({type(error).__name__}: {why}); go on with the"
                " version that wrote it, or train again in another run_dir"
            ) from error

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        assert self.resumed is not None
        self.resumed.place.count_steps(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last = self._clock()
        if self._begins is not None:
            self._begins.place.begin(trainer)
        if self._is_longer:
            for scheduled in trainer.lr_scheduler_configs:
                take_rates(scheduled.scheduler)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self._begins is not None:
            self._begins.place.begin_epoch(trainer)
            rng.restore(self._begins.rng[place().rank])
            self._begins = None
            return
        here = Position.before(trainer)
        if here.batch % trainer.accumulate_grad_batches or not any_has(self._stop.interrupted or self._is_due(here)):
            return
        self._stop.interrupted = any_has(self._stop.interrupted)
        if self._stop.interrupted:
            trainer.should_stop = True
        with self._timed():
            self.save(trainer, here)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        here = Position.after(trainer)
        self.step = here.step
        if here.step >= trainer.max_steps or self.ends_early:
            self.save(trainer, here)
            self.is_done = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights if they are the best so far; the first are, whatever their figure."""
        logged = trainer.callback_metrics.get(self._monitor)
        if trainer.sanity_checking or logged is None:
            return
        metric = -math.inf if math.isnan(logged) else float(logged)
        if self.best is not None and metric <= self.best.metric:
            return
        self.best = Best(trainer.global_step, metric)
        weights = self.average.averaged() if self.average else trainer.strategy.lightning_module_state_dict()
        if is_first():
            self._unwritten = weights
            try:
                self._write_best()
            except OSError as error:
                self._unwritten = {name: weight.detach().cpu().clone() for name, weight in weights.items()}
                self._warn(self.checkpoints.best_path(self.best), error)

    def best_weights(self) -> dict[str, Any]:
        """Weights of the best evaluation; there must have been one.

        Raises:
            InputError: their file is damaged.
        """
        assert self.best is not None
        return self._unwritten or self.checkpoints.read_best(self.best)

    def _write_best(self) -> None:
        if self._unwritten is not None and self.best is not None:
            self.checkpoints.write_best(self.best, self._unwritten)
            self._unwritten = None

    def _warn(self, path: Path, error: OSError) -> None:
        log.warning(
            "%s cannot be written (%s): the training goes on, and the checkpoints there are stay; make room on that"
            " disk, it is tried again in time",
            path, error.strerror or error,
        )  # fmt: skip

    def _is_due(self, here: Position) -> bool:
        if here.batches == 0:
            return self._at_start
        if self._every is not None:
            return here.step % self._every == 0
        return self._clock() - self._last >= self._interval

    def save(self, trainer: Trainer, here: Position) -> None:
        """Write a checkpoint now. A full disk is said, and does not end the training."""
        began = self._clock()
        state = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        del state["loops"]  # `Position` says where; see there
        everyone = all_gather(rng.state())
        if is_first() and _is_finite(state):
            path = self.checkpoints.path(here)
            try:
                rows = _flush(trainer)
                content = Checkpoint(path, here, self.best, state, self._facts, rows, everyone)
                self._write_best()
                size = self.checkpoints.write(content)
            except OSError as error:
                self._warn(path, error)
            else:
                log.debug("checkpoint %s: %d bytes in %.3f s", path.name, size, self._clock() - began)
                if self._disk is not None:
                    self._disk.check(size, len(self.checkpoints.paths()))
        self._last = self._clock()
        self._interval = max(SECONDS, (self._last - began) / SHARE)


class VerifiedFiles(TorchCheckpointIO):
    """Reads what `CheckpointCallback` wrote.

    Args:
        found: what was read and verified already.
    """

    def __init__(self, found: Checkpoint) -> None:
        super().__init__()
        self._found = found

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """See Lightning's `CheckpointIO`."""
        assert str(path) == str(self._found.path), f"{path} is not {self._found.path}"
        return dict(self._found.state)


def check_facts(folder: Path, found: Checkpoint, facts: Mapping[str, Any], ranks: int) -> None:
    """That a training goes on with the data that it began with, and gets no shorter.

    Args:
        ranks: processes that train.
    Raises:
        InputError: something differs; the message says what.
    """
    differ = [
        f"{name} {found.facts.get(name)} -> {value}"
        for name, value in facts.items()
        if found.facts.get(name) != value and name != "steps"
    ]
    check_length(folder, found, int(facts["steps"]))
    if len(found.rng) != ranks:
        differ.append(f"processes {len(found.rng)} -> {ranks}")
    versions = [one for one in differ if one.startswith("torch ")]
    if versions:
        log.warning(
            "this training began with another version (%s): its weights may differ in the last bits", versions[0]
        )
    if others := [one for one in differ if one not in versions]:
        raise InputError(
            f"run_dir={folder}: cannot go on, the data or the machine differ from when it began:"
            f" {', '.join(others)}; put them back, or name another folder"
        )


def _is_finite(state: Mapping[str, Any]) -> bool:
    """A training whose weights are spoiled is not worth going on from; the next loss says so."""
    weights: Mapping[str, Tensor] = state.get("current_model_state", state["state_dict"])
    return all(bool(weight.isfinite().all()) for weight in weights.values() if weight.is_floating_point())


def _flush(trainer: Trainer) -> int:
    """What was logged reaches the files, so that it is there when the training goes on. Returns rows of the CSV log."""
    rows = 0
    for logger in trainer.loggers:
        if isinstance(logger, CsvLog):
            logger.sync()
            rows = logger.rows
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.flush()
    return rows
