"""Data workers that die or hang: one line, not a traceback."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from multiprocessing.queues import Queue
from typing import TYPE_CHECKING

import pytest
from torch.utils.data import DataLoader, Dataset

from backbone.errors import InputError
from tasks.data.loading.workers import loading_explained, start_worker

if TYPE_CHECKING:
    from collections.abc import Callable


class Trouble(Dataset[int]):
    """Numbers, and trouble in a worker at the third."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self.happens = happens

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if index == 2:
            self.happens()
        return index


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    os._exit(3)


def hang() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def refuse() -> None:
    raise InputError("a.jpg: is no image")


def fail() -> None:
    raise RuntimeError("something else")


def fill_shared_memory() -> None:
    """What torch says in the thread that hands batches over."""
    error = RuntimeError(f"unable to allocate shared memory(shm) for file </x>: {os.strerror(errno.ENOSPC)} (28)")
    Queue._on_queue_feeder_error(error, None)  # type: ignore[attr-defined]


def attempt(name: str) -> None:
    """Print what is said of this trouble."""
    try:
        with loading_explained():
            trouble = Trouble(globals()[name])
            for _ in DataLoader(
                trouble, num_workers=1, timeout=1, multiprocessing_context="fork", worker_init_fn=start_worker
            ):
                pass
    except InputError as error:
        sys.stdout.write(str(error))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kill", r"data worker.* died.*, probably because there was too little memory; lower data"),
        ("leave", r"data worker.* died.*; lower data.workers or data.batch_size; to go on, start the same command"),
        ("hang", r"^no batch came for 1 s \(data.timeout\): a data worker hangs, or the disk is that slow; raise"),
        ("refuse", r"^a.jpg: is no image$"),
        ("fill_shared_memory", r"^/dev/shm: is too small for the batches of the data workers .*--shm-size=2g"),
    ],
)
def test_in_words(name: str, said: str) -> None:
    """In a process of its own: torch raises an error in it whenever it hears of the worker's death."""
    code = f"from tests.data.test_workers import attempt; attempt('{name}')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert re.search(said, done.stdout), done.stdout + done.stderr


def test_other_errors_stay() -> None:
    with pytest.raises(RuntimeError, match=r"something else"), loading_explained():
        fail()
