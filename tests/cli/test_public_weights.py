"""Public weights bring the options along that they cannot do without; what the command says goes before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from conf.schema import register
from heads.lraspp.config import Gate, Pool
from tasks.cli.compose import read

if TYPE_CHECKING:
    from pathlib import Path


def composed(weights: dict[str, Any], folder: Path, *words: str) -> Any:
    torch.save(weights, folder / "model.pth")
    register()
    always = ("mode=evaluate", "data=shapes", "backbone=mobilenet_v3_large", f"checkpoint={folder / 'model.pth'}")
    config, _ = read([*always, *words])
    return config


def test_of_a_segmenter(tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models.segmentation")
    weights = models.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None).state_dict()
    config = composed(weights, tmp_path, "task=segmentation", "head=lraspp", "head.gate=hard_sigmoid")
    assert (config.head.low_tap, config.head.pool, config.head.gate_bias) == ("stage3.first", Pool.whole, False)
    assert config.head.gate is Gate.hard_sigmoid
    assert config.backbone.output_stride == 16
