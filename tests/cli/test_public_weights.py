"""Public weights bring the options along that they cannot do without; what the command says goes before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from backbone.families.mobilenet_v3 import ReducedTail
from conf.schema import register
from heads.lraspp.config import Gate, Pool
from tasks.cli.compose import read
from tasks.data.transforms.config import Interpolation

if TYPE_CHECKING:
    from pathlib import Path

FLOAT = Interpolation.float_bilinear


def composed(weights: dict[str, Any], folder: Path, *words: str) -> Any:
    torch.save(weights, folder / "model.pth")
    register()
    mode = () if any(word.startswith("mode=") for word in words) else ("mode=evaluate",)
    always = (*mode, "data=shapes", "backbone=mobilenet_v3_large", f"checkpoint={folder / 'model.pth'}")
    config, _ = read([*always, *words])
    return config


def test_of_a_segmenter(tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models.segmentation")
    weights = models.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None).state_dict()
    config = composed(weights, tmp_path, "task=segmentation", "head=lraspp", "head.gate=hard_sigmoid")
    assert (config.head.low_tap, config.head.pool, config.head.gate_bias) == ("stage3.first", Pool.whole, False)
    assert config.head.gate is Gate.hard_sigmoid
    assert config.backbone.output_stride == 16


@pytest.mark.parametrize(("mode", "slots"), [("evaluate", 91), ("train", None)])
def test_of_a_detector(mode: str, slots: int | None, tmp_path: Path) -> None:
    """A training has the classes of its data alone."""
    models = pytest.importorskip("torchvision.models.detection")
    weights = models.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).state_dict()
    config = composed(weights, tmp_path, "task=detection", f"mode={mode}", "head.nms_iou=0.4")
    assert (config.head.class_slots, config.head.three_boxes_first, config.head.candidates) == (slots, False, 300)
    assert (config.head.nms_iou, config.transform.image_size, config.transform.interpolation) == (0.4, 320, FLOAT)
    assert config.backbone.reduced_tail is ReducedTail.detection
