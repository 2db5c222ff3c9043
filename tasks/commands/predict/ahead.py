"""Work that is done before it is asked for, in a thread beside the one that asks."""

from __future__ import annotations

from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

Item = TypeVar("Item")
PATIENCE = 0.05
"""Seconds after which a thread that waits looks whether it is still wanted."""


def ahead(items: Iterable[Item], count: int) -> Generator[Item, None, None]:
    """Items in their order, of which a thread makes up to `count` before they are asked for.

    When the generator is closed, the thread has ended: what the items are made from may be closed, too.

    Raises:
        Exception: what making an item raised, in its place.
    """
    made: Queue[tuple[Item | None, BaseException | None, bool]] = Queue(count)
    unwanted = Event()

    def put(item: Item | None, error: BaseException | None, *, last: bool) -> bool:
        while not unwanted.is_set():
            try:
                made.put((item, error, last), timeout=PATIENCE)
            except Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put(item, None, last=False):
                    return
        except BaseException as error:
            put(None, error, last=True)
        else:
            put(None, None, last=True)

    thread = Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error, last = made.get(timeout=PATIENCE)
            except Empty:
                continue
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]
    finally:
        unwanted.set()
        thread.join()
