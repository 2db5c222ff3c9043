"""Memory that grows from step to step, said before there is none left."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import pairwise
from time import monotonic
from typing import TYPE_CHECKING, Any

import psutil
from lightning.pytorch.callbacks import Callback

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning import LightningModule, Trainer

log = logging.getLogger(__name__)

SECONDS = 20.0
"""Between two looks."""
LOOKS = 8
"""That a trend is made of; the newest ones count."""
WARM_UP = 3
"""Looks before, while caches fill."""
LEAST = 256 * 2**20
"""Bytes that memory must have grown by to be worth a word."""


@dataclass(frozen=True, slots=True)
class Memory:
    """In bytes.

    Attributes:
        used: by this process and its data workers; pages that they share count for each.
        free: on this machine, before it swaps or kills.
    """

    used: int
    free: int


def measure() -> Memory:
    """Now."""
    here = psutil.Process()
    used = here.memory_info().rss
    for child in here.children(recursive=True):
        try:
            used += child.memory_info().rss
        except psutil.Error:  # it ended meanwhile
            continue
    return Memory(used, psutil.virtual_memory().available)


class MemoryGrowth(Callback):
    """Warns once, in one line, of memory that grows at every look and would be used up before the training ends.

    Args:
        steps: of the whole training.
        look, clock: for tests.
    """

    def __init__(
        self, steps: int, *, look: Callable[[], Memory] = measure, clock: Callable[[], float] = monotonic
    ) -> None:
        self._steps = steps
        self._look = look
        self._clock = clock
        self._last = clock()
        self._seen: list[tuple[int, Memory]] = []
        self._looks = 0
        self._said = False

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self._said or self._clock() - self._last < SECONDS:
            return
        self._last = self._clock()
        self._looks += 1
        if self._looks <= WARM_UP:
            return
        self._seen = [*self._seen[-LOOKS + 1 :], (trainer.global_step, self._look())]
        if len(self._seen) == LOOKS:
            self._judge(self._steps - trainer.global_step)

    def _judge(self, left: int) -> None:
        (first, start), *_, (last, now) = self._seen
        used = [memory.used for _, memory in self._seen]
        grown = now.used - start.used
        grows = all(before < after for before, after in pairwise(used))
        if not grows or grown < LEAST or last == first:
            return
        rate = grown / (last - first)
        if rate * left < now.free:
            return
        self._said = True
        log.warning(
            "memory grows by %.1f MiB a step, to %.1f GiB now; at this rate the %.1f GiB that are free are used up at"
            " step %d of %d: lower data.workers, and look at your own data set or transform if you plugged one in",
            rate / 2**20, now.used / 2**30, now.free / 2**30, last + int(now.free / rate), last + left,
        )  # fmt: skip
