"""What default boxes cover, against torchvision's IoU, and what is proposed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from backbone.families.mobilenet_v2 import MobileNetV2Config
from heads.build import build_head
from heads.ssdlite.box_coder import to_xyxy
from heads.ssdlite.config import SSDLiteConfig
from tasks.commands.inspect.coverage import coverage, report_coverage
from tasks.commands.inspect.findings import Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.data.splits import DetectionData

SPECS = MobileNetV2Config().specs


class Drawn:
    """Boxes without images."""

    def __init__(self, boxes: NDArray[np.float32]) -> None:
        self._boxes = boxes

    def boxes(self) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        return [(self._boxes, np.zeros(len(self._boxes), np.int64))]


def squares(side: float, count: int) -> NDArray[np.float32]:
    corners = np.random.default_rng(0).uniform(0, 1 - side, (count, 2))
    return np.concatenate([corners, corners + side], axis=1).astype(np.float32)


def test_shares_by_size() -> None:
    boxes = np.concatenate([squares(0.04, 60), squares(0.2, 50), squares(0.6, 40)])
    config = SSDLiteConfig()
    found = coverage(cast("DetectionData", Drawn(boxes)), config, SPECS, 320)
    assert found is not None
    head = build_head(config, SPECS, num_classes=1, image_size=320)
    met = (box_iou(torch.from_numpy(boxes), to_xyxy(head.default_boxes_cxcywh)).amax(dim=1) >= 0.5).float()
    shares = {name: (row.objects, row.share) for name, row in found.now.by_size.items()}
    assert shares["all"] == (150, pytest.approx(met.mean().item()))
    assert shares["small"] == (60, pytest.approx(met[:60].mean().item()))
    assert shares["medium"] == (50, pytest.approx(met[60:110].mean().item()))
    assert shares["large"] == (40, pytest.approx(met[110:].mean().item()))


def test_what_is_proposed_covers_what_it_says() -> None:
    boxes = squares(0.07, 200)
    found = coverage(cast("DetectionData", Drawn(boxes)), SSDLiteConfig(), SPECS, 320)
    assert found is not None
    better = found.better
    assert better is not None
    assert found.now.share < 0.5 < better.share
    assert better.words == ["head.taps=[c3.expand,c4.expand,last]", "head.three_boxes_first=false", "head.scales=auto"]
    config = SSDLiteConfig(taps=["c3.expand", "c4.expand", "last"], three_boxes_first=False, scales=better.scales[:-1])
    head = build_head(config, SPECS, num_classes=1, image_size=better.image_size)
    met = box_iou(torch.from_numpy(boxes), to_xyxy(head.default_boxes_cxcywh)).amax(dim=1) >= 0.5
    assert better.share == pytest.approx(met.float().mean().item())
    (finding,) = report_coverage(found)
    assert finding.severity is Severity.warning
    assert " ".join(better.words) in finding.text


def test_scales_of_one_s_own_are_looked_at_as_fitted_ones_are() -> None:
    """Squares of .2 meet no box where the smallest scale is .5; with fitted scales they do without another level."""
    given = SSDLiteConfig(scales=[0.5, 0.6, 0.7, 0.8, 0.9, 0.95], three_boxes_first=False, aspect_ratios=[1.0])
    found = coverage(cast("DetectionData", Drawn(squares(0.2, 100))), given, SPECS, 320)
    assert found is not None
    assert found.now.scales == [*given.scales, 1.0]
    assert found.now.share == 0
    assert found.better is not None
    assert found.better.words == ["head.scales=auto"]
    fitted = SSDLiteConfig(scales="auto", three_boxes_first=False, aspect_ratios=[1.0])
    found = coverage(cast("DetectionData", Drawn(squares(0.2, 100))), fitted, SPECS, 320)
    assert found is not None
    assert found.now.share == 1
    assert found.better is None


def test_well_covered_and_empty() -> None:
    found = coverage(cast("DetectionData", Drawn(squares(0.5, 100))), SSDLiteConfig(), SPECS, 320)
    assert found is not None
    assert found.now.share == 1
    assert found.better is None
    assert report_coverage(found) == []
    assert coverage(cast("DetectionData", Drawn(np.zeros((0, 4), np.float32))), SSDLiteConfig(), SPECS, 320) is None


def test_too_small_for_anything() -> None:
    found = coverage(cast("DetectionData", Drawn(squares(0.004, 50))), SSDLiteConfig(), SPECS, 320)
    assert found is not None
    (finding,) = report_coverage(found)
    assert "0% of the training objects meet" in finding.text
    assert "cut the images into parts" in finding.text
