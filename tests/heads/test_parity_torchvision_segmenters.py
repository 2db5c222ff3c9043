"""Random weights of torchvision's segmenters, backbone and head, give their logits and label maps here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F

from backbone import MobileNetV3Large, load
from backbone.weights import read
from heads.build import build_head
from heads.deeplabv3.config import Aspp, DeepLabV3Config
from heads.lraspp.config import Gate, LRASPPConfig, Pool
from tests.backbone.foreign import images, randomise

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.parametrize("size", [(64, 96), (65, 47), (113, 80)])
def test_lraspp(size: tuple[int, int], tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models.segmentation")
    model: Any = randomise(models.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None))
    path = tmp_path / "model.pth"
    torch.save(model.state_dict(), path)
    config = LRASPPConfig(
        low_tap="stage3.first", pool=Pool.whole, gate=Gate.sigmoid, gate_bias=False, aligned_corners=False
    )
    backbone = MobileNetV3Large(output_stride=16, features=[config.tap, config.low_tap])
    report = load(str(path), backbone)
    assert backbone.dilate_first
    head: Any = build_head(config, backbone.specs, num_classes=21, image_size=513)
    found = head.convert_state_dict(read(str(path)).tensors)
    assert sorted(report.unused) == sorted(name for name in model.state_dict() if name.startswith("classifier.")
                                           and not name.endswith("num_batches_tracked"))  # fmt: skip
    head.load_state_dict(found, strict=False)
    assert set(found) == {name for name in head.state_dict() if not name.endswith("num_batches_tracked")}
    with torch.no_grad():
        theirs = model(images(*size))["out"]
        ours = head.eval()(backbone.eval()(images(*size)))
    full = F.interpolate(ours, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(full, theirs, atol=1e-4, rtol=1e-5)
    masks = head.predict(ours, torch.tensor([size] * 2))
    agree = torch.stack([one.mask for one in masks]).long() == theirs.argmax(1)
    assert agree.float().mean() > 0.9999  # ties to the last digit


@pytest.mark.parametrize("size", [(64, 96), (65, 47)])
def test_deeplab(size: tuple[int, int], tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models.segmentation")
    model: Any = randomise(models.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, aux_loss=True))
    path = tmp_path / "model.pth"
    torch.save(model.state_dict(), path)
    config = DeepLabV3Config(aspp=Aspp.full, atrous_rates=[12, 24, 36], refine=True, aligned_corners=False)
    backbone = MobileNetV3Large(output_stride=16, features=[config.tap])
    load(str(path), backbone)
    head: Any = build_head(config, backbone.specs, num_classes=21, image_size=513)
    found = head.convert_state_dict(read(str(path)).tensors)
    assert set(found) == {name for name in head.state_dict() if not name.endswith("num_batches_tracked")}
    head.load_state_dict(found, strict=False)
    with torch.no_grad():
        theirs = model(images(*size))["out"]
        ours = head.eval()(backbone.eval()(images(*size)))
    full = F.interpolate(ours, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(full, theirs, atol=1e-4, rtol=1e-4)
