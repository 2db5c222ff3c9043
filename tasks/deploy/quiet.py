"""Toolchains talk much, some of them past Python. What they say is kept back, or listened to."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ERRORS = 2
"""The descriptor that libraries write their complaints to."""


@contextmanager
def overheard() -> Iterator[Callable[[], str]]:
    """Keeps what is written to the standard error, by libraries too. What is given tells what has come so far."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(ERRORS)
        os.dup2(file.fileno(), ERRORS)

        def said() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield said
        finally:
            os.dup2(kept, ERRORS)
            os.close(kept)


@contextmanager
def quiet() -> Iterator[None]:
    """Without progress and advice, which is about how a tool is called. Exceptions pass."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            overheard(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
