"""Images as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backbone.disk import whole_file, writing

if TYPE_CHECKING:
    from PIL import Image


def save_png(image: Image.Image, path: str | Path) -> Path:
    """Write a PNG, whole or not at all, in a folder that is made if need be.

    Returns:
        `path`.
    Raises:
        InputError: the file cannot be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        image.save(part, format="PNG")
    return path
