"""What a process does for the one that started it: it ends with it, and says why it failed. Imports nothing heavy."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from time import sleep

PARENT, REASON = "TRIDENT_PARENT", "TRIDENT_REASON"
"""Variables of the environment: the id of the process that started this one, and the file for the reason."""
POLL_S = 1.0


def environment(reason: Path | None = None) -> dict[str, str]:
    """Variables for a process that this one starts.

    Args:
        reason: file in which it writes, in one line, why it failed.
    """
    return {PARENT: str(os.getpid())} | ({} if reason is None else {REASON: str(reason)})


def end_with_parent() -> None:
    """End this process when the one that started it is gone, even by kill -9: nothing trains on that nobody waits for.

    What it had saved by then is there, and the same command goes on from it.
    """
    parent = os.environ.pop(PARENT, None)
    if parent is not None:
        threading.Thread(target=_watch, args=(int(parent),), daemon=True, name="end with parent").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        sleep(POLL_S)
    os.kill(os.getpid(), signal.SIGKILL)


def tell_reason(reason: str) -> None:
    """Why this process fails, for the one that started it, if that wants to know."""
    if path := os.environ.get(REASON):
        Path(path).write_text(reason, encoding="utf-8")
