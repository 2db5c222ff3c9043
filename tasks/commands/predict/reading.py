"""Images from files and addresses, read and made ready in threads, in their order and in bounded memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from backbone.disk import writing
from backbone.errors import InputError
from backbone.weights.download import fetch
from tasks.data.files.encoded import EncodedImage
from tasks.data.files.images import read_bytes
from tasks.data.files.sources import is_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future

    import numpy as np
    from numpy.typing import NDArray

    from tasks.data.files.sources import ImageSource

    Pixels: TypeAlias = NDArray[np.uint8]

PIXELS_AHEAD = 2**25
"""Pixels of decoded images that wait, at most: 100 MB, and one image where it alone has more."""
ATTEMPTS = 3


@dataclass(slots=True)
class Loaded:
    """An image that is ready for the model, or why it is not.

    Attributes:
        file: what the source calls it.
        name: of its results.
        image: as a viewer shows it; None where it could not be read.
        seen: what the model sees of it.
        frame: of a video.
        stamp: size and time of the file.
        error: why it could not be read.
    """

    file: str
    name: str
    image: Pixels | None = None
    seen: Pixels | None = None
    frame: int | None = None
    stamp: list[int] | None = None
    error: str = ""

    @property
    def pixels(self) -> int:
        return 0 if self.image is None else self.image.shape[0] * self.image.shape[1]


@dataclass(slots=True)
class Opened:
    """The contents of an image's file, or why there are none."""

    source: ImageSource
    name: str
    content: EncodedImage | None = None
    stamp: list[int] | None = None
    error: str = ""

    @property
    def pixels(self) -> int:
        return 0 if self.content is None else self.content.size[0] * self.content.size[1]


class Reader:
    """Reads images in the threads of `pool`.

    Args:
        see: from an image to what the model sees.
        downloads: folder where files of addresses are kept.
        ahead: images that are read before they are asked for.
    """

    def __init__(self, pool: Executor, see: Callable[[Pixels], Pixels], downloads: Path, ahead: int) -> None:
        self.pool = pool
        self.see = see
        self.downloads = downloads
        self.ahead = ahead

    def read(self, wanted: Iterable[tuple[ImageSource, str]]) -> Iterator[Loaded]:
        """Images, with the names of their results, in the order given. Those that cannot be read say why."""
        remaining = iter(wanted)
        opening: deque[Future[Opened]] = deque()
        decoding: deque[tuple[Future[Loaded], int]] = deque()
        try:
            while True:
                while len(opening) < self.ahead and (one := next(remaining, None)) is not None:
                    opening.append(self.pool.submit(self._open, *one))
                while opening and (not decoding or self._fits(opening[0], decoding)):
                    opened = opening.popleft().result()
                    decoding.append((self.pool.submit(self._decode, opened), opened.pixels))
                if not decoding:
                    return
                yield decoding.popleft()[0].result()
        finally:
            for opened_later in opening:
                opened_later.cancel()
            for decoded_later, _ in decoding:
                decoded_later.cancel()

    def _fits(self, future: Future[Opened], decoding: deque[tuple[Future[Loaded], int]]) -> bool:
        if len(decoding) >= self.ahead or not future.done():
            return False
        return sum(pixels for _, pixels in decoding) + future.result().pixels <= PIXELS_AHEAD

    def _open(self, source: ImageSource, name: str) -> Opened:
        try:
            path = Path(source.where)
            if is_address(source.where):
                path = self.downloads / name
                with writing(path):
                    path.unlink(missing_ok=True)  # of an earlier run, which could not use it, or had no time to
                path = fetch([source.where], path, attempts=ATTEMPTS)
            content = EncodedImage(source.where, read_bytes(path), None)
            return Opened(source, name, content, stamp_of(source))
        except InputError as error:
            return Opened(source, name, error=str(error))

    def _decode(self, opened: Opened) -> Loaded:
        source = opened.source
        loaded = Loaded(source.file, opened.name, stamp=opened.stamp, error=opened.error)
        if opened.content is None:
            return loaded
        try:
            image = opened.content.decode()
        except InputError as error:
            loaded.error = str(error)
            return loaded
        loaded.image, loaded.seen = image, self.see(image)
        return loaded


def stamp_of(source: ImageSource) -> list[int] | None:
    """Size and time of an image's file, by which a changed one is known; None for addresses and what is not there."""
    if is_address(source.where):
        return None
    try:
        status = Path(source.where).stat()
    except (OSError, ValueError):  # a path with NUL is no path
        return None
    return [status.st_size, status.st_mtime_ns]
