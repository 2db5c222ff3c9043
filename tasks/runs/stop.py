"""Ctrl-C and SIGTERM as a wish to end, for a command that ends in order."""

from __future__ import annotations

import logging
import signal
from threading import Event
from typing import Any, Self

log = logging.getLogger(__name__)


class Stop:
    """Takes the first Ctrl-C or SIGTERM as a wish to end; a second one aborts.

    Args:
        said: a warning at the first one; empty: none.
    """

    def __init__(self, said: str = "") -> None:
        self._said = said
        self._wanted = Event()
        self._before: dict[int, Any] = {}

    @property
    def wanted(self) -> bool:
        """Whether there was one."""
        return self._wanted.is_set()

    def wait(self) -> None:
        """Return when there was one."""
        self._wanted.wait()

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._stop)
        return self

    def _stop(self, number: int, frame: Any) -> None:
        self._wanted.set()
        if self._said:
            log.warning(self._said)
        self.__exit__()

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
