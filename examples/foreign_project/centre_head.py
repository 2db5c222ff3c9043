"""A detection head without default boxes: every cell of three features may be the centre of one object.

Shapes: N images, A cells of all features, K classes, P objects of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from backbone.errors import InputError
from heads.head import Head
from heads.ssdlite.postprocess import detect
from heads.structures import Detections, DetectionTargets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbone import Features, FeatureSpec

REACH = 4
"""Cells along an object that a feature is best for."""


class CentreOutputs(NamedTuple):
    """For every cell: class logits (N, A, K), and distances to the four edges (N, A, 4) before softplus."""

    logits: Tensor
    distances: Tensor


@dataclass(kw_only=True, slots=True)
class CentreHeadConfig:
    """What `head/centre.yaml` fills in; `tasks.run` calls `build`."""

    taps: list[str] = field(default_factory=lambda: ["c3", "c4", "c5"])
    channels: int = 64

    def build(self, specs: Mapping[str, FeatureSpec], *, num_classes: int, image_size: int) -> CentreHead:
        if missing := [tap for tap in self.taps if tap not in specs]:
            raise InputError(f"head.taps={list(self.taps)}: there is no {missing[0]}; there are {', '.join(specs)}")
        return CentreHead(self, specs, num_classes=num_classes, image_size=image_size)


class CentreHead(Head[CentreOutputs, DetectionTargets, Detections]):
    """One small network, shared by all features, each brought to the same channels first."""

    centres: Tensor
    sides: Tensor

    def __init__(
        self, config: CentreHeadConfig, specs: Mapping[str, FeatureSpec], *, num_classes: int, image_size: int
    ) -> None:
        super().__init__()
        self.taps = list(config.taps)
        self.num_classes = num_classes
        width = config.channels
        self.lateral = nn.ModuleList(nn.Conv2d(specs[tap].channels, width, 1) for tap in self.taps)
        self.tower = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, num_classes + 4, 1),
        )
        with torch.no_grad():
            self.get_submodule("tower.4").bias[:num_classes] = -4.0  # type: ignore[operator]  # few are objects

        cells = [specs[tap].size(image_size) for tap in self.taps]
        grids = [torch.cartesian_prod(*[(torch.arange(n) + 0.5) / n] * 2).flip(1) for n in cells]
        self.register_buffer("centres", torch.cat(grids), persistent=False)
        self.register_buffer("sides", torch.cat([torch.full((n * n, 1), 1 / n) for n in cells]), persistent=False)

    def forward(self, features: Features) -> CentreOutputs:
        maps = [self.tower(lateral(features[tap])) for tap, lateral in zip(self.taps, self.lateral, strict=True)]
        values = torch.cat([one.flatten(2) for one in maps], dim=2).transpose(1, 2)
        return CentreOutputs(values[..., : self.num_classes], values[..., self.num_classes :])

    def loss(self, outputs: CentreOutputs, targets: DetectionTargets) -> dict[str, Tensor]:
        """Every object teaches one cell; all cells learn where no object is. Divided by the objects."""
        logits = outputs.logits.float()
        image, position = ((targets.labels >= 0) & ~targets.crowd).nonzero(as_tuple=True)
        boxes = targets.boxes_xyxy_rel[image, position]
        cell = self.cell_of(boxes)
        wanted = torch.zeros_like(logits)
        wanted[image, cell, targets.labels[image, position]] = 1
        objects = max(len(image), 1)
        found = self.boxes(outputs.distances)[image, cell]
        return {
            "class_loss": sigmoid_focal_loss(logits, wanted, reduction="sum") / objects,
            "box_loss": generalized_box_iou_loss(found, boxes, reduction="sum") / objects,
        }

    def predict(self, outputs: CentreOutputs, sizes: Tensor) -> list[Detections]:
        scores, boxes = outputs.logits.float().sigmoid(), self.boxes(outputs.distances).clamp(0, 1)
        return detect(scores, boxes, sizes, score_threshold=0.01, nms_iou=0.6, max_detections=100)

    def boxes(self, distances: Tensor) -> Tensor:
        """Boxes_xyxy_rel (N, A, 4)."""
        edges = F.softplus(distances.float()) * self.sides
        return torch.cat([self.centres - edges[..., :2], self.centres + edges[..., 2:]], dim=-1)

    def cell_of(self, boxes_xyxy_rel: Tensor) -> Tensor:
        """The cell (P,) near the centre of each box (P, 4), of the feature whose cells fit its size."""
        centre = (boxes_xyxy_rel[:, :2] + boxes_xyxy_rel[:, 2:]) / 2
        longest = (boxes_xyxy_rel[:, 2:] - boxes_xyxy_rel[:, :2]).amax(dim=1, keepdim=True)
        sides = self.sides.T
        misfit = (longest.clamp(min=1e-6) / (REACH * sides)).log2().abs()
        return (misfit + torch.cdist(centre, self.centres) / sides).argmin(dim=1)
