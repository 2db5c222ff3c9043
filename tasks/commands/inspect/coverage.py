"""What share of the objects meets a default box of SSDLite, and what would raise it.

An object that meets none is learned by its one best default box only. Shapes: M objects, A default boxes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from heads.ssdlite.box_coder import to_xyxy
from heads.ssdlite.default_boxes import default_boxes, map_cells
from heads.ssdlite.matcher import best_overlap
from tasks.commands.inspect.findings import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from backbone.features import FeatureSpec
    from heads.ssdlite.config import SSDLiteConfig
    from tasks.data.splits import DetectionData

AREAS = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}
"""COCO's sizes, in square pixels of the model's input."""
SAMPLE = 1000
"""Objects that candidates are tried on."""
MIN_SCALES = (0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3)
MAX_SCALES = (0.6, 0.75, 0.95)
GROWTH = (1.5, 2.0)
"""Factors of the image size that are tried where other scales do not help."""
WORTH = 0.03
"""A gain below this share of the objects is not proposed."""
LOSS = 0.02
"""What raises the share of all objects may lower that of any size by this much."""
POOR = 0.5


@dataclass(slots=True)
class Covered:
    """Objects of one size, and the share of them that meets a default box; None where there are none."""

    objects: int
    share: float | None


@dataclass(slots=True)
class Setting:
    """What is tried, and what share of the objects it covers."""

    min_scale: float
    max_scale: float
    image_size: int
    by_size: dict[str, Covered]

    @property
    def share(self) -> float:
        return self.by_size["all"].share or 0.0

    def words(self) -> str:
        return (
            f"head.min_scale={self.min_scale:g} head.max_scale={self.max_scale:g}"
            f" transform.image_size={self.image_size}"
        )

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Coverage:
    """The configured default boxes, and what would cover more; None if nothing that was tried does."""

    iou: float
    now: Setting
    better: Setting | None

    def plain(self) -> dict[str, Any]:
        return asdict(self)


class Trial:
    """Tries default boxes on objects.

    Args:
        config: of the head.
        specs: of the backbone.
        boxes_xyxy_rel: (M, 4).
        image_size: configured side of the model's input in pixels; sizes of objects are those at it.
    """

    def __init__(
        self, config: SSDLiteConfig, specs: Mapping[str, FeatureSpec], boxes_xyxy_rel: Tensor, image_size: int
    ) -> None:
        self.config = config
        self.specs = specs
        self.boxes = boxes_xyxy_rel
        areas = (boxes_xyxy_rel[:, 2:] - boxes_xyxy_rel[:, :2]).prod(dim=1) * image_size**2
        self.sizes = {"all": torch.ones(len(areas), dtype=torch.bool)} | {
            name: (areas >= least) & (areas < most) for name, (least, most) in AREAS.items()
        }

    def __call__(self, min_scale: float, max_scale: float, image_size: int) -> Setting:
        cells = map_cells(self.config, self.specs, image_size)
        config = replace(self.config, scales=None, min_scale=min_scale, max_scale=max_scale)
        overlap = best_overlap(self.boxes, to_xyxy(default_boxes(cells, config)))
        met = overlap >= self.config.match_iou
        shares = {
            name: Covered(int(which.sum()), met[which].float().mean().item() if which.any() else None)
            for name, which in self.sizes.items()
        }
        return Setting(min_scale, max_scale, image_size, shares)


def coverage(
    data: DetectionData, config: SSDLiteConfig, specs: Mapping[str, FeatureSpec], image_size: int
) -> Coverage | None:
    """Coverage of the objects of a split; None if it has none, or the head has `scales` of its own."""
    if config.scales is not None:
        return None
    boxes = torch.from_numpy(np.concatenate([boxes for boxes, _ in data.boxes()]))
    if not len(boxes):
        return None
    now = Trial(config, specs, boxes, image_size)(config.min_scale, config.max_scale, image_size)
    some = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(0))[:SAMPLE]
    attempt = Trial(config, specs, boxes[some], image_size)
    reached = attempt(config.min_scale, config.max_scale, image_size)
    best = reached
    lows = sorted({config.min_scale, *MIN_SCALES}, key=lambda scale: abs(scale - config.min_scale))
    highs = sorted({config.max_scale, *MAX_SCALES}, key=lambda scale: abs(scale - config.max_scale))
    for size in (image_size, *(round(image_size * factor / 32) * 32 for factor in GROWTH)):
        tried = [attempt(low, high, size) for high in highs for low in lows if low < high]
        found = max((one for one in tried if _spares(one, reached)), key=lambda one: round(one.share, 2), default=best)
        if found.share >= best.share + WORTH:
            best = found
    if best is reached:
        return Coverage(config.match_iou, now, None)
    better = Trial(config, specs, boxes, image_size)(best.min_scale, best.max_scale, best.image_size)
    return Coverage(config.match_iou, now, better if better.share >= now.share + WORTH else None)


def _spares(setting: Setting, now: Setting) -> bool:
    """Whether objects of no size lose by it."""
    return all(
        (setting.by_size[size].share or 0.0) >= (covered.share or 0.0) - LOSS for size, covered in now.by_size.items()
    )


def report_coverage(found: Coverage) -> list[Finding]:
    """What to change, where something does; a warning where most objects meet no default box."""
    poor = found.now.share < POOR
    if found.better is None and not poor:
        return []
    text = f"{found.now.share:.0%} of the training objects meet a default box at IoU {found.iou:g}"
    if found.better is None:
        text += "; no other scale or image size that was tried covers more: cut the images into parts"
    else:
        text += f", {found.better.share:.0%} would with {found.better.words()}"
    return [Finding(Severity.warning if poor else Severity.note, "default boxes", text, [], "train")]
