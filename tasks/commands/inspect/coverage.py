"""What share of the objects meets a default box of SSDLite, and what would raise it.

An object that meets none is learned by its one best default box only. Shapes: M objects, A default boxes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from heads.ssdlite.box_coder import to_xyxy
from heads.ssdlite.config import AUTO
from heads.ssdlite.default_boxes import configured_scales, default_boxes, map_cells
from heads.ssdlite.fitted_scales import fitted_scales
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
GROWTH = (1.5, 2.0)
"""Factors of the image size that are tried."""
FINER = ("c3.expand", "c3")
"""Levels of stride 8, the first that a backbone has, which small objects need beside smaller scales."""
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
    """What is tried, and what share of the objects it covers.

    Attributes:
        words: of the command, by which it differs from the configuration.
        scales: of the maps, the one behind the last included.
    """

    words: list[str]
    scales: list[float]
    image_size: int
    by_size: dict[str, Covered]

    @property
    def share(self) -> float:
        return self.by_size["all"].share or 0.0

    @property
    def listed(self) -> str:
        """Scales of the maps as the user would give them."""
        return ", ".join(f"{scale:.3g}" for scale in self.scales[:-1])

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
        labels: (M,).
        image_size: configured side of the model's input in pixels; sizes of objects are those at it.
    """

    def __init__(
        self,
        config: SSDLiteConfig,
        specs: Mapping[str, FeatureSpec],
        boxes_xyxy_rel: Tensor,
        labels: Tensor,
        image_size: int,
    ) -> None:
        self.config, self.specs, self.image_size = config, specs, image_size
        self.boxes, self.labels = boxes_xyxy_rel, labels
        areas = (boxes_xyxy_rel[:, 2:] - boxes_xyxy_rel[:, :2]).prod(dim=1) * image_size**2
        self.sizes = {"all": torch.ones(len(areas), dtype=torch.bool)} | {
            name: (areas >= least) & (areas < most) for name, (least, most) in AREAS.items()
        }

    def __call__(self, *, is_fitted: bool, is_finer: bool = False, growth: float = 1.0) -> Setting:
        """One setting.

        Args:
            is_fitted: the scales are fitted to the objects, as `head.scales=auto` does it.
            is_finer: one level more, of stride 8, and six boxes a cell there.
            growth: factor of the image size.
        """
        config, words = self.config, list[str]()
        size = self.image_size if growth == 1.0 else round(self.image_size * growth / 32) * 32
        if is_finer:
            taps = [next(name for name in FINER if name in self.specs), *config.taps]
            config = replace(config, taps=taps, three_boxes_first=False)
            words += [f"head.taps=[{','.join(taps)}]", "head.three_boxes_first=false"]
        if is_fitted:
            config = replace(config, scales=AUTO)
            words += ["head.scales=auto"] * (self.config.scales != AUTO)
        if size != self.image_size:
            words.append(f"transform.image_size={size}")
        cells = map_cells(config, self.specs, size)
        scales = configured_scales(config, len(cells))
        if is_fitted:
            scales = fitted_scales(self.boxes, self.labels, cells, scales, config)
        met = best_overlap(self.boxes, to_xyxy(default_boxes(cells, config, scales))) >= config.match_iou
        shares = {
            name: Covered(int(which.sum()), met[which].float().mean().item() if which.any() else None)
            for name, which in self.sizes.items()
        }
        return Setting(words, scales, size, shares)


def coverage(
    data: DetectionData, config: SSDLiteConfig, specs: Mapping[str, FeatureSpec], image_size: int
) -> Coverage | None:
    """Coverage of the objects of a split; None if it has none.

    What is proposed is the first of fitted scales, these with a finer level, and both with larger images, that nothing
    after it beats by `WORTH`.
    """
    boxes = torch.from_numpy(np.concatenate([boxes for boxes, _ in data.boxes()]))
    labels = torch.from_numpy(np.concatenate([labels for _, labels in data.boxes()]))
    if not len(boxes):
        return None
    is_fitted = config.scales == AUTO
    trial = Trial(config, specs, boxes, labels, image_size)
    now = trial(is_fitted=is_fitted)
    has_finer = bool({*FINER} & {*specs}) and not {*FINER} & {*config.taps}
    ways = [(finer, growth) for growth in (1.0, *GROWTH) for finer in (False, True) if has_finer or not finer]
    some = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(0))[:SAMPLE]
    attempt = Trial(config, specs, boxes[some], labels[some], image_size)
    reached = attempt(is_fitted=is_fitted)
    best, way = reached, None
    for finer, growth in ways:
        found = attempt(is_fitted=True, is_finer=finer, growth=growth)
        if _spares(found, reached) and found.share >= best.share + WORTH:
            best, way = found, (finer, growth)
    if way is None:
        return Coverage(config.match_iou, now, None)
    better = trial(is_fitted=True, is_finer=way[0], growth=way[1])
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
        text += "; no other scales, level or image size that were tried cover more: cut the images into parts"
    else:
        text += f", {found.better.share:.0%} would with {' '.join(found.better.words)}"
    return [Finding(Severity.warning if poor else Severity.note, "default boxes", text, [], "train")]
