"""Which data, at what size. Imports nothing heavy: a configuration is checked before torch is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

import yaml

from backbone.errors import InputError
from tasks.config.training import AUTO

MIN_SCENE_SIZE = 64
MAX_SCENE_SIZE = 8192
MAX_MEGAPIXELS = 178
AFTER_COLON = re.compile(r":(?=[\[\d.])")
MIN_SHARE = 2
"""Images of every part in a batch of mixed data."""


class BadBoxes(Enum):
    """What to do with boxes that cannot be learned: NaN, no area, or outside the image.

    `error` stops before training and names the first. `drop` leaves them out and reports how many there were.
    """

    error = "error"
    drop = "drop"


@dataclass(kw_only=True, slots=True)
class DataConfig:
    """What every data set has; `tasks.data.build` reads it. One from outside has `build` (see `PluggedData` there)."""

    batch_size: int | str = 16
    """Images in a batch, per device. auto: mode=train finds by trial how many fit into the memory."""
    epochs: int = 60
    """Passes over the training set that make sense here; `trainer.max_epochs` follows it."""
    workers: int | None = None
    """Processes that prepare batches, per device; 0 prepares them in the training process. None: by the cores."""
    timeout: float | None = 600.0
    """Seconds that a batch may take to come from those processes before the run ends with an error; null: any time."""
    balanced_sampling: float = 0.0
    """How much more often images of rare classes are seen in training: in proportion to f^-value, where f is the share
    of the images that show their rarest class, at most ten times as often as others. 1: all classes of a classifier
    equally often; 0.5: in between; 0: every image once in a pass."""
    bad_boxes: BadBoxes = BadBoxes.error
    outside_root: bool = False
    """Read files also where a name or a link leads out of the data's folder. For data that you trust."""
    benchmark: ClassVar[str] = ""
    """Public benchmark that this is, for published figures: coco, voc or imagenet."""

    def __post_init__(self) -> None:
        if self.batch_size != AUTO and (type(self.batch_size) is not int or self.batch_size < 1):
            raise InputError(f"data.batch_size={self.batch_size}: must be a number of images from 1 on, or {AUTO}")
        _check_at_least("epochs", self.epochs, 1)
        if self.workers is not None:
            _check_at_least("workers", self.workers, 0)
        if not 0 <= self.balanced_sampling <= 1:
            raise InputError(f"data.balanced_sampling={self.balanced_sampling:g}: must be from 0 to 1")
        if self.timeout is not None and not self.timeout > 0:
            raise InputError(f"data.timeout={self.timeout}: must be positive, or null for no limit")


@dataclass(kw_only=True, slots=True)
class ShapesConfig(DataConfig):
    """Scenes of geometric shapes, drawn at first use and kept in a cache folder."""

    root: str | None = None
    """Folder for the scenes; None: the user's cache folder."""
    train_scenes: int = 1200
    val_scenes: int = 200
    scene_size: int = 160
    """Side of the scenes in pixels."""
    seed: int = 0
    """Other scenes with another seed."""

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        _check_at_least("train_scenes", self.train_scenes, 1)
        _check_at_least("val_scenes", self.val_scenes, 1)
        _check_at_least("scene_size", self.scene_size, MIN_SCENE_SIZE)
        if self.scene_size > MAX_SCENE_SIZE:
            raise InputError(f"data.scene_size={self.scene_size}: must be at most {MAX_SCENE_SIZE}")
        _check_at_least("seed", self.seed, 0)


@dataclass(kw_only=True, slots=True)
class SplitConfig(DataConfig):
    """What every data set has whose splits are folders or lists of their names. Usual names of the same split
    (train, train2017; val, valid, validation, val2017; test) count as one where only one of them is there.
    """

    split: float | None = None
    """Share of the images that is taken for validation, where the data has no such split. Images whose files share a
    stem, or that look alike, stay together."""
    split_seed: int = 0
    """Another division with another seed."""
    split_file: str | None = None
    """File that holds the division: read if it is there, else written. None: split.json in the folder of the run, or
    beside the checkpoint."""

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        if self.split is not None and not 0 < self.split < 1:
            raise InputError(f"data.split={self.split:g}: must be a share above 0 and below 1, such as 0.2")
        _check_at_least("split_seed", self.split_seed, 0)


@dataclass(kw_only=True, slots=True)
class CocoConfig(SplitConfig):
    """COCO's layout: `annotations/instances_{split}.json` and a folder of images of the split's name; or Roboflow's,
    `{split}/_annotations.coco.json` among the images.

    For segmentation the outlines become masks: of COCO's own categories those that VOC has too, with VOC's classes;
    of other categories all, in the order of their ids, behind background.
    """

    benchmark: ClassVar[str] = "coco"
    root: str | None = None
    train_split: str = "train2017"
    val_split: str = "val2017"
    test_split: str | None = "test"
    """Used if its annotations exist."""
    classes: list[str] | None = None
    """Names of the classes that are used, in the order of their indices; objects of others are left out. None: all of
    the file, by their ids (see above for masks)."""
    annotations: str | None = None
    """Annotation file that a results file is scored against; None: the one of `val_split`."""
    download: bool = False
    """Fetch COCO 2017 into `root` first, as far as it is not there."""
    min_class_pixels: int | None = None
    """Segmentation trains on images where objects of its classes have at least this many pixels; 0: on all. None: 1000
    where the classes are VOC's, else 0."""

    def __post_init__(self) -> None:
        SplitConfig.__post_init__(self)
        if self.min_class_pixels is not None:
            _check_at_least("min_class_pixels", self.min_class_pixels, 0)


@dataclass(kw_only=True, slots=True)
class VocConfig(SplitConfig):
    """PASCAL VOC's layout: `JPEGImages/` and, for boxes, `Annotations/*.xml` and `ImageSets/Main/{split}.txt`, or, for
    masks, `SegmentationClass/*.png` and `ImageSets/Segmentation/{split}.txt`.

    Boxes without lists: folders `{split}/` of images with their XML files, or all in one folder, with `data.split`.
    """

    benchmark: ClassVar[str] = "voc"
    root: str | None = None
    """Folder that holds these, or the `VOCdevkit` above it."""
    classes: list[str] | None = None
    """Names of the classes in the order of their indices; of boxes, others are left out. None: for boxes all that
    occur, sorted; for masks background and the 20 of VOC."""
    train_split: str = "train"
    """For masks also `trainaug`: 10,582 images, with the outlines of SBD."""
    val_split: str = "val"
    test_split: str | None = "test"
    """Used if its list exists."""
    download: bool = False
    """Fetch VOC 2012 into `root` first, and SBD's outlines for `trainaug`, as far as they are not there."""


@dataclass(kw_only=True, slots=True)
class YoloConfig(SplitConfig):
    """YOLO's text files as Ultralytics, Roboflow and Darknet lay them out: `data.yaml`, `images/{split}/x.jpg` and
    `labels/{split}/x.txt`. Boxes of outlines are those around them; for segmentation outlines become masks, behind
    background. An image without a text file has no object.
    """

    root: str | None = None
    """Folder of the data set, or its data.yaml."""
    classes: list[str] | None = None
    """Names of the classes that are used, in the order of their indices; objects of others are left out. None: all."""
    train_split: str = "train"
    val_split: str = "val"
    test_split: str | None = "test"
    """Used if it is there."""


@dataclass(kw_only=True, slots=True)
class MasksConfig(SplitConfig):
    """Folders of images and of masks of the same names: `images/{split}/x.jpg`, `masks/{split}/x.png`.

    Masks hold class indices and 255 for void, or colours if `colours` is given. Where there are two classes and the
    first masks hold 0 and 255 only, 255 is the second class.
    """

    root: str | None = None
    images: str = "images/{split}"
    """Folder of a split's images below `root`, searched with its sub-folders."""
    masks: str = "masks/{split}"
    image_suffix: str = ""
    """What the names of images end in and those of their masks do not, such as `_leftImg8bit`."""
    mask_suffix: str = ""
    """What the names of masks end in and those of their images do not, such as `_gtFine_labelTrainIds`."""
    classes: list[str] | None = None
    """Names of the classes in the order of their indices, background included. None: those of `colours`."""
    colours: Any = None
    """Red, green and blue of every class: {road: [128, 64, 128], ...}, or a list in the order of `classes`. None: masks
    hold indices. (Hydra adds no keys to a typed dictionary, hence no type.)"""
    void_colours: list[list[int]] = field(default_factory=list)
    """Colours of pixels that count neither in training nor in evaluation."""
    ignore_index: list[int] = field(default_factory=list)
    """Values besides 255, in masks of indices, of pixels that count neither in training nor in evaluation."""
    train_split: str = "train"
    val_split: str = "val"
    test_split: str | None = "test"
    """Used if its folder of masks exists."""

    def __post_init__(self) -> None:
        SplitConfig.__post_init__(self)
        self.colours = _table("colours", self.colours)


@dataclass(kw_only=True, slots=True)
class ImagesConfig(DataConfig):
    """What every data set of images with one class has."""

    root: str | None = None
    max_megapixels: float = 90.0
    """Images with more pixels, in millions, are refused before they take memory."""

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        _check_megapixels(self.max_megapixels)


@dataclass(kw_only=True, slots=True)
class FolderConfig(SplitConfig):
    """Any folder of images: `train/{class}/*`, `val/{class}/*`; with `data.split` also `{class}/*`."""

    root: str | None = None
    max_megapixels: float = 90.0
    """Images with more pixels, in millions, are refused before they take memory."""
    train_split: str = "train"
    val_split: str = "val"
    test_split: str | None = "test"
    """Used if its folder exists."""

    def __post_init__(self) -> None:
        SplitConfig.__post_init__(self)
        _check_megapixels(self.max_megapixels)


@dataclass(kw_only=True, slots=True)
class ImageNetConfig(ImagesConfig):
    """ImageNet of 2012, as it was published or with `train/{wnid}/`, `val/{wnid}/`; see `formats.imagenet`."""

    benchmark: ClassVar[str] = "imagenet"
    train_split: str | None = None
    """Folder below `root`; None: `train` or `ILSVRC2012_img_train`."""
    val_split: str | None = None
    """Folder below `root`; None: `val` or `ILSVRC2012_img_val`."""


@dataclass(kw_only=True, slots=True)
class ShardsConfig(ImagesConfig):
    """Tar shards in WebDataset's layout: `000123.jpg` with `000123.cls`, or with `label` or `cls` in `000123.json`.

    For detection those that mode=pack writes.
    """

    train_shards: list[str] = field(default_factory=lambda: ["train*.tar", "train/*.tar"])
    """Patterns below `root`, or absolute ones where shards lie on several disks; `{000..146}` counts."""
    val_shards: list[str] = field(default_factory=lambda: ["val*.tar", "val/*.tar"])
    classes: list[str] | None = None
    """Names in the order of the indices; None: those of the manifest beside the shards, or the lines of `classes.txt`
    below `root`, or the numbers themselves. For detection those that are used, of the manifest's."""


@dataclass(kw_only=True, slots=True)
class MixedConfig(DataConfig):
    """Several data sets, each labelled for some of the heads; see `tasks.data.datasets.mixed` for what an epoch is."""

    parts: Any = None
    """By name: a data set's configuration, such as +data@data.parts.objects=coco. Their `batch_size`, `epochs` and
    `workers` do not count."""
    ratio: Any = None
    """By part: its share of a batch, such as {objects: 2, regions: 1}; null: alike."""

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        self.ratio = _table("ratio", self.ratio)
        parts, ratio = dict(self.parts or {}), dict(self.ratio or {})
        for part, share in ratio.items():
            if part not in parts:
                raise InputError(f"data.ratio.{part}: there is no such part; there are {', '.join(parts) or 'none'}")
            if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share < float("inf"):
                raise InputError(
                    f"data.ratio.{part}={share}: must be a positive number; leave a part out by ~data.parts.{part}"
                )
        missing = [part for part in parts if ratio and part not in ratio]
        if missing:
            raise InputError(f"data.ratio: says nothing of {missing[0]}; give every part a share")
        if isinstance(self.batch_size, int) and len(parts) * MIN_SHARE > self.batch_size:
            raise InputError(
                f"data.batch_size={self.batch_size}: must be at least {len(parts) * MIN_SHARE}, {MIN_SHARE} images of"
                f" each of {len(parts)} parts: batch normalisation cannot use a single one"
            )


def _table(name: str, value: Any) -> Any:
    """A table that came as text, since its names are not ASCII; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        table = yaml.safe_load(AFTER_COLON.sub(": ", value))
    except yaml.YAMLError:
        table = None
    if not isinstance(table, dict):
        raise InputError(f"data.{name}={value}: is no table; write {{NAME: VALUE, NAME: VALUE}}")
    return table


def _check_megapixels(most: float) -> None:
    if not 0 < most <= MAX_MEGAPIXELS:
        raise InputError(
            f"data.max_megapixels={most}: must be above 0 and at most {MAX_MEGAPIXELS}, which is what Pillow opens"
        )


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"data.{name}={value}: must be at least {least}")
