"""Items that are made ahead: their order, how many, what they raise, and the end of the thread."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tasks.commands.predict.ahead import ahead

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_order_and_all() -> None:
    assert list(ahead(range(100), 3)) == list(range(100))


def test_at_most_so_many_are_made_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    found = ahead(items(), 4)
    assert next(found) == 0
    time.sleep(0.3)
    assert len(made) == 1 + 4 + 1  # given, waiting, and the one in hand
    found.close()


def test_an_error_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("camera is gone")

    found = ahead(items(), 8)
    assert next(found) == 1
    with pytest.raises(OSError, match="camera is gone"):
        next(found)


def test_closing_ends_the_thread() -> None:
    before = threading.active_count()
    found = ahead(iter(int, 1), 2)
    next(found)
    found.close()
    assert threading.active_count() == before
