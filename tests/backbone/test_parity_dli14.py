"""d-li14's layout, which no package ships: a flat Sequential with the same arithmetic, written here from its names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from backbone import MobileNetV2, MobileNetV2Config, Padding, load
from backbone.families.mobilenet_v2 import TABLE_2
from backbone.weights import read
from tests.backbone.foreign import classified, images, randomise

if TYPE_CHECKING:
    from pathlib import Path


def layers(cin: int, cout: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(cout)]


class Block(nn.Module):
    def __init__(self, cin: int, cout: int, t: int, stride: int) -> None:
        super().__init__()
        hidden = cin * t
        expand = [*layers(cin, hidden), nn.ReLU6()] if t > 1 else []
        self.conv = nn.Sequential(
            *expand, *layers(hidden, hidden, 3, stride, hidden), nn.ReLU6(), *layers(hidden, cout)
        )
        self.adds = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.adds else y


class Flat(nn.Module):
    def __init__(self, width: float) -> None:
        super().__init__()
        specs = MobileNetV2Config(width=width).specs
        cin = specs["stem"].channels
        blocks: list[nn.Module] = [nn.Sequential(*layers(3, cin, 3, 2), nn.ReLU6())]
        for stage, row in TABLE_2.items():
            for index in range(row.n):
                blocks.append(Block(cin, specs[stage].channels, row.t, 1 if index else row.s))
                cin = specs[stage].channels
        self.features = nn.Sequential(*blocks)
        self.conv = nn.Sequential(*layers(cin, specs["last"].channels), nn.ReLU6())
        self.classifier = nn.Linear(specs["last"].channels, 1000)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.conv(self.features(x)).mean((2, 3)))
        return logits


@pytest.mark.parametrize("width", [0.1, 0.25, 0.5, 1.0])
def test_dli14(width: float, tmp_path: Path) -> None:
    model = randomise(Flat(width))
    path = tmp_path / "model.pth"
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in model.state_dict().items()}}, path)
    backbone = MobileNetV2(width=width).eval()
    report = load(str(path), backbone)
    assert (report.origin, report.fresh) == ("d-li14", [])
    assert sorted(report.unused) == ["classifier.bias", "classifier.weight"]
    assert (backbone.padding, backbone.bn_eps, backbone.input_mean[0]) == (Padding.symmetric, 1e-5, 0.485)
    with torch.no_grad():
        ours = classified(backbone(images(65, 64)), read(str(path)))
        torch.testing.assert_close(ours, model(images(65, 64)), atol=1e-5, rtol=1e-5)
