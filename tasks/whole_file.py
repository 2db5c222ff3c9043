"""Files that are whole or not there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from backbone.weights.download import check_space, writing

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, or nothing.

    Raises:
        InputError: there is no space for it, or it cannot be written; nothing is left.
    """
    check_space(path.parent, len(content))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        try:
            part.write_bytes(content)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
