"""Random weights of transformers' segmentation model, backbone and head, give its logits here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from backbone import MobileNetV2, load
from backbone.weights import read
from heads.build import build_head
from heads.deeplabv3.config import DeepLabV3Config
from tests.backbone.foreign import images, randomise

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.parametrize("size", [(64, 96), (65, 47), (33, 80)])
@pytest.mark.parametrize(("output_stride", "width"), [(8, 1.0), (16, 1.0), (16, 0.35)])
def test_deeplab(output_stride: int, width: float, size: tuple[int, int], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MobileNetV2Config(output_stride=output_stride, depth_multiplier=width, num_labels=21)
    model = randomise(transformers.MobileNetV2ForSemanticSegmentation(config))
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), path)

    head_config = DeepLabV3Config()
    backbone = MobileNetV2(width=width, output_stride=output_stride, features=[head_config.tap])
    report = load(str(path), backbone)
    head = build_head(head_config, backbone.specs, num_classes=21, image_size=513)
    found = head.convert_state_dict(read(str(path)).tensors)
    wanted = {name for name in head.state_dict() if not name.endswith("num_batches_tracked")}
    assert set(found) == wanted
    last = {name for name in report.unused if name.startswith("last.")}
    assert len(found) == len(set(report.unused) - last)
    head.load_state_dict(found, strict=False)

    with torch.no_grad():
        theirs = model(images(*size)).logits
        ours = head.eval()(backbone.eval()(images(*size)))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
