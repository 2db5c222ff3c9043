"""ImageNet's challenge of 2012, from the layouts that people keep it in.

Training images are in `train/{wnid}/`, or `ILSVRC2012_img_train/{wnid}/`. Validation images are in `val/{wnid}/`, or
flat in `val/` or `ILSVRC2012_img_val/` as they were published; their classes are then in the development kit
(`ILSVRC2012_devkit_t12/data/`) or in Kaggle's `LOC_val_solution.csv`. The index of a class is its place among the 1000
sorted ids, even if only some of them have images.
"""

from __future__ import annotations

import csv
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from backbone.errors import InputError
from tasks.data.checks import check_images_exist, require_file, require_folder, require_root
from tasks.data.datasets.classification import ClassificationDataset
from tasks.data.files.boundary import Boundary, is_folder, visible
from tasks.data.files.contents import read_text
from tasks.data.files.images import is_image
from tasks.data.formats.image_folder import Listing, class_indices, list_classes
from tasks.data.formats.imagenet_classes import DEVKIT, META, label_map, read_classes, read_devkit
from tasks.data.splits import DataSplits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.data.config import ImageNetConfig

log = logging.getLogger(__name__)

LAYOUT = "ImageNet's layout with train/{wnid}/ and val/{wnid}/, or as it was published"
REMEDY = "data.root=FOLDER names the data set"
TRAIN_FOLDERS = ("train", "ILSVRC2012_img_train")
VAL_FOLDERS = ("val", "ILSVRC2012_img_val")
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
SOLUTION = "LOC_val_solution.csv"
NUMBER = re.compile(r"_(\d{8})\.\w+")


def build_splits(config: ImageNetConfig, *, need_train: bool = True) -> DataSplits:
    """Train and val, with all 1000 classes whichever of them have images. ImageNet's test split has no annotation.

    Args:
        need_train: False allows train to be absent; it is empty then.

    Raises:
        InputError: a folder is absent or has no image, the classes are unknown, or a folder is none of them.
    """
    root = Path(require_root(config.root, LAYOUT, REMEDY))
    boundary = Boundary(root, config.outside_root)
    train_folder = _folder_of(root, config.train_split, TRAIN_FOLDERS)
    train = Listing(train_folder, [], [], [])
    if need_train or train_folder.is_dir():
        train = list_classes(train_folder, boundary)
    val = list_val(root, _folder_of(root, config.val_split, VAL_FOLDERS), boundary)
    synsets = read_classes(root, max(train.classes, val.classes, key=len))
    wnids, labels = [synset.wnid for synset in synsets], label_map(synsets)

    def dataset(split: Listing) -> ClassificationDataset:
        indices = class_indices(split, wnids, "it is none of ImageNet's 1000")
        if 0 < len(split.classes) < len(wnids):
            log.info("%s: %d of %d classes have images", split.folder, len(split.classes), len(wnids))
        return ClassificationDataset(split.folder, split.names, indices, labels, config.max_megapixels)

    return DataSplits(train=dataset(train), val=dataset(val), test=None, labels=labels)


def list_val(root: Path, folder: Path, boundary: Boundary) -> Listing:
    """The validation images, in class folders or flat.

    Raises:
        InputError: there is no image, or the class of a flat one is not known.
    """
    require_folder(folder, "the validation images", REMEDY)
    entries = visible(folder)
    images = sorted(entry.name for entry in entries if is_image(entry.name))
    if not images:
        return list_classes(folder, boundary)
    if any(is_folder(entry) for entry in entries):
        raise InputError(f"{folder}: has class folders and {len(images)} images beside them, such as {images[0]};"
                         " their class is unknown: move them into folders or away")  # fmt: skip
    check_images_exist(folder, images, folder, boundary)
    class_of = _read_truth(root, folder)
    wnids = [class_of(name) for name in images]
    classes = sorted(set(wnids))
    places = {wnid: place for place, wnid in enumerate(classes)}
    return Listing(folder, classes, images, [places[wnid] for wnid in wnids])


def _folder_of(root: Path, name: str | None, usual: tuple[str, ...]) -> Path:
    """The folder that was named, or the first of the usual ones that there is."""
    if name is not None:
        return root / name
    return next((root / folder for folder in usual if (root / folder).is_dir()), root / usual[0])


def _read_truth(root: Path, folder: Path) -> Callable[[str], str]:
    """Gives the class of a flat validation image by its file name."""
    truth, solution = root / DEVKIT / GROUND_TRUTH, root / SOLUTION
    if truth.is_file():
        meta = truth.with_name(META)
        require_file(meta, "the development kit's table of classes", "unpack the whole kit")
        return _truth_of_devkit(truth, meta)
    if solution.is_file():
        return _truth_of_solution(solution)
    raise InputError(
        f"{folder}: the images are in no class folders, so their classes must be in {truth} or {solution};"
        " add one of them"
    )


def _truth_of_devkit(truth: Path, meta: Path) -> Callable[[str], str]:
    synsets = read_devkit(meta)
    lines = read_text(truth, "unpack the kit again").split()
    try:
        wnids = [synsets[int(line)].wnid for line in lines]
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{truth}: each line must be a class number of {meta} ({error}); unpack the kit again"
        ) from error

    def class_of(name: str) -> str:
        number = NUMBER.search(name)
        if number is None or not 1 <= int(number[1]) <= len(wnids):
            raise InputError(
                f"{truth}: has {len(wnids)} lines and none for the image {name}; names must be as they were published,"
                " such as ILSVRC2012_val_00000001.JPEG"
            )
        return wnids[int(number[1]) - 1]

    return class_of


def _truth_of_solution(solution: Path) -> Callable[[str], str]:
    lines = read_text(solution, "fetch it again").splitlines()
    try:
        rows = {row[0]: row[1].split() for row in csv.reader(lines) if len(row) == 2}
    except csv.Error as error:
        raise InputError(f"{solution}: is no table of images and classes ({error}); fetch it again") from None

    def class_of(name: str) -> str:
        prediction = rows.get(Path(name).stem)
        if not prediction:
            raise InputError(f"{solution}: has no class for the image {name}; add it or remove the image")
        return prediction[0]

    return class_of
