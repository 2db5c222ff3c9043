"""The processes that prepare batches: how many, how they start, and what goes wrong in them, in words."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import torch

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: (.*?)\. |exited unexp)")
LATE = re.compile(r"DataLoader timed out after ([\d.]+) seconds")
KILLED = signal.strsignal(signal.SIGKILL)


@contextmanager
def loading_explained() -> Iterator[None]:
    """Errors of data workers as one line.

    Raises:
        InputError: as it was raised in a worker; or a worker died, or did not answer in `data.timeout` seconds.
    """
    try:
        try:
            yield
        except InputError as error:
            raise clean_error(error) from error
        except (OSError, EOFError, RuntimeError) as error:
            _explain(error)
            raise
    except RuntimeError as error:  # torch tells of a worker's death by a signal: maybe while another error is told
        _explain(error)
        raise


def _explain(error: Exception) -> None:
    """Raises InputError if a worker died or hangs."""
    text = str(error)
    late, died = LATE.search(text), DIED.search(text)
    if late is None and died is None and not _is_between_processes(error):
        return
    _end_workers()
    if late:
        raise InputError(
            f"no batch came for {float(late[1]):g} s (data.timeout): a data worker hangs, or the disk is that slow;"
            " raise data.timeout, or look for what blocks; to go on, start the same command again with its run_dir"
        ) from error
    who = f"data worker {died[1]}" if died else "a data worker"
    signalled = died[2] if died else None
    how = f" (signal: {signalled})" if signalled else ""
    memory = ", probably because there was too little memory" if signalled in (None, KILLED) else ""
    raise InputError(
        f"{who} died{how}{memory}; lower data.workers or data.batch_size; to go on, start the same command again with"
        " its run_dir"
    ) from error


def _is_between_processes(error: BaseException) -> bool:
    """Whether it came while a batch was handed over: whoever handed it is gone."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(Path(frame.filename).parts[-2:] == ("multiprocessing", "connection.py") for frame in frames)


def _end_workers() -> None:
    """Kill what is left: one that hangs would be waited for, and at each death torch would raise an error here."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL) if hasattr(signal, "SIGCHLD") else None
    for worker in multiprocessing.active_children():
        worker.kill()
        worker.join()
    if before is not None:
        signal.signal(signal.SIGCHLD, before)


MAX_WORKERS = 8


def default_workers(devices: int = 1) -> int:
    """Processes per device that prepare batches: the cores that this process may use, less those that drive devices."""
    return min(MAX_WORKERS, max(1, usable_cores() // devices - 1))


def usable_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_worker(worker: int) -> None:
    """One thread each for OpenCV and torch; Ctrl-C is left to the main process, which ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def clean_error(error: InputError) -> InputError:
    """The error as it was raised in a worker: the loader hands it on with the worker's traceback in the message."""
    marker = f"{type(error).__module__}.{type(error).__qualname__}: "
    text = str(error.args[0])
    return InputError(text.rsplit(marker, 1)[1].strip()) if marker in text else error
