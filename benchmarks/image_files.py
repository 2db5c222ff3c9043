"""Images for the benchmarks that read files: those of a folder, or drawn ones."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from tasks.data.files.images import is_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


def clouds(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3) clouds of all sizes, which as JPEG take about as many bytes as photographs do."""
    picture = np.full((height, width, 3), 128, dtype=np.float32)
    for cells in (3, 10, 40, 160):
        coarse = rng.normal(0, 24, (cells, cells, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 255).astype(np.uint8)


@contextmanager
def picture_files(folder: Path | None, draw: Callable[[Path], None]) -> Iterator[list[Path]]:
    """The images in `folder` and its sub-folders; without one, those that `draw` makes in a temporary folder."""
    with tempfile.TemporaryDirectory() as temporary:
        if folder is None:
            folder = Path(temporary)
            draw(folder)
        yield sorted(path for path in folder.rglob("*") if is_image(path.name))
