"""What a run says: our own lines on the console, and everything in the run folder's `run.log`."""

from __future__ import annotations

import copy
import logging
import sys
from contextlib import suppress
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Self

from backbone.disk import writing
from backbone.errors import printable

PACKAGES = ("backbone", "heads", "tasks")
KEPT_LINES = 100_000


class PrintableFormatter(logging.Formatter):
    """Writes control characters in what a line is about, such as the name of a file, as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        shown = copy.copy(record)
        if isinstance(record.args, tuple):
            shown.args = tuple(printable(str(part)) if isinstance(part, str | Path) else part for part in record.args)
        return super().format(shown)


class LogFile(logging.FileHandler):
    """A log that says once that it cannot be written, and does not end the run."""

    _failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        if not self._failed:
            sys.stderr.write(f"{printable(self.baseFilename)}: cannot be written ({sys.exception()})\n")
        self._failed = True

    def close(self) -> None:
        with suppress(OSError):  # a full disk, which was said
            super().close()


class RunLog:
    """Context in which log lines reach the console, and a file once there is a folder for it.

    Lines from before `attach` are kept and written then: a run that fails before it begins leaves nothing behind.

    Args:
        console: whether anything is said there; of several processes one speaks.
    """

    def __init__(self, *, console: bool = True) -> None:
        self._speaks = console

    def __enter__(self) -> Self:
        root = logging.getLogger()
        self._before = (root.handlers[:], root.level)
        console = logging.StreamHandler(sys.stdout)
        console.setFormatter(PrintableFormatter("%(message)s"))
        console.setLevel(logging.INFO)
        self._kept = MemoryHandler(KEPT_LINES, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
        root.handlers[:] = [console, self._kept] if self._speaks else [self._kept]
        root.setLevel(logging.WARNING)
        for package in PACKAGES:
            logging.getLogger(package).setLevel(logging.DEBUG)
        return self

    def attach(self, folder: Path) -> None:
        """Write to `folder / "run.log"` what was said so far, and from now on everything at once."""
        path = folder / "run.log"
        with writing(path):
            file = LogFile(path, encoding="utf-8", errors="backslashreplace")
        file.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
        self._kept.setTarget(file)
        self._kept.flush()
        root = logging.getLogger()
        root.handlers[root.handlers.index(self._kept)] = file

    def __exit__(self, *_: object) -> None:
        root = logging.getLogger()
        for handler in root.handlers:
            handler.close()
        self._kept.close()
        root.handlers[:], root.level = self._before


def duration(seconds: float) -> str:
    """In words short enough for a line: 42 s, 3 min 20 s, 5 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
