"""What is said of the training data before the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from heads.class_weights import AUTO as AUTO_WEIGHTS
from heads.linear.head import Linear
from heads.segmentation.head import SegmentationHead
from heads.ssdlite.box_coder import to_xyxy
from heads.ssdlite.config import AUTO
from heads.ssdlite.head import SSDLite
from heads.ssdlite.matcher import best_overlap
from heads.structures import VOID
from tasks.data.files.twins import twins
from tasks.data.transforms.whole import MIN_SIDE_PX
from tasks.distributed.group import is_first
from tasks.evaluators.detection import log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from tasks.data.labels import LabelMap
    from tasks.data.splits import ClassificationData, DataSplits, DetectionData, Images, JointSplits
    from tasks.model import VisionModel


COVERAGE_SAMPLE = 5000
"""Objects that are looked at to tell what the default boxes cover."""


COMPARED = 50_000
"""Images of train and val together whose files are compared."""
WEIGHED_IMAGES = 500
"""Masks that are looked at for the weights of classes, at most."""


POORLY_COVERED = 0.5


WORST = 4
"""Classes that are named when default boxes hardly meet them."""


def report_data(
    model: VisionModel, splits: DataSplits | JointSplits, labels: Mapping[str, LabelMap], image_size: int
) -> None:
    """Say of every detector how its default boxes meet the objects, and whether images of val are in train too."""
    for name, head in model.heads.items():
        if isinstance(head, SSDLite):
            boxes = cast("DetectionData", splits.of(name).train)
            report_coverage(boxes, labels[name], head)
            report_small(boxes, image_size)
    if is_first() and splits.train is not None:
        report_leak(splits.train, splits.val)


def report_leak(train: Images, val: Images) -> None:
    """Say whether files of val are in train too.

    It costs a look at the size of each file, and is left out for more than `COMPARED` images.
    """
    if len(train) + len(val) > COMPARED:
        return
    same = twins((train.path(i) for i in range(len(train))), [val.path(i) for i in range(len(val))])
    if same:
        one, other = same[0]
        first = f"{other} is listed in both" if one == other else f"{other} is byte for byte {one}"
        log.warning(
            "leak: %d of %d val images are in train too (%s): metrics on val are too good; mode=inspect lists them",
            len(same), len(val), first,
        )  # fmt: skip


def fit_default_boxes(model: VisionModel, splits: DataSplits | JointSplits) -> None:
    """Fit the default boxes of detectors with `head.scales=auto` to the training set."""
    for name, head in model.heads.items():
        if isinstance(head, SSDLite) and head.config.scales == AUTO:
            data = cast("DetectionData", splits.of(name).train)
            head.fit_scales(*(torch.from_numpy(np.concatenate(parts)) for parts in zip(*data.boxes(), strict=True)))
            log.info("default boxes: scales %s fit the training set", [f"{scale:g}" for scale in head.scales.tolist()])


def weigh_classes(model: VisionModel, splits: DataSplits | JointSplits) -> None:
    """Weigh the classes of heads with `head.class_weights=auto` by the labels or masks of the training set."""
    for name, head in model.heads.items():
        if not isinstance(head, Linear | SegmentationHead) or head.config.class_weights != AUTO_WEIGHTS:
            continue
        if isinstance(head, Linear):
            classes = cast("ClassificationData", splits.of(name).train).classes()
            head.weigh_classes(torch.from_numpy(np.bincount(classes, minlength=len(head.class_weights))))
        else:
            head.weigh_classes(_shares_of_pixels(splits.of(name).train, len(head.class_weights)))
        log.info("class weights: %s", [f"{weight:.2g}" for weight in head.class_weights.tolist()])


def _shares_of_pixels(images: Images, num_classes: int) -> Tensor:
    """(K,) share of every class in the pixels of the images where it occurs, of at most `WEIGHED_IMAGES`."""
    some = np.random.default_rng(0).permutation(len(images))[:WEIGHED_IMAGES]
    masks = [cast("NDArray[np.uint8]", images[index].mask) for index in some]
    counts = torch.from_numpy(np.stack([np.bincount(mask.ravel(), minlength=VOID + 1) for mask in masks]))
    counts = counts[:, :num_classes].double()
    there = counts.sum(dim=1, keepdim=True) * (counts > 0)
    return (counts.sum(dim=0) / there.sum(dim=0).clamp(min=1)).float()


def report_small(data: DetectionData, image_size: int) -> None:
    """Say how many objects have a side of less than a pixel at `image_size`."""
    boxes = np.concatenate([boxes for boxes, _ in data.boxes()])
    small = ((boxes[:, 2:] - boxes[:, :2]) * image_size < MIN_SIDE_PX).any(axis=1)
    if small.any():
        log.warning(
            "%d of %d training objects are narrower than %g pixel at transform.image_size=%d and are not taught",
            small.sum(), len(boxes), MIN_SIDE_PX, image_size,
        )  # fmt: skip


def report_coverage(data: DetectionData, labels: LabelMap, head: SSDLite) -> None:
    """Say what share of a split's objects meets a default box, and which classes hardly do.

    An object that meets none is learned by its one best default box only.
    """
    boxes = torch.from_numpy(np.concatenate([boxes for boxes, _ in data.boxes()]))
    classes = torch.from_numpy(np.concatenate([classes for _, classes in data.boxes()]))
    if len(boxes) == 0:
        return
    some = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(0))[:COVERAGE_SAMPLE]
    match_iou = head.config.match_iou
    covered = best_overlap(boxes[some], to_xyxy(head.default_boxes_cxcywh)) >= match_iou
    share = 100 * covered.float().mean().item()
    log.info("default boxes: %.0f %% of the objects meet one at IoU %g or more", share, match_iou)
    sides = (boxes[some][:, 2:] - boxes[some][:, :2]).prod(dim=1).sqrt()
    poor = []
    for index, name in enumerate(labels.names):
        of_class = classes[some] == index
        share = covered[of_class].float().mean().item()
        if share < POORLY_COVERED:
            poor.append(
                (share, f"{name} {100 * share:.0f} % (median side {sides[of_class].median():.2f} of the image)")
            )
    if poor:
        fitted = head.config.scales == AUTO
        log.warning(
            "default boxes: few objects of %d classes meet one: %s%s; %s",
            len(poor), ", ".join(text for _, text in sorted(poor)[:WORST]), " .." if len(poor) > WORST else "",
            "a finer level in head.taps or a larger transform.image_size has more" if fitted
            else "head.scales=auto fits them, experiment=fine_tune with a finer level",
        )  # fmt: skip
