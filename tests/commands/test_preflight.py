"""What a training says of its default boxes before it begins."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from backbone.features import FeatureSpec
from heads.ssdlite.config import SSDLiteConfig
from heads.ssdlite.head import SSDLite
from tasks.commands.preflight import report_coverage
from tasks.data.labels import LabelMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.data.splits import DetectionData

SPECS = {"near": FeatureSpec(24, 16), "far": FeatureSpec(32, 32)}


class Objects:
    """Squares of one side, each in an image of its own."""

    def __init__(self, side: float) -> None:
        self.side = side

    def boxes(self) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        corner = 0.5 - self.side / 2
        box = np.array([[corner, corner, corner + self.side, corner + self.side]], dtype=np.float32)
        return [(box, np.zeros(1, dtype=np.int64))] * 20


@pytest.mark.parametrize(
    ("side", "scales", "advice"),
    [
        (0.02, None, "head.scales=auto fits them, experiment=fine_tune with a finer level"),
        (0.016, "auto", "a finer level in head.taps or a larger transform.image_size has more"),
        (0.45, None, None),
    ],
)
def test_small_objects_are_told_what_has_boxes_for_them(
    side: float, scales: Any, advice: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    config = SSDLiteConfig(taps=["near", "far"], scales=scales)
    head = SSDLite(config, SPECS, num_classes=1, image_size=320)
    with caplog.at_level(logging.WARNING):
        report_coverage(cast("DetectionData", Objects(side)), LabelMap(["thing"], [1]), head)
    said = [record.getMessage() for record in caplog.records]
    if advice is None:
        assert said == []
    else:
        (warning,) = said
        assert warning.endswith(f"thing 0 % (median side {side:.2f} of the image); {advice}")
