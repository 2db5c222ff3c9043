"""What is in a split: sizes, classes, objects. Shapes: N images, B boxes, K classes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from heads.structures import VOID
from tasks.commands.inspect.findings import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tasks.commands.inspect.reading import Reading
    from tasks.data.labels import LabelMap
    from tasks.data.splits import ClassificationData, DetectionData

    Boxes: TypeAlias = list[tuple[NDArray[np.float32], NDArray[np.int64]]]

MAX_ASPECT = 3.0
"""An image longer than this is much distorted, or mostly cut away, on its way to a square."""


@dataclass(slots=True)
class Spread:
    """The least, the median and the largest of some numbers."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: NDArray[Any]) -> Spread | None:
        if not len(values):
            return None
        return cls(float(values.min()), float(np.median(values)), float(values.max()))


@dataclass(slots=True)
class ClassCount:
    """One class: in how many images it is, and how many objects (or, of masks, pixels) it has."""

    name: str
    images: int
    amount: int


@dataclass(slots=True)
class Counts:
    """A split.

    Attributes:
        images: all of them; `looked_at` were read, `unreadable` not successfully.
        width, height: in pixels.
        aspect: width / height.
        counted: what `ClassCount.amount` counts: "images", "objects" or "pixels".
        objects: without crowd regions; None where there are no boxes. So are the following three.
        objects_per_image: over all images.
        void: share of the pixels of masks that are void; None without masks.
    """

    images: int
    looked_at: int
    unreadable: int
    width: Spread | None
    height: Spread | None
    aspect: Spread | None
    counted: str
    classes: list[ClassCount]
    objects: int | None = None
    crowds: int | None = None
    without_objects: int | None = None
    objects_per_image: Spread | None = None
    void: float | None = None

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def count(reading: Reading, labels: LabelMap) -> Counts:
    """What is in a split, as far as it was read."""
    sizes = reading.sizes[reading.good]
    counts = Counts(
        images=len(reading.data),
        looked_at=reading.done,
        unreadable=int((~reading.good[: reading.done]).sum()),
        width=Spread.of(sizes[:, 1]),
        height=Spread.of(sizes[:, 0]),
        aspect=Spread.of(sizes[:, 1] / np.maximum(sizes[:, 0], 1)),
        counted="images",
        classes=[],
    )
    if hasattr(reading.data, "boxes"):
        _count_boxes(counts, cast("DetectionData", reading.data).boxes(), labels)
        counts.crowds = reading.crowds
    elif reading.has_masks:
        counts.counted = "pixels"
        amounts = zip(labels.names, reading.masks_with.tolist(), reading.pixels.tolist(), strict=False)
        counts.classes = [ClassCount(name, images, pixels) for name, images, pixels in amounts]
        counts.void = float(reading.pixels[VOID] / max(1, reading.pixels.sum()))
    elif hasattr(reading.data, "classes"):
        images = np.bincount(cast("ClassificationData", reading.data).classes(), minlength=labels.num_classes)
        counts.classes = [ClassCount(name, n, n) for name, n in zip(labels.names, images.tolist(), strict=True)]
    return counts


def _count_boxes(counts: Counts, boxes: Boxes, labels: LabelMap) -> None:
    per_image = np.array([len(classes) for _, classes in boxes])
    classes = np.concatenate([classes for _, classes in boxes])
    objects = np.bincount(classes, minlength=labels.num_classes)
    images = np.bincount(np.concatenate([np.unique(of_image) for _, of_image in boxes]), minlength=labels.num_classes)
    counts.counted = "objects"
    counts.classes = [ClassCount(*row) for row in zip(labels.names, images.tolist(), objects.tolist(), strict=True)]
    counts.objects = len(classes)
    counts.without_objects = int((per_image == 0).sum())
    counts.objects_per_image = Spread.of(per_image)


def report_classes(counts: Mapping[str, Counts]) -> list[Finding]:
    """Classes that cannot be learned, or whose figure rests on nothing."""
    there = {split: {row.name for row in held.classes if row.amount} for split, held in counts.items()}
    if "train" not in counts:
        text = "there is no training split; add one to train on this data"
        return [Finding(Severity.error, "no training data", text)]
    if counts["train"].classes and not there["train"]:
        text = "train: nothing is labelled, so there is nothing to learn; check the annotations"
        return [Finding(Severity.error, "nothing is labelled", text, split="train")]
    findings = _nowhere(counts["train"], set().union(*there.values()))
    for split, held in counts.items():
        unseen = [row.name for row in held.classes if row.name in there[split] - there["train"]]
        if unseen:
            text = f"{_some(unseen)}: in {split} but not in train, so never learned; add training images of them"
            findings.append(Finding(Severity.warning, "class without training data", text, unseen, split))
        absent = [row.name for row in held.classes if row.name in there["train"] - there[split]]
        if absent:
            text = f"{_some(absent)}: in train but not in {split}, so they have no figure there; add images of them"
            findings.append(Finding(Severity.note, f"class not in {split}", text, absent, split))
    return findings


def _nowhere(train: Counts, somewhere: set[str]) -> list[Finding]:
    """Classes that no split has; a warning where masks may count them from 1."""
    names = [row.name for row in train.classes if row.name not in somewhere]
    if not names:
        return []
    text = f"{_some(names)}: in no image that was read, so never learned; leave out what there is no more of"
    if train.counted != "pixels" or train.classes[0].name not in names:
        return [Finding(Severity.note, "class that occurs nowhere", text, names)]
    text = (
        f"{_some(names)}: in no mask that was read. None has the value 0, that of {train.classes[0].name}: where masks"
        " count classes from 1, each is taken for the one behind it; name a class for the value 0, too"
    )
    return [Finding(Severity.warning, "class that occurs nowhere", text, names)]


def report_shapes(reading: Reading, split: str) -> list[Finding]:
    """Images so long that little of them reaches the model."""
    good = np.flatnonzero(reading.good)
    sides = np.sort(reading.sizes[good], axis=1)
    long = good[sides[:, 1] > MAX_ASPECT * sides[:, 0]]
    if not len(long):
        return []
    names = [str(reading.data.path(position)) for position in reading.positions[long].tolist()]
    text = (
        f"{names[0]}: is more than {MAX_ASPECT:g} times as long as wide, and the model sees a square; cut such images"
        " into parts if what is on them comes out distorted"
    )
    return [Finding(Severity.note, "long image", text, names, split)]


def report_boxes(reading: Reading, split: str, image_size: int, least_px: float) -> list[Finding]:
    """Boxes that are written twice, and those that the model cannot see.

    Args:
        image_size: side of the model's input in pixels.
        least_px: boxes with a smaller side there are not taught.
    """
    data = cast("DetectionData", reading.data)
    twice, small, total = [], [], 0
    for position, (boxes, classes) in enumerate(data.boxes()):
        total += len(boxes)
        rows = np.concatenate([boxes, classes[:, None].astype(np.float32)], axis=1)
        if len(np.unique(rows, axis=0)) < len(rows):
            twice.append(str(data.path(position)))
        if len(boxes) and ((boxes[:, 2:] - boxes[:, :2]) * image_size < least_px).any():
            small.append(str(data.path(position)))
    findings = []
    if twice:
        text = f"{twice[0]}: the same box of the same class is written more than once; remove the others"
        findings.append(Finding(Severity.warning, "box written twice", text, twice, split))
    if small:
        text = (
            f"{small[0]}: has objects narrower than {least_px:g} pixel at transform.image_size={image_size}, which are"
            " not taught; raise transform.image_size, or cut the images into parts"
        )
        findings.append(Finding(Severity.warning, "object too small to see", text, small, split))
    return findings


def _some(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}"
