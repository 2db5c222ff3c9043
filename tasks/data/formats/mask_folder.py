"""Folders of images and of masks: every image has the mask of the same name, and every mask its image."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backbone.errors import InputError
from heads.structures import VOID
from tasks.data.checks import require_folder, require_root
from tasks.data.datasets.segmentation import SegmentationDataset
from tasks.data.faults import fault
from tasks.data.files.boundary import Boundary, files_below
from tasks.data.files.images import is_image
from tasks.data.files.mask_files import ColourMasks, IndexMasks
from tasks.data.labels import LabelMap
from tasks.data.split_names import DIVIDE, split_names
from tasks.data.splits import DataSplits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.data.config import MasksConfig
    from tasks.data.files.mask_files import MaskReader

log = logging.getLogger(__name__)

LAYOUT = "images and masks of the same names, images/{split}/x.jpg and masks/{split}/x.png"
REMEDY = f"data.root=FOLDER names the data set, data.images= and data.masks= the folders below it; {DIVIDE}"


class MaskFolders(SegmentationDataset):
    """A folder of images and one of masks. They belong together by their path below it, without suffix.

    Args:
        root: folder that the others are in.
        images, masks: the folders below it.
        labels: of the values of the masks.
        read_mask: reads a mask file.
        image_suffix, mask_suffix: what a name ends in besides; an image without it is not looked at.
        outside_root: whether files may lie elsewhere.

    Raises:
        InputError: a folder is missing or empty, an image has no mask or a mask no image, or two have one name.
    """

    def __init__(
        self,
        root: str | Path,
        images: str,
        masks: str,
        labels: LabelMap,
        read_mask: MaskReader,
        image_suffix: str = "",
        mask_suffix: str = "",
        *,
        outside_root: bool = False,
    ) -> None:
        root, boundary = Path(root), Boundary(root, outside_root)
        image_files = _by_name(root / images, "the images of the split", image_suffix, boundary)
        mask_files = _by_name(root / masks, "the masks of the split", mask_suffix, boundary)
        _check_partners("image", image_files, "mask", mask_files, root / masks)
        _check_partners("mask", mask_files, "image", image_files, root / images)
        names = sorted(image_files.keys() & mask_files.keys())
        super().__init__(
            root,
            [os.path.relpath(image_files[name], root) for name in names],
            [os.path.relpath(mask_files[name], root) for name in names],
            labels,
            read_mask,
            root / images,
        )


def build_splits(config: MasksConfig) -> DataSplits:
    """Train, val and, if its folder of masks exists, test.

    Raises:
        InputError: see `MaskFolders`, `ColourMasks` and `read_labels`.
    """
    labels = read_labels(config)
    read_mask: MaskReader = IndexMasks(labels.names, config.ignore_index)
    colours = read_colours(config)
    if colours is not None and config.ignore_index:
        raise InputError(
            f"data.ignore_index={list(config.ignore_index)}: is for masks of indices, and data.colours is set; say"
            " data.void_colours=[[red,green,blue]]"
        )
    if colours is not None:
        read_mask = ColourMasks({name: colours[name] for name in labels.names}, config.void_colours)
    elif config.void_colours:
        raise InputError("data.void_colours is set but data.colours is not; name the colours of the classes too")
    root = Path(require_root(config.root, LAYOUT, REMEDY))
    places = find_splits(config, root)
    if colours is None and labels.num_classes == 2 and _is_binary(root / places.train.masks):
        log.warning("%s: masks of 0 and 255 are read as %s and %s", root, *labels.names)
        read_mask = IndexMasks(labels.names, binary=True)

    def read(pair: Pair) -> MaskFolders:
        suffixes = config.image_suffix, config.mask_suffix
        return MaskFolders(root, *pair, labels, read_mask, *suffixes, outside_root=config.outside_root)

    train = read(places.train)
    val = train if places.val == places.train else read(places.val)
    test = None if places.test is None else read(places.test)
    return DataSplits(train=train, val=val, test=test, labels=labels)


class Pair(NamedTuple):
    """Folders below the root, of images and of their masks."""

    images: str
    masks: str


class Places(NamedTuple):
    """Folders of the splits; `test` is None where there are no masks of it."""

    train: Pair
    val: Pair
    test: Pair | None


def find_splits(config: MasksConfig, root: Path) -> Places:
    """Where the splits are, or would be. With `data.split` train and val are the folders of train, or where there are
    none, `images` and `masks` without the split's name.

    Raises:
        InputError: see `split_names`.
    """

    def pair(split: str) -> Pair:
        return Pair(config.images.replace("{split}", split), config.masks.replace("{split}", split))

    by_split = "{split}" in config.masks
    train, val, test = split_names(config, lambda split: by_split and (root / pair(split).masks).is_dir())
    of_test = None if test is None else pair(test)
    if config.split is None:
        return Places(pair(train), pair(val), of_test)
    whole = pair(train) if (root / pair(train).masks).is_dir() else Pair(*(p.rstrip("/") for p in pair("")))
    return Places(whole, whole, of_test)


def read_labels(config: MasksConfig) -> LabelMap:
    """The classes, in the order of `classes`, or of `colours` where that is not set.

    Raises:
        InputError: neither is set, the two do not fit together, or there are more classes than a mask can hold.
    """
    colours = read_colours(config)
    if config.classes is None and colours is None:
        raise InputError(
            "data.classes is not set; name the values 0, 1, ... of the masks: data.classes=[background, ...], or their"
            " colours: data.colours={background: [0, 0, 0], ...}"
        )
    classes = list(colours or ()) if config.classes is None else config.classes
    other = set(classes) ^ set(classes if colours is None else colours)
    if other:
        raise InputError(
            f"data.classes={classes} and data.colours={list(colours or ())}: {', '.join(sorted(other))} in one of them"
            " only; both must name the same classes"
        )
    if len(classes) > MAX_CLASSES:
        raise InputError(f"data.classes: there are {len(classes)}; a mask holds at most {MAX_CLASSES} and void")
    return LabelMap.indexed(classes)


def read_colours(config: MasksConfig) -> dict[str, list[int]] | None:
    """The colour of every class by its name; None where masks hold indices.

    Raises:
        InputError: `colours` is neither a mapping nor a list as long as `classes`.
    """
    if config.colours is None:
        return None
    if isinstance(config.colours, dict):
        return {str(name): colour for name, colour in config.colours.items()}
    if isinstance(config.colours, list) and len(config.colours) == len(config.classes or ()):
        return dict(zip(config.classes or (), config.colours, strict=True))
    raise InputError(
        f"data.colours={config.colours}: must be {{class: [red, green, blue], ...}}, or a list with as many colours as"
        " data.classes has names"
    )


MAX_CLASSES = 255
LOOKED_AT = 32
"""Masks that show whether all are of 0 and 255."""


def _is_binary(folder: Path) -> bool:
    """Whether the first masks of a folder hold 0 and 255 and nothing else: then 255 is no void, but a class."""
    found: set[int] = set()
    for path in sorted(path for path in folder.rglob("*") if is_image(path.name))[:LOOKED_AT]:
        with suppress(InputError):  # said where the mask is read
            found |= set(np.unique(IndexMasks([""] * MAX_CLASSES)(path)).tolist())
    return found == {0, VOID}


def _by_name(folder: Path, what: str, suffix: str, boundary: Boundary) -> dict[str, Path]:
    """The images below a folder, by what an image and its mask have in common."""
    require_folder(folder, what, REMEDY)
    found: dict[str, Path] = {}
    for path in sorted(map(Path, files_below(folder, boundary))):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if not is_image(path.name) or not stem.endswith(suffix):
            continue
        name = stem.removesuffix(suffix)
        if name in found:
            text = f"{path}: has the same name as {found[name].name}; remove one of the two"
            fault("two files of one name", text, [str(path)])
        found[name] = path
    return found


def _check_partners(
    what: str, files: Mapping[str, Path], partner: str, partners: Mapping[str, Path], folder: Path
) -> None:
    alone = sorted(files.keys() - partners.keys())
    if alone:
        more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
        fault(
            f"{what} without {partner}",
            f"{files[alone[0]]}: this {what}{more} has no {partner} of that name in {folder}; add the {partner} or"
            f" remove the {what}",
            [str(files[name]) for name in alone],
        )
