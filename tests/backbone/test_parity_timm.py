"""Random weights of timm's models give their outputs here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

from backbone import InputError, MobileNetV2, Padding, load
from backbone.weights import read
from tests.backbone.foreign import caught, classified, images, largest_difference, randomise, stage_features

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

OPTIONS: dict[str, dict[str, Any]] = {
    "mobilenetv2_035": {"width": 0.35},
    "mobilenetv2_050": {"width": 0.5},
    "mobilenetv2_075": {"width": 0.75},
    "mobilenetv2_100": {"width": 1.0},
    "mobilenetv2_110d": {"width": 1.1, "depth": 1.2, "fixed_ends": True},
    "mobilenetv2_120d": {"width": 1.2, "depth": 1.4, "fixed_ends": True},
    "mobilenetv2_140": {"width": 1.4},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("size", [(64, 96), (65, 47)])
def test_timm(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    model: Any = randomise(timm.create_model(name))
    save_file(model.state_dict(), tmp_path / "model.safetensors")

    backbone = MobileNetV2(**OPTIONS[name], features=stage_features())
    report = load(str(tmp_path / "model.safetensors"), backbone)
    assert report.origin == "timm"
    assert report.fresh == []
    assert sorted(report.unused) == ["classifier.bias", "classifier.weight"]
    assert (backbone.padding, backbone.bn_eps) == (Padding.symmetric, 1e-5)

    if "depth" in OPTIONS[name]:
        options = " ".join(f"{key}={str(value).lower()}" for key, value in OPTIONS[name].items())
        with pytest.raises(InputError, match=f"they look like those of a backbone with {options}"):
            load(str(tmp_path / "model.safetensors"), MobileNetV2())

    modules = {"stem": model.bn1, "last": model.bn2}
    for index, stage in enumerate(model.blocks):
        modules[f"stage{index + 1}"] = stage
        if index:
            modules[f"stage{index + 1}.expand"] = stage[0].bn1
    with torch.no_grad(), caught(modules) as theirs:
        logits = model(images(*size))
        ours = backbone.eval()(images(*size))
    assert largest_difference(ours, theirs) < 1e-5
    weights = read(str(tmp_path / "model.safetensors"))
    torch.testing.assert_close(classified(ours, weights), logits, atol=1e-4, rtol=1e-5)
