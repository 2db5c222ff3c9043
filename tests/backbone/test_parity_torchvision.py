"""Random weights of torchvision's model give its outputs here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from backbone import MobileNetV2, Padding, load
from backbone.families.mobilenet_v2 import TABLE_2
from backbone.weights import read
from tests.backbone.foreign import caught, classified, images, largest_difference, randomise, stage_features

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.0, 1.4])
@pytest.mark.parametrize("size", [(64, 96), (65, 47)])
def test_torchvision(width: float, size: tuple[int, int], tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    model: Any = randomise(models.mobilenet_v2(width_mult=width))
    torch.save(model.state_dict(), tmp_path / "model.pth")

    backbone = MobileNetV2(width=width, features=stage_features())
    report = load(str(tmp_path / "model.pth"), backbone)
    assert report.origin == "torchvision"
    assert report.fresh == []
    assert sorted(report.unused) == ["classifier.bias", "classifier.weight"]
    assert (backbone.padding, backbone.bn_eps) == (Padding.symmetric, 1e-5)
    assert backbone.input_mean == (0.485, 0.456, 0.406)

    modules, index = {"stem": model.features[0], "last": model.features[18]}, 1
    for stage, row in TABLE_2.items():
        if row.t > 1:
            modules[f"{stage}.expand"] = model.features[index].conv[0]
        index += row.n
        modules[stage] = model.features[index - 1]
    with torch.no_grad(), caught(modules) as theirs:
        logits = model(images(*size))
        ours = backbone.eval()(images(*size))
    assert largest_difference(ours, theirs) < 1e-5
    torch.testing.assert_close(classified(ours, read(str(tmp_path / "model.pth"))), logits, atol=1e-4, rtol=1e-5)
