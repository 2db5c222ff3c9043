"""Where the annotations and images of a split are, in COCO's layout and in those of tools that write its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backbone.errors import InputError
from tasks.data.checks import require_file, require_folder, require_root
from tasks.data.files.sources import is_address
from tasks.data.split_names import DIVIDE, split_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.data.config import CocoConfig

LAYOUT = "COCO's layout with annotations/instances_{split}.json and {split}/"
REMEDY = f"data.root=FOLDER names the data set, data.download=true fetches COCO 2017 into it; {DIVIDE}"
FILES = (
    ("annotations/instances_{split}.json", ("{split}", "images/{split}", "images")),
    ("{split}/_annotations.coco.json", ("{split}",)),
    ("{split}/labels.json", ("{split}/data",)),
    ("annotations/{split}.json", ("{split}", "images/{split}", "images")),
)
"""Annotation files of a split and the folders where its images may be, of COCO, Roboflow, FiftyOne and others."""
ALL_IMAGES = ("images/default", "images", "data", "")
"""Folders where the images of a data set without splits may be, of CVAT, Label Studio, FiftyOne and others."""


class SplitFiles(NamedTuple):
    """The annotation file of a split, and the folders where its images may be, the likeliest first."""

    file: Path
    folders: list[Path]

    def images(self, names: Sequence[str]) -> Path:
        """The first of the folders that has the first of these files; the first of all if none has."""
        name = next((name.replace("\\", "/") for name in names if not is_address(name)), None)
        return next((f for f in self.folders if name is not None and (f / name).is_file()), self.folders[0])


class CocoPlaces(NamedTuple):
    """Files of the splits; those of a split that is missing are where COCO has them. `test` is None if it is."""

    root: Path
    train: SplitFiles
    val: SplitFiles
    test: SplitFiles | None


def find_coco(config: CocoConfig) -> CocoPlaces:
    """The files of the data set. Downloads first if asked to. With `data.split` train and val are the same.

    Raises:
        InputError: `data.root` is not set or is no folder, or what `download_coco` raises.
    """
    if config.root is not None and config.download:
        from tasks.data.formats.coco.download import download_coco

        download_coco(Path(config.root))
    root = Path(require_root(config.root, LAYOUT, REMEDY))
    train, val, test = split_names(config, lambda split: _annotations(root, split).is_file())
    of_test = None if test is None else _of_split(root, test)
    if config.split is None:
        return CocoPlaces(root, _of_split(root, train), _of_split(root, val), of_test)
    whole = _of_split(root, train) if _annotations(root, train).is_file() else _whole(root)
    return CocoPlaces(root, whole, whole, of_test)


def split_files(root: str | Path, split: str) -> SplitFiles:
    """The files of a split that has exactly this name.

    Raises:
        InputError: one of them is missing.
    """
    require_folder(root, LAYOUT, REMEDY)
    return require_split(_of_split(Path(root), split))


def require_split(files: SplitFiles) -> SplitFiles:
    """See that the files of a split are there; an InputError names the first that is not."""
    require_file(files.file, "the annotations of the split", REMEDY)
    there = [folder for folder in files.folders if folder.is_dir()]
    if not there:
        require_folder(files.folders[0], "the images of the split", REMEDY)
    return SplitFiles(files.file, there)


def _of_split(root: Path, split: str) -> SplitFiles:
    file = _annotations(root, split)
    folders = next(folders for name, folders in FILES if root / name.format(split=split) == file)
    return SplitFiles(file, [root / name.format(split=split) for name in folders])


def _annotations(root: Path, split: str) -> Path:
    paths = [root / name.format(split=split) for name, _ in FILES]
    return next((path for path in paths if path.is_file()), paths[0])


def _whole(root: Path) -> SplitFiles:
    """Annotations of a data set that has no splits: the only JSON file in `root` or in `annotations`.

    Raises:
        InputError: there is none, or there are several.
    """
    found = sorted([*root.glob("*.json"), *root.glob("annotations/*.json")])
    if len(found) != 1:
        there = f"there are {', '.join(path.name for path in found[:4])}" if found else "there is none"
        raise InputError(
            f"{root}: one annotation file is expected there or in annotations/, and {there}; name the split to divide"
            " by data.train_split=NAME"
        )
    return SplitFiles(found[0], [root / name for name in ALL_IMAGES])
