"""What is wrong with the files of a data set. A run ends at the first fault; mode=inspect collects them all.

A reader says what it found by `fault` and goes on without the faulty entries, which happens only where faults are
collected: there is one reader and one set of checks for both.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Fault:
    """One kind of fault in one place.

    Attributes:
        kind: a few words that are the same wherever it occurs.
        text: the line that a run would print: file, value, remedy.
        cases: names every case: a file, or an object in one.
        serious: a run would end here; otherwise it would go on with a warning.
        unread: the cases are files that must not be read, or cannot be.
    """

    kind: str
    text: str
    cases: list[str]
    serious: bool = True
    unread: bool = False


_collected: ContextVar[list[Fault] | None] = ContextVar("collected faults", default=None)


@contextmanager
def collected() -> Iterator[list[Fault]]:
    """Context in which faults are added to the list that it gives, instead of being raised or logged."""
    found: list[Fault] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def fault(kind: str, text: str, cases: Sequence[str], *, unread: bool = False) -> None:
    """Say that training on this data would be wrong.

    Args:
        unread: see `Fault`.

    Raises:
        InputError: `text`, unless faults are collected.
    """
    found = _collected.get()
    if found is None:
        raise InputError(text)
    found.append(Fault(kind, text, list(cases), unread=unread))


def caution(kind: str, text: str, cases: Sequence[str]) -> None:
    """Say what is not as it should be but can be trained on: a line of the log, unless faults are collected."""
    found = _collected.get()
    if found is None:
        log.warning("%s", text)
    else:
        found.append(Fault(kind, text, list(cases), serious=False))


@contextmanager
def each(kind: str, case: str) -> Iterator[None]:
    """Around the reading of one of many files: where faults are collected, its error is one of them.

    Raises:
        InputError: what the block raised, unless faults are collected.
    """
    try:
        yield
    except InputError as error:
        found = _collected.get()
        if found is None:
            raise
        found.append(Fault(kind, str(error), [case]))
