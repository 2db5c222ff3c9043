"""Random weights of transformers' models give their outputs here, at odd and even sizes and every output stride."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

from backbone import MobileNetV2, Padding, load
from backbone.families.mobilenet_v2 import TABLE_2
from backbone.weights import read
from tests.backbone.foreign import caught, classified, images, largest_difference, randomise, stage_features

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
SIZES = [(64, 96), (65, 47), (33, 80)]


def feature_modules(model: Any) -> dict[str, nn.Module]:
    """By our names, of a `MobileNetV2Model`."""
    blocks = [model.conv_stem, *model.layer]
    modules, index = {"stem": model.conv_stem.first_conv, "last": model.conv_1x1}, 0
    for stage, row in TABLE_2.items():
        if row.t > 1:
            modules[f"{stage}.expand"] = blocks[index].expand_1x1
        index += row.n
        modules[stage] = blocks[index - 1]
    return modules


@pytest.mark.parametrize("size", SIZES[:2])
@pytest.mark.parametrize("width", [0.35, 0.75, 1.0, 1.4])
def test_classification(width: float, size: tuple[int, int], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MobileNetV2Config(depth_multiplier=width, num_labels=1001)
    model = randomise(transformers.MobileNetV2ForImageClassification(config))
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), path)

    backbone = MobileNetV2(width=width, features=stage_features())
    report = load(str(path), backbone)
    assert report.origin == "Hugging Face"
    assert report.fresh == []
    assert sorted(report.unused) == ["classifier.bias", "classifier.weight"]
    assert (backbone.padding, backbone.bn_eps) == (Padding.tf_same, 1e-3)
    assert backbone.input_mean == backbone.input_std == (0.5, 0.5, 0.5)

    with torch.no_grad(), caught(feature_modules(model.mobilenet_v2)) as theirs:
        logits = model(images(*size)).logits
        ours = backbone.eval()(images(*size))
    assert largest_difference(ours, theirs) < 1e-5
    background_dropped = classified(ours, read(str(path)))
    torch.testing.assert_close(background_dropped, logits[:, 1:], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_deeplab(output_stride: int, size: tuple[int, int], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MobileNetV2Config(output_stride=output_stride, num_labels=21)
    model = randomise(transformers.MobileNetV2ForSemanticSegmentation(config))
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), path)

    backbone = MobileNetV2(output_stride=output_stride, features=stage_features())
    report = load(str(path), backbone)
    assert report.fresh == []
    assert {name.rpartition(".")[0].rpartition(".")[0] for name in report.unused} == {
        f"segmentation_head.{part}" for part in ("conv_pool", "conv_aspp", "conv_projection", "classifier")
    }
    with torch.no_grad(), caught(feature_modules(model.mobilenet_v2)) as theirs:
        model(images(*size))
        ours = backbone.eval()(images(*size))
    assert largest_difference(ours, theirs) < 1e-5


def test_the_bare_model_and_a_finetuned_classifier(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MobileNetV2Config(depth_multiplier=0.35, num_labels=7)
    model = transformers.MobileNetV2ForImageClassification(config)
    save_file(model.state_dict(), tmp_path / "seven.safetensors")
    save_file(model.mobilenet_v2.state_dict(), tmp_path / "bare.safetensors")
    assert read(str(tmp_path / "seven.safetensors")).tensors["classifier.weight"].shape == (7, 1280)
    report = load(str(tmp_path / "bare.safetensors"), MobileNetV2(width=0.35))
    assert (report.fresh, report.unused) == ([], [])
