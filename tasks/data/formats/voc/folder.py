"""Where PASCAL VOC's folders are, for boxes and for masks."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from backbone.errors import InputError
from tasks.data.checks import check_unique, require_file
from tasks.data.files.contents import read_text
from tasks.data.split_names import DIVIDE

if TYPE_CHECKING:
    from pathlib import Path

AUGMENTED = "trainaug"
"""The split whose masks are in `AUGMENTED_MASKS`."""
IMAGES, MASKS, AUGMENTED_MASKS = "JPEGImages", "SegmentationClass", "SegmentationClassAug"
REMEDY = "data.root=FOLDER names the data set, data.download=true fetches VOC 2012 into it"


def voc_folder(root: Path) -> Path | None:
    """`root` if it holds `ImageSets`, else the folder of a year of VOC below it that does; None if there is none.

    Raises:
        InputError: there are several.
    """
    if (root / "ImageSets").is_dir():
        return root
    years = [*sorted(root.glob("VOC*")), *sorted(root.glob("VOCdevkit/VOC*"))]
    found = [year for year in years if (year / "ImageSets").is_dir()]
    if len(found) > 1:
        raise InputError(f"{root}: holds several data sets; name one of {', '.join(map(str, found))} by data.root=")
    return found[0] if found else None


def read_list(listing: Path) -> list[str]:
    """The names that a split's list has, one a line.

    Raises:
        InputError: there is no such file, it is no text, or a name is listed twice.
    """
    require_file(listing, "the list of the split's images", f"{REMEDY}, data.train_split and so on the list; {DIVIDE}")
    lines = read_text(listing, "write it again").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    check_unique(names, "image", listing)
    return names


def file_names(folder: Path, *, deep: bool = False) -> dict[str, str]:
    """Names of the files in a folder, whatever their suffix, by their name without it.

    Args:
        deep: with those of its sub-folders, whose names are part of a file's.
    """
    paths = (path for path in folder.rglob("*") if path.is_file()) if deep else folder.iterdir()
    names = (path.relative_to(folder).as_posix() for path in sorted(paths, reverse=True))
    return {name[: len(name) - len(PurePosixPath(name).suffix)]: name for name in names}
