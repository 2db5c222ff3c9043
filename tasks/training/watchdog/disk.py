"""A disk that fills up, said while there is time to make room."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CHECKPOINTS = 5
"""That there should be room for: two to go on from and the one that is being written, the best weights old and new."""
OTHERS = 32 * 2**20
"""Bytes for logs, images and the report."""


@contextmanager
def full_disk_explained(folder: Path) -> Iterator[None]:
    """A disk that is full, as one line.

    Raises:
        InputError: it is.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) not in FULL and not any(os.strerror(one) in str(error) for one in FULL):
            raise
        raise InputError(
            f"run_dir={folder}: the disk is full; make room, and start the same command again with this run_dir: it"
            " goes on from the last checkpoint"
        ) from error


class DiskSpace:
    """Warns once, in one line, when the disk of a run gets too full for its checkpoints.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._said = False

    def check(self, size: int, there: int = 0) -> None:
        """Look now.

        Args:
            size: of one checkpoint in bytes, or the guess before the first.
            there: how many there are, whose room is taken already.
        """
        free = shutil.disk_usage(self._folder).free
        needed = max(1, CHECKPOINTS - there) * size + OTHERS
        if self._said or free >= needed:
            return
        self._said = True
        log.warning(
            "the disk of %s has %.0f MiB free, and this training may need %.0f MiB more for its checkpoints and report;"
            " make room now",
            self._folder, free / 2**20, needed / 2**20,
        )  # fmt: skip
