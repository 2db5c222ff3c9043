"""Where the time of a training goes: to data, forward, backward, the optimiser or evaluation."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Callback

from tasks.data.loading.workers import usable_cores
from tasks.runs import folder as run_folder
from tasks.runs.log import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lightning import LightningModule, Trainer

log = logging.getLogger(__name__)

STEP = ("loading", "forward", "backward", "optimiser")
PARTS = ("start", *STEP, "evaluation")
WAITS = 0.15
"""Share of a step from which its waiting for data is worth a word."""


class TimeSplit(Callback):
    """Splits the time between the hooks of a training, and writes it to `time.json` and one line of the log.

    `start` ends when the first batch is there; workers start in it. `loading` is what a step waits for its batch and is
    logged. `optimiser` is the step, the moving average and the schedule. `evaluation` includes saving checkpoints.

    A GPU works behind the hooks: forward, backward and optimiser are then one part, `computing`, unless `synchronise`.

    Args:
        folder: of the run.
        synchronise: wait for the device at every hook, so that its parts are told apart. Slower.
        clock: seconds from any start.

    Attributes:
        seconds: by part.
        steps: so far.
        images: seen in them, by all processes.
    """

    def __init__(self, folder: Path, *, synchronise: bool = False, clock: Callable[[], float] = perf_counter) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.steps = 0
        self.images = 0
        self._folder = folder
        self._synchronise = synchronise
        self._clock = clock
        self._last = clock()
        self._next = "start"

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": dict(self.seconds), "steps": self.steps, "images": self.images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A training that goes on adds to what it took before."""
        self.seconds = dict(state_dict["seconds"])
        self.steps, self.images = state_dict["steps"], state_dict["images"]

    @contextmanager
    def saving(self) -> Iterator[None]:
        """While this lasts a checkpoint is saved: `evaluation`."""
        self._end(self._next)
        yield
        self._end("evaluation")

    def _end(self, part: str) -> None:
        """The time since the last hook went to `part`."""
        if self._synchronise and torch.accelerator.is_available():
            torch.accelerator.synchronize()
        now = self._clock()
        self.seconds[part] += now - self._last
        self._last = now

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last = self._clock()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(self._next)
        if self._next != "start":
            self._next = "loading"

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._end(self._next)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Any) -> None:
        self._end("forward")

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end("backward")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._end("optimiser")
        self._next = "loading"
        self.steps += 1
        self.images += len(batch.images) * trainer.world_size

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._next = "evaluation"  # until the next step or epoch, for checkpoints are saved after the last hook

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(self._next)
        if not trainer.is_global_zero or self.steps == 0:
            return
        asynchronous = pl_module.device.type != "cpu" and not self._synchronise
        parts = _with_computing(self.seconds) if asynchronous else self.seconds
        run_folder.write_time(self._folder, {"steps": self.steps, "images": self.images, "seconds": parts})
        total = sum(parts.values())
        shares = ", ".join(f"{name} {100 * spent / total:.0f} %" for name, spent in parts.items())
        step = sum(self.seconds[part] for part in STEP) / self.steps
        log.info("time: %s, %.0f ms a step: %s", duration(total), 1000 * step, shares)
        waiting = self.seconds["loading"] / self.steps
        if waiting >= WAITS * step:
            workers = getattr(trainer.train_dataloader, "num_workers", 0)
            log.info(
                "a step of %.0f ms waits %.0f ms for data; %s",
                1000 * step, 1000 * waiting, advice(workers, usable_cores()),
            )  # fmt: skip


def advice(workers: int, cores: int) -> str:
    """What would help a training that waits for its data."""
    if workers + 1 < cores:
        return f"raise data.workers, which is {workers}: there are {cores} cores"
    return f"data.workers={workers} uses the {cores} cores; a copy of the images at a smaller size loads faster"


def _with_computing(seconds: dict[str, float]) -> dict[str, float]:
    computing = sum(seconds[part] for part in STEP[1:])
    kept = ("start", "loading")
    return {part: seconds[part] for part in kept} | {"computing": computing, "evaluation": seconds["evaluation"]}
