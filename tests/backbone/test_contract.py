"""Every backbone delivers what its specs declare, and no more than was asked for."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import torch

from backbone import InputError, MobileNetV2, MobileNetV2Config, Padding
from backbone.build import build_backbone

CHANNELS = {
    0.35: [16, 8, 8, 16, 24, 32, 56, 112, 1280],
    0.5: [16, 8, 16, 16, 32, 48, 80, 160, 1280],
    0.75: [24, 16, 24, 24, 48, 72, 120, 240, 1280],
    1.0: [32, 16, 24, 32, 64, 96, 160, 320, 1280],
    1.3: [40, 24, 32, 40, 80, 128, 208, 416, 1664],
    1.4: [48, 24, 32, 48, 88, 136, 224, 448, 1792],
}
"""FACTS.md 1: stem, stages 1 to 7, last."""
STRIDES = {
    32: {"stem": 2, "stage1": 2, "stage2": 4, "stage3": 8, "stage4": 16, "stage5": 16, "stage6": 32, "stage7": 32},
    16: {"stem": 2, "stage1": 2, "stage2": 4, "stage3": 8, "stage4": 16, "stage5": 16, "stage6": 16, "stage7": 16},
    8: {"stem": 2, "stage1": 2, "stage2": 4, "stage3": 8, "stage4": 8, "stage5": 8, "stage6": 8, "stage7": 8},
}


@pytest.mark.parametrize("width", CHANNELS)
def test_channels_are_those_of_the_reference(width: float) -> None:
    specs = MobileNetV2Config(width=width).specs
    names = ["stem", *(f"stage{i}" for i in range(1, 8)), "last"]
    assert [specs[name].channels for name in names] == CHANNELS[width]


@pytest.mark.parametrize("output_stride", STRIDES)
def test_strides_stop_at_the_output_stride(output_stride: int) -> None:
    specs = MobileNetV2Config(output_stride=output_stride).specs
    assert {name: specs[name].stride for name in STRIDES[output_stride]} == STRIDES[output_stride]
    assert specs["last"].stride == output_stride


@pytest.mark.parametrize("padding", list(Padding))
@pytest.mark.parametrize("output_stride", [32, 16, 8])
@pytest.mark.parametrize("width", [0.1, *CHANNELS, 2.0])
def test_features_have_the_declared_shapes(width: float, output_stride: int, padding: Padding) -> None:
    names = list(MobileNetV2Config(width=width, output_stride=output_stride).specs)
    backbone = MobileNetV2(width=width, output_stride=output_stride, padding=padding, features=names).eval()
    for height, wide in itertools.pairwise([1, 7, 32, 33, 64]):
        with torch.no_grad():
            features = backbone(torch.zeros(1, 3, height, wide))
        assert list(features) == names
        for name, spec in backbone.specs.items():
            assert features[name].shape == (1, spec.channels, spec.size(height), spec.size(wide)), name


@pytest.fixture(scope="module")
def whole() -> list[str]:
    return list(MobileNetV2(width=0.1).state_dict())


@pytest.mark.parametrize("name", list(MobileNetV2Config().specs))
def test_nothing_beyond_a_feature_is_built_or_computed(name: str, whole: list[str]) -> None:
    backbone = MobileNetV2(width=0.1, features=[name]).eval()
    ran = []
    for path, module in backbone.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda module, args, output, path=path: ran.append(path))
    features = backbone(torch.randn(1, 3, 32, 32))
    assert list(features) == [name]
    built = {path for path, module in backbone.named_modules() if not list(module.children())}
    assert set(ran) == built
    kept = list(backbone.state_dict())
    assert kept == whole[: len(kept)]
    assert (len(kept) < len(whole)) is (name != "last")


def test_features_come_in_the_order_of_computation() -> None:
    backbone = MobileNetV2(width=0.1, features=["last", "stage2", "stage6.expand", "stage2"])
    assert list(backbone(torch.randn(2, 3, 64, 64))) == ["stage2", "stage6.expand", "last"]


def test_dilation_starts_after_the_block_that_would_have_strided() -> None:
    def rates(output_stride: int) -> dict[str, list[int]]:
        backbone = MobileNetV2(width=0.1, output_stride=output_stride, features=["last"])
        return {
            stage: [
                module.dilation[0]
                for name, module in backbone.get_submodule(stage).named_modules()
                if name.endswith("depthwise.conv") and isinstance(module, torch.nn.Conv2d)
            ]
            for stage in backbone.stages
        }

    at_16, at_8 = rates(16), rates(8)
    assert (at_16["stage5"], at_16["stage6"], at_16["stage7"]) == ([1, 1, 1], [1, 2, 2], [2])
    assert (at_8["stage4"], at_8["stage5"], at_8["stage6"], at_8["stage7"]) == ([1, 2, 2, 2], [2] * 3, [2, 4, 4], [4])


ALL = "stem, stage1.depthwise, stage1, stage2.expand, stage2.first, stage2.depthwise, stage2, c2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width=0: must be at least 0.1"),
        ({"width": -1.0}, "width=-1.0: must be at least 0.1"),
        ({"width": float("nan")}, "width=nan: must be at least 0.1"),
        ({"depth": 0.5}, "depth=0.5: must be at least 1"),
        ({"output_stride": 12}, "output_stride=12: must be one of (8, 16, 32)"),
        ({"features": ["stage9"]}, f"features=['stage9']: must be one or more of {ALL}"),
        ({"features": ["stage1.expand"]}, f"features=['stage1.expand']: must be one or more of {ALL}"),
        ({"features": []}, f"features=[]: must be one or more of {ALL}"),
        ({"features": "last"}, "features='last': must be a list of names, such as ['last']"),
        ({"padding": "valid"}, "padding='valid': must be one of symmetric, tf_same"),
        ({"bn_eps": 0.0}, "bn_eps=0.0: must be positive"),
        ({"bn_momentum": 0.0}, "bn_momentum=0.0: must be in (0, 1]; it is 1 - decay"),
        ({"bn_momentum": 1.5}, "bn_momentum=1.5: must be in (0, 1]"),
        ({"input_mean": [0.5, 0.5]}, "input_mean=[0.5, 0.5]: must have three values, one for each of R, G, B"),
        ({"input_std": [1.0, 0.0, 1.0]}, "input_std=[1.0, 0.0, 1.0]: all must be positive"),
        ({"split": 0}, "split=0: must be at least 1"),
        ({"freeze_at": "stage8"}, f"freeze_at=stage8: must be one of {ALL}"),
    ],
)
def test_bad_arguments_are_named_with_what_is_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        MobileNetV2(**options)
    assert "\n" not in str(caught.value)


def test_a_configuration_builds_what_it_says() -> None:
    config = MobileNetV2Config(width=0.35, output_stride=16, padding=Padding.tf_same, bn_momentum=0.01)
    backbone = build_backbone(config, ["stage4"])
    assert backbone.specs == config.specs
    assert backbone.padding is Padding.tf_same
    assert {m.momentum for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.01}
