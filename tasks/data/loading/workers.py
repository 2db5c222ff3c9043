"""The processes that prepare batches: how many, how they start, and what goes wrong in them, in words."""

from __future__ import annotations

import errno
import multiprocessing.queues
import os
import re
import shutil
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
SHARED_MEMORY = "/dev/shm"
NO_SHARED_MEMORY = signal.strsignal(signal.SIGBUS) if hasattr(signal, "SIGBUS") else None
"""How a process ends that writes into shared memory for which there is no room."""


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
    if NO_SHARED_MEMORY in (signalled, *_ends(error)):
        raise InputError(
            f"{SHARED_MEMORY}: is too small for the batches of the data workers (it has"
            f" {shutil.disk_usage(SHARED_MEMORY).total / 2**20:.3g} MiB); make it larger (docker run --shm-size=2g), or"
            " lower data.workers or data.batch_size; data.workers=0 needs none; to go on, start the same command again"
            " with its run_dir"
        ) from error
    how = f" (signal: {signalled})" if signalled else ""
    memory = ", probably because there was too little memory" if signalled in (None, KILLED) else ""
    raise InputError(
        f"{who} died{how}{memory}; lower data.workers or data.batch_size; to go on, start the same command again with"
        " its run_dir"
    ) from error


def _ends(error: BaseException) -> set[str | None]:
    """Signals that ended data workers of the loader that raised an error."""
    loaders = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    codes = {worker.exitcode for loader in loaders for worker in getattr(loader, "_workers", ())}
    return {signal.strsignal(-code) for code in codes if code is not None and code < 0}


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
    if hasattr(signal, "SIGBUS"):
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end_without_memory)  # type: ignore[attr-defined]
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _end_without_memory(error: Exception, batch: object) -> None:
    """End as the kernel ends a process that finds no room later: the thread that hands over would only lose the batch.

    Args:
        batch: what it wanted to hand over.
    """
    if os.strerror(errno.ENOSPC) in str(error):
        signal.raise_signal(signal.SIGBUS)
    traceback.print_exception(error)


def clean_error(error: InputError) -> InputError:
    """The error as it was raised in a worker: the loader hands it on with the worker's traceback in the message."""
    marker = f"{type(error).__module__}.{type(error).__qualname__}: "
    text = str(error.args[0])
    return InputError(text.rsplit(marker, 1)[1].strip()) if marker in text else error
