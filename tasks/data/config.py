"""Which data, at what size. Imports nothing heavy: a configuration is checked before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from backbone.errors import InputError

if TYPE_CHECKING:
    from tasks.data.splits import DataSplits

KINDS = ("detection",)
MIN_IMAGE_SIZE = 32
MIN_SCENE_SIZE = 64


class BadBoxes(Enum):
    """What to do with boxes that cannot be learned: NaN, no area, or outside the image.

    `error` stops before training and names the first. `drop` leaves them out and reports how many there were.
    """

    error = "error"
    drop = "drop"


@dataclass(kw_only=True, slots=True)
class AugmentConfig:
    """How training images are varied. Each number is the probability that it happens to an image; 0 turns it off."""

    photometric: bool = True
    """Vary brightness, contrast, hue and saturation."""
    zoom_out: float = 0.5
    """Put the image on a grey canvas with up to four times longer sides."""
    crop: float = 0.85
    """Cut out a part that keeps one object with an IoU of at least 0.1, 0.3, 0.5, 0.7 or 0.9, or any part."""
    flip: float = 0.5
    """Mirror left and right."""

    def __post_init__(self) -> None:
        for name in ("zoom_out", "crop", "flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"data.augment.{name}={getattr(self, name)}: must be a probability from 0 to 1")


@dataclass(kw_only=True, slots=True)
class DataConfig:
    """What every data set has."""

    image_size: int = 320
    """Side in pixels of the square that the model sees; images are stretched to it."""
    batch_size: int = 16
    """Images in a batch, per device."""
    epochs: int = 60
    """Passes over the training set that make sense here; `trainer.max_epochs` follows it."""
    workers: int | None = None
    """Processes that prepare batches, per device; 0 prepares them in the training process. None: by the cores."""
    bad_boxes: BadBoxes = BadBoxes.error
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        _check_at_least("image_size", self.image_size, MIN_IMAGE_SIZE)
        _check_at_least("batch_size", self.batch_size, 1)
        _check_at_least("epochs", self.epochs, 1)
        if self.workers is not None:
            _check_at_least("workers", self.workers, 0)

    def build(self, kind: str) -> DataSplits:
        """The splits of this data set, checked, as far as that goes without reading the images.

        Args:
            kind: what is annotated: "detection".

        Raises:
            InputError: something about the data does not fit; the message names the file and the remedy.
        """
        raise NotImplementedError(f"{type(self).__name__}.build")


@dataclass(kw_only=True, slots=True)
class ShapesConfig(DataConfig):
    """Scenes of geometric shapes, drawn at first use and kept in a cache folder."""

    root: str | None = None
    """Folder for the scenes; None: the user's cache folder."""
    train_scenes: int = 1200
    val_scenes: int = 200
    scene_size: int = 160
    """Side of the scenes in pixels, before they are resized to `image_size`."""
    seed: int = 0
    """Other scenes with another seed."""
    image_size: int = 128
    epochs: int = 10
    augment: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(photometric=False, zoom_out=0.0, crop=0.0, flip=0.5)
    )
    """The scenes vary enough by themselves."""

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        _check_at_least("train_scenes", self.train_scenes, 1)
        _check_at_least("val_scenes", self.val_scenes, 1)
        _check_at_least("scene_size", self.scene_size, MIN_SCENE_SIZE)
        _check_at_least("seed", self.seed, 0)

    def build(self, kind: str) -> DataSplits:
        """See `DataConfig.build`. Draws the scenes if they are not there yet."""
        _check_kind(kind)
        from tasks.data.shapes.splits import build_splits

        return build_splits(self)


@dataclass(kw_only=True, slots=True)
class CocoConfig(DataConfig):
    """COCO's layout: `annotations/instances_{split}.json` and a folder of images of the split's name."""

    root: str | None = None
    train_split: str = "train2017"
    val_split: str = "val2017"
    annotations: str | None = None
    """Annotation file that a results file is scored against; None: the one of `val_split`."""
    download: bool = False
    """Fetch COCO 2017 into `root` first, as far as it is not there."""

    def build(self, kind: str) -> DataSplits:
        """See `DataConfig.build`. Downloads first if asked to."""
        _check_kind(kind)
        from tasks.data.coco import build_splits

        return build_splits(self)


@dataclass(kw_only=True, slots=True)
class VocConfig(DataConfig):
    """PASCAL VOC's layout: `Annotations/*.xml`, `JPEGImages/`, `ImageSets/Main/{split}.txt`."""

    root: str | None = None
    classes: list[str] | None = None
    """Names of the classes in the order of their indices; None: all that occur in the annotations, sorted."""
    train_split: str = "train"
    val_split: str = "val"
    test_split: str | None = "test"
    """Used if its list exists."""

    def build(self, kind: str) -> DataSplits:
        """See `DataConfig.build`."""
        _check_kind(kind)
        from tasks.data.voc_detection import build_splits

        return build_splits(self)


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"data.{name}={value}: must be at least {least}")


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InputError(f"data set of kind {kind!r}: must be one of {', '.join(KINDS)}")
