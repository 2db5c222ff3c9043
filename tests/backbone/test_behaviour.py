"""Options change what they say and nothing else; the package stays light."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbone import MobileNetV2, MobileNetV2Config
from backbone.blocks import Block, ConvNormAct
from tests.backbone.foreign import largest_difference, randomise
from tests.processes import loaded_by


def images(side: int = 48, count: int = 2) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(3))


def whole_and_split(split: int, **options: Any) -> tuple[MobileNetV2, MobileNetV2]:
    whole, parts = MobileNetV2(**options), MobileNetV2(**options, split=split)
    randomise(whole)
    parts.load_state_dict(whole.state_dict())
    return whole, parts.eval()


@torch.no_grad()
def assert_split_is_exact(whole: MobileNetV2, parts: MobileNetV2, x: Tensor) -> None:
    """Equal at double precision; at single precision as near to that as the unsplit network, rounding alone between."""
    exact = copy.deepcopy(whole).double()(x.double())
    assert largest_difference(copy.deepcopy(parts).double()(x.double()), exact) < 1e-12
    rounding = largest_difference({name: f.double() for name, f in whole(x).items()}, exact)
    assert largest_difference({name: f.double() for name, f in parts(x).items()}, exact) < max(1e-5, 2 * rounding)


@pytest.mark.parametrize("output_stride", [32, 8])
@pytest.mark.parametrize("split", [2, 3, 4, 5])
def test_split_gives_the_same_answer(split: int, output_stride: int) -> None:
    names = list(MobileNetV2Config(width=0.5, output_stride=output_stride).specs)
    options = {"width": 0.5, "output_stride": output_stride, "padding": "tf_same", "features": names}
    assert_split_is_exact(*whole_and_split(split, **options), images(47))


@pytest.mark.slow
def test_split_at_224() -> None:
    assert_split_is_exact(*whole_and_split(4), images(224))


def test_a_split_block_is_equal_to_1e_5() -> None:
    """One block at single precision, before rounding has gone through the layers behind it."""
    whole, parts = whole_and_split(4)
    for (name, block), split in zip(whole.named_modules(), parts.modules(), strict=True):
        if isinstance(block, Block):
            first = block.expand.conv if isinstance(block.expand, ConvNormAct) else block.depthwise.conv
            x = torch.randn(1, first.in_channels, 14, 14, generator=torch.Generator().manual_seed(7))
            with torch.no_grad():
                torch.testing.assert_close(split(x), block(x), atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("split", [1, 2])
def test_checkpointing_leaves_gradients_and_statistics_bit_equal(split: int) -> None:
    names = ["stage3.expand", "stage6.expand", "last"]
    plain = MobileNetV2(width=0.35, features=names, split=split)
    thrifty = MobileNetV2(width=0.35, features=names, split=split, activation_checkpointing=True)
    thrifty.load_state_dict(plain.state_dict())
    for backbone in (plain, thrifty):
        sum(feature.square().mean() for feature in backbone(images(64)).values()).backward()
    for (name, ours), theirs in zip(thrifty.named_parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.equal(ours.grad, theirs.grad), name
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, thrifty.state_dict()[name]), name


def changed_by_a_step(backbone: MobileNetV2) -> set[str]:
    """Names of the tensors that one step of training changes."""
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=1.0)
    sum(feature.square().mean() for feature in backbone.train()(images(64)).values()).backward()
    optimiser.step()
    return {name for name, tensor in backbone.state_dict().items() if not torch.equal(before[name], tensor)}


@pytest.mark.parametrize("name", ["stem", "stage1", "stage3", "stage6.expand", "stage7", "last"])
def test_freeze_at_keeps_everything_up_to_a_feature(name: str) -> None:
    backbone = MobileNetV2(width=0.35, freeze_at=name, features=["stage3", "last"])
    frozen = {path for path, _ in MobileNetV2(width=0.35, features=[name]).named_parameters()}
    assert {path for path, p in backbone.named_parameters() if not p.requires_grad} == frozen
    if name == "last":
        assert not any(m.training for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))
        return
    changed = changed_by_a_step(backbone)
    kept = set(MobileNetV2(width=0.35, features=[name]).state_dict())
    assert not changed & kept
    assert all(path in changed for path in backbone.state_dict() if path not in kept and "running" in path)


def test_freeze_bn_keeps_statistics_and_trains_the_rest() -> None:
    backbone = MobileNetV2(width=0.35, freeze_bn=True)
    randomise(backbone)  # frozen statistics need weights that suit them, or nothing reaches the end
    changed = changed_by_a_step(backbone)
    assert not any("running" in name or "num_batches" in name for name in changed)
    assert any(name.endswith("norm.weight") for name in changed)


def test_an_import_brings_torch_and_safetensors_only() -> None:
    heavy = (
        "lightning pytorch_lightning hydra omegaconf torchvision albumentations cv2 h5py timm transformers tensorflow "
        "keras PIL scipy rich heads tasks conf"
    )
    there = loaded_by("import backbone, backbone.cost, backbone.weights; backbone.MobileNetV2, backbone.load")
    assert not there.intersection(heavy.split())
    assert {"torch", "safetensors"} <= there


def test_a_configuration_needs_no_torch() -> None:
    assert "torch" not in loaded_by("import backbone; backbone.MobileNetV2Config(width=0.5).specs")
