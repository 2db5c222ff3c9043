"""Memory that grows, and a disk that fills."""

from __future__ import annotations

import errno
import mmap
from collections import namedtuple
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from safetensors import SafetensorError

from backbone.errors import InputError
from tasks.training.watchdog import disk, memory
from tasks.training.watchdog.disk import DiskSpace, full_disk_explained
from tasks.training.watchdog.memory import Memory, MemoryGrowth, measure

if TYPE_CHECKING:
    from pathlib import Path

MIB = 2**20


def watch(used: list[int], free: int, steps: int) -> None:
    """Look at these sizes, in MiB, one in ten steps."""
    looks = iter(used)
    clock = [0.0]
    growth = MemoryGrowth(steps, look=lambda: Memory(next(looks) * MIB, free * MIB), clock=lambda: clock[0])
    for number in range(len(used) + memory.WARM_UP):
        clock[0] += memory.SECONDS
        trainer = cast("Any", SimpleNamespace(global_step=10 * number))
        growth.on_train_batch_end(trainer, trainer)
        clock[0] += memory.SECONDS / 3
        growth.on_train_batch_end(trainer, trainer)  # too early


def test_growth_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """100 MiB in ten steps; 2000 MiB are free at step 100, and last for 200 steps."""
    watch([1000 + 100 * n for n in range(12)], free=2000, steps=5000)
    assert caplog.messages == [
        "memory grows by 10.0 MiB a step, to 1.7 GiB now; at this rate the 2.0 GiB that are free are used up at step"
        " 300 of 5000: lower data.workers, and look at your own data set or transform if you plugged one in"
    ]


@pytest.mark.parametrize(
    ("used", "free"),
    [
        ([1000] * 12, 100),
        ([1000 + n for n in range(12)], 100),
        ([1000 + 200 * n - 300 * (n % 4 == 3) for n in range(12)], 100),
        ([1000 + 100 * n for n in range(12)], 100_000),
    ],
    ids=["steady", "hardly", "up and down", "enough for all steps"],
)
def test_nothing_to_say(used: list[int], free: int, caplog: pytest.LogCaptureFixture) -> None:
    watch(used, free, steps=5000)
    assert not caplog.messages


def test_measures_this_process() -> None:
    before = measure().used
    with mmap.mmap(-1, 64 * MIB) as ballast:  # an array may come from memory that the process has already
        ballast.write(bytes(64 * MIB))
        assert 60 * MIB < measure().used - before < 150 * MIB
    assert measure().free > 64 * MIB


def test_a_disk_that_fills_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage(150 * MIB))
    space = DiskSpace(tmp_path)
    space.check(20 * MIB)
    space.check(60 * MIB, there=4)
    assert not caplog.messages
    for _ in range(2):
        space.check(60 * MIB, there=2)
    assert caplog.messages == [
        f"the disk of {tmp_path} has 150 MiB free, and this training may need 212 MiB more for its checkpoints and"
        " report; make room now"
    ]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")]
)
def test_a_full_disk_in_words(tmp_path: Path, error: Exception) -> None:
    said = r"the disk is full; make room, and start the same command again"
    with pytest.raises(InputError, match=said), full_disk_explained(tmp_path):
        raise error
    with pytest.raises(PermissionError), full_disk_explained(tmp_path):
        raise PermissionError
