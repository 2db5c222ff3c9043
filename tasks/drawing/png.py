"""Pictures as files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from backbone.errors import InputError

if TYPE_CHECKING:
    from PIL import Image


def save_png(picture: Image.Image, path: str | Path, what: str) -> Path:
    """Write a PNG, whole or not at all, in a folder that is made if need be.

    Args:
        what: the picture shows, for the message.
    Returns:
        `path`.
    Raises:
        InputError: the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(partial, format="PNG")
        partial.replace(path)
    except OSError as error:
        if partial.exists():
            partial.unlink()
        raise InputError(
            f"{what} {path}: cannot be written ({error.strerror or error}); choose another folder"
        ) from None
    return path
