"""What can be said of a data set before its files are read: whether it is named, and whether it is there.

Nothing here reads contents, and none of it needs torch, so a wrong path is answered at once. The readers ask the same
by the same functions when their turn comes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError
from tasks.data.config import (
    CocoConfig,
    FolderConfig,
    ImageNetConfig,
    MasksConfig,
    MixedConfig,
    ShardsConfig,
    VocConfig,
    YoloConfig,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def check_places(config: Any, kind: str, *, need_train: bool = True) -> None:
    """See that the folders and lists of a data set are there. What would be downloaded first is not looked for.

    Args:
        config: of the data set; one that is not ours passes.
        kind: what the images are labelled for: the task's name.
        need_train: False allows the training split to be absent where the reader does.
    Raises:
        InputError: a folder or file is missing, or the classes are not told.
    """
    if isinstance(config, MixedConfig):
        for name, part in dict(config.parts or {}).items():
            try:
                check_places(part, kind, need_train=need_train)
            except InputError as error:
                raise InputError(str(error).replace("data.", f"data.parts.{name}.")) from error
        return
    check = next((check for kind, check in CHECKS.items() if isinstance(config, kind)), None)
    if check is not None and not getattr(config, "download", False):
        check(config, kind, need_train)


def _coco(config: CocoConfig, kind: str, need_train: bool) -> None:
    from tasks.data.formats.coco.find import find_coco, require_split

    places = find_coco(config)
    for files in [places.train] * need_train + [places.val]:
        require_split(files)


def _voc(config: VocConfig, kind: str, need_train: bool) -> None:
    from tasks.data.formats.voc import listing, masks
    from tasks.data.formats.voc.find import find_voc

    if kind in ("detection", "segmentation"):
        find_voc(config, masks.LAYOUT if kind == "segmentation" else listing.LAYOUT)


def _yolo(config: YoloConfig, kind: str, need_train: bool) -> None:
    from tasks.data.formats.yolo.description import describe, require_split
    from tasks.data.split_names import split_names

    found = describe(config)
    train, val, _ = split_names(config, lambda split: split in found.splits)
    if config.split is None:
        for split in [train] * need_train + [val]:
            require_split(found, split)
    elif not found.others:
        require_split(found, train)


def _masks(config: MasksConfig, kind: str, need_train: bool) -> None:
    from tasks.data.checks import require_folder, require_root
    from tasks.data.formats.mask_folder import LAYOUT, REMEDY, find_splits, read_labels

    read_labels(config)
    root = Path(require_root(config.root, LAYOUT, REMEDY))
    places = find_splits(config, root)
    for pair in (places.train, places.val):
        require_folder(root / pair.images, "the images of the split", REMEDY)
        require_folder(root / pair.masks, "the masks of the split", REMEDY)


def _folder(config: FolderConfig, kind: str, need_train: bool) -> None:
    from tasks.data.checks import require_folder, require_root
    from tasks.data.formats.image_folder import LAYOUT, REMEDY, SPLIT_REMEDY, find_splits

    places = find_splits(config, Path(require_root(config.root, LAYOUT, REMEDY)))
    for folder in [places.train] * need_train + [places.val]:
        require_folder(folder, "a folder for each class", SPLIT_REMEDY)


def _imagenet(config: ImageNetConfig, kind: str, need_train: bool) -> None:
    from tasks.data.checks import require_root
    from tasks.data.formats.imagenet import LAYOUT, REMEDY

    require_root(config.root, LAYOUT, REMEDY)


def _shards(config: ShardsConfig, kind: str, need_train: bool) -> None:
    from tasks.data.checks import require_root
    from tasks.data.formats.shards.classes import LAYOUT, REMEDY

    require_root(config.root, LAYOUT, REMEDY)


CHECKS: dict[type, Callable[[Any, str, bool], None]] = {
    CocoConfig: _coco,
    VocConfig: _voc,
    YoloConfig: _yolo,
    MasksConfig: _masks,
    FolderConfig: _folder,
    ImageNetConfig: _imagenet,
    ShardsConfig: _shards,
}
