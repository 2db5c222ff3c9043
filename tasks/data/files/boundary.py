"""The files of a data set lie below its root, also where links lead; what leaves it is read only if the user says so.

A list or a link from somebody else could otherwise name any file of this machine, which then would be shown by
mode=inspect or copied by mode=pack.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from backbone.errors import InputError
from tasks.data.faults import fault

if TYPE_CHECKING:
    from collections.abc import Sequence

REMEDY = "remove it, or say data.outside_root=true if you trust where it leads"


class Boundary:
    """A data set's root, which files do not leave.

    Args:
        root: the folder.
        is_open: whether files may lie anywhere.
    """

    def __init__(self, root: str | Path, is_open: bool = False) -> None:
        self.root = Path(root)
        self.is_open = is_open
        self._real = os.path.realpath(root)

    def holds(self, path: str | Path) -> bool:
        """Whether a file or folder lies below the root once links are followed."""
        if self.is_open:
            return True
        try:
            return os.path.commonpath([self._real, os.path.realpath(path)]) == self._real
        except (OSError, ValueError):  # a loop of links, another drive, a name that cannot be one
            return False

    def holds_file(self, path: Path) -> bool:
        """Whether a file whose folder lies below the root does so too: it is looked at only if it is a link."""
        return not path.is_symlink() or self.holds(path)

    def report(self, outside: Sequence[str | Path], listed_in: Path | None = None) -> None:
        """Say of files that they lie outside.

        Args:
            listed_in: the file that names them; None where links lead to them.

        Raises:
            InputError: there is one, unless faults are collected.
        """
        if not outside:
            return
        more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        how = f", listed in {listed_in}," if listed_in else ""
        text = f"{outside[0]}: this file{more}{how} leads out of data.root={self.root}; {REMEDY}"
        fault("file outside data.root", text, [str(path) for path in outside], unread=True)


def visible(folder: Path | str) -> list[os.DirEntry[str]]:
    """Entries of a folder, without those that file browsers leave.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".") and entry.name != "Thumbs.db"]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); give a folder that you may read") from None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link that leads nowhere is none."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # noqa: PTH112


def files_below(folder: Path | str, boundary: Boundary) -> list[str]:
    """Files of a folder and of its sub-folders, also linked ones; those that lie outside are reported.

    Raises:
        InputError: a file or folder lies outside, or a folder leads back to one that it lies in.
    """
    files: list[str] = []
    outside: list[str] = []
    _gather(os.fspath(folder), boundary, (os.path.realpath(folder),), files, outside)
    boundary.report(outside)
    return files


def _gather(folder: str, boundary: Boundary, above: tuple[str, ...], files: list[str], outside: list[str]) -> None:
    for entry in visible(folder):
        if entry.is_symlink() and not boundary.holds(entry.path):
            outside.append(entry.path)
        elif not is_folder(entry):
            files.append(entry.path)
        elif not entry.is_symlink():
            _gather(entry.path, boundary, above, files, outside)
        else:
            real = os.path.realpath(entry.path)
            if any(os.path.commonpath([real, one]) == real for one in above):
                raise InputError(f"{entry.path}: is a link to a folder that it lies in; remove the link")
            _gather(entry.path, boundary, (*above, real), files, outside)
