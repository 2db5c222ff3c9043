"""SBD's outlines as masks in VOC's folders: the 10,582 training images that segmentation papers train on.

SBD outlines the objects of 11,355 images of VOC. What is VOC's own stays VOC's: images that have a mask in
`SegmentationClass` keep it, and those of VOC's `val` are never trained on. SBD knows no void.
Reference: Hariharan et al., Semantic Contours from Inverse Detectors, ICCV 2011.
"""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from backbone.disk import writing
from backbone.errors import InputError
from tasks.data.checks import require_folder
from tasks.data.files import mat
from tasks.data.formats.voc.folder import AUGMENTED, AUGMENTED_MASKS, MASKS, read_list

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

log = logging.getLogger(__name__)

NUM_CLASSES = 20
"""Classes of SBD, without background."""


def add_sbd(voc: Path, mat_files: Path | None) -> None:
    """Write `SegmentationClassAug` and `ImageSets/Segmentation/trainaug.txt`, each unless it is there.

    The list holds what has a mask in `SegmentationClassAug` or is in VOC's `train`, without VOC's `val`; sorted.

    Args:
        voc: the folder of VOC 2012.
        mat_files: SBD's folder `cls`; None: the masks are there.

    Raises:
        InputError: a folder or list is missing, a .mat file is broken, or nothing can be written there.
    """
    masks, lists = voc / AUGMENTED_MASKS, voc / "ImageSets" / "Segmentation"
    if mat_files is not None and not masks.exists():
        _write_masks(mat_files, voc / MASKS, masks)
    listing = lists / f"{AUGMENTED}.txt"
    if not listing.exists():
        stems = {path.stem for path in masks.glob("*.png")} | set(read_list(lists / "train.txt"))
        stems -= set(read_list(lists / "val.txt"))
        with writing(listing):
            listing.write_text("".join(f"{stem}\n" for stem in sorted(stems)), encoding="utf-8")


def read_mat(path: Path) -> NDArray[np.uint8]:
    """(H, W) class indices, 0 is background, from one of SBD's files.

    Raises:
        InputError: it is not one of them.
    """
    remedy = "remove SBD's folder and fetch it again"
    found = mat.read_mat(path, "GTcls", remedy)
    masks = found.get("Segmentation", []) if isinstance(found, mat.Struct) else []
    if len(masks) != 1 or not isinstance(masks[0], np.ndarray) or masks[0].ndim != 2 or not masks[0].size:
        raise InputError(f"{path}: has no mask (Segmentation of GTcls); {remedy}")
    strange = masks[0][~np.isin(masks[0], np.arange(NUM_CLASSES + 1))]
    if strange.size:
        raise InputError(f"{path}: has class {strange[0]}; SBD's are 0 .. {NUM_CLASSES}: {remedy}")
    return masks[0].astype(np.uint8)


def _write_masks(mat_files: Path, of_voc: Path, folder: Path) -> None:
    """Write all at once or not at all: the folder gets its name in the end."""
    require_folder(mat_files, "SBD's masks", "fetch SBD's archive again")
    kept = {path.stem for path in of_voc.glob("*.png")}
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    with writing(unfinished):
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir()
    sources = [path for path in sorted(mat_files.glob("*.mat")) if path.stem not in kept]
    for path in sources:
        mask = Image.fromarray(read_mat(path))
        with writing(unfinished):
            mask.save(unfinished / f"{path.stem}.png")
    with writing(folder):
        unfinished.rename(folder)
    log.info("%s: %d masks of SBD", folder, len(sources))
