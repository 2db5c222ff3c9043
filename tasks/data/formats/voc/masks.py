"""PASCAL VOC's layout with masks: `SegmentationClass/*.png`, `JPEGImages/`, `ImageSets/Segmentation/{split}.txt`.

The masks are palette images whose indices are the classes, 0 is background and 255 void. The split `trainaug` has its
masks in `SegmentationClassAug`, as the 10,582 images with SBD's outlines are commonly kept; what is not there is taken
from `SegmentationClass`.
Reference: PASCAL VOC 2012 development kit, section 3.4; Hariharan et al., Semantic Contours from Inverse Detectors,
ICCV 2011.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.data.checks import check_images_exist, require_folder
from tasks.data.datasets.segmentation import SegmentationDataset
from tasks.data.files.boundary import Boundary
from tasks.data.files.mask_files import IndexMasks
from tasks.data.formats.voc.find import find_voc
from tasks.data.formats.voc.folder import AUGMENTED, AUGMENTED_MASKS, IMAGES, MASKS, REMEDY, file_names, read_list
from tasks.data.formats.voc.listing import as_stem
from tasks.data.labels import LabelMap
from tasks.data.split_names import split_names
from tasks.data.splits import DataSplits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.data.config import VocConfig

log = logging.getLogger(__name__)

LAYOUT = "VOC's layout with SegmentationClass/, JPEGImages/ and ImageSets/Segmentation/{split}.txt"
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class VocSegmentation(SegmentationDataset):
    """A split in VOC's layout. Masks are read and checked one by one, images and masks are looked for at once.

    Args:
        root: folder that holds `JPEGImages`, `SegmentationClass` and `ImageSets`.
        split: name of the list under `ImageSets/Segmentation`; None: all images with a mask.
        classes: names of the values 0, 1, ... of the masks.
        outside_root: whether files may lie elsewhere.

    Raises:
        InputError: a file or folder is missing, or an image is listed twice.
    """

    def __init__(
        self, root: str | Path, split: str | None, classes: Sequence[str] = VOC_CLASSES, *, outside_root: bool = False
    ) -> None:
        require_folder(root, LAYOUT, REMEDY)
        root = Path(root)
        listing = root / MASKS if split is None else split_list(root, split)
        folders = [MASKS]
        if split == AUGMENTED:
            folders.append(AUGMENTED_MASKS)
        for folder, what in ((IMAGES, "the images"), *((folder, f"the masks of {split}") for folder in folders)):
            require_folder(root / folder, what, REMEDY)
        found = file_names(root / IMAGES)
        places = {path.stem: folder for folder in folders for path in (root / folder).glob("*.png")}
        stems = sorted(places) if split is None else [as_stem(name, found) for name in read_list(listing)]
        images = [f"{IMAGES}/{found.get(stem, f'{stem}.jpg')}" for stem in stems]
        masks = [f"{places.get(stem, folders[-1])}/{stem}.png" for stem in stems]
        boundary = Boundary(root, outside_root)
        check_images_exist(root, images, listing, boundary)
        check_images_exist(root, masks, listing, boundary, "mask")
        labels = LabelMap.indexed(classes)
        super().__init__(root, images, masks, labels, IndexMasks(labels.names), listing)


def build_splits(config: VocConfig) -> DataSplits:
    """Train, val and, if its list exists and any of its images has a mask, test.

    With `data.split` train and val are the list of train, or where there is none, all images with a mask.

    Raises:
        InputError: see `VocSegmentation` and `find_voc`.
    """
    root = find_voc(config, LAYOUT)
    classes = config.classes or VOC_CLASSES

    def read(split: str | None) -> VocSegmentation:
        return VocSegmentation(root, split, classes, outside_root=config.outside_root)

    names = split_names(config, lambda split: split_list(root, split).is_file())
    if config.split is None:
        train, val = read(names[0]), read(names[1])
    else:
        train = val = read(names[0] if split_list(root, names[0]).is_file() else None)
    test = None
    if names[2] is not None:
        stems = read_list(split_list(root, names[2]))
        if any((root / MASKS / f"{stem}.png").is_file() for stem in stems):
            test = read(names[2])
        else:
            log.info("%s: none of its images has a mask; it is not used", split_list(root, names[2]))
    return DataSplits(train=train, val=val, test=test, labels=train.labels)


def split_list(root: str | Path, split: str) -> Path:
    """The file that lists the images of a split."""
    return Path(root) / "ImageSets" / "Segmentation" / f"{split}.txt"
