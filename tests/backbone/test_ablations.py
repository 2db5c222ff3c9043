"""The papers' ablations: what each switch changes, and that it changes nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from backbone import InputError, MobileNetV2, MobileNetV2Config, MobileNetV3LargeConfig
from backbone.architecture import Shortcut
from backbone.blocks import Block
from backbone.families.mobilenet_v3 import ReducedTail, SqueezeOf
from tasks.commands.profile.models import classifier_cost
from tests.backbone.foreign import randomise

if TYPE_CHECKING:
    from torch import Tensor


def blocks_of(backbone: nn.Module) -> list[Block]:
    return [module for module in backbone.modules() if isinstance(module, Block)]


def by_hand(backbone: MobileNetV2, x: Tensor, *, shortcut: str, linear: bool) -> Tensor:
    """The seventeen blocks of Table 2, one after the other."""
    y: Tensor = backbone.stem(x)
    wide, fine = None, False
    for block in blocks_of(backbone):
        expanded = block.expand(y)
        grows = not isinstance(block.expand, nn.Identity)
        if shortcut == "expansion" and grows and fine and wide is not None and wide.shape == expanded.shape:
            expanded = expanded + wide
        z = block.project.norm(block.project.conv(block.depthwise(expanded)))
        z = z if linear else z.clamp(0, 6)
        y = y + z if shortcut == "bottleneck" and y.shape == z.shape else z
        assert isinstance(block.depthwise, nn.Module)
        wide, fine = (expanded if grows else None), block.depthwise.conv.stride == (1, 1)  # type: ignore[union-attr]
    last: Tensor = backbone.last(y)
    return last


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("shortcut", list(Shortcut.__members__))
def test_against_the_plain_way(shortcut: str, linear: bool) -> None:
    backbone = MobileNetV2(width=0.35, shortcut=shortcut, linear_bottleneck=linear)
    randomise(backbone)
    backbone.double()
    torch.manual_seed(0)
    x = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = by_hand(backbone, x, shortcut=shortcut, linear=linear)
        torch.testing.assert_close(backbone(x)["last"], expected, atol=1e-12, rtol=1e-12)


def test_as_many_sums_of_either_kind_and_the_same_parameters() -> None:
    """Ten sums of Figure 6b's two kinds, and none; the tensors are those of the paper's network in all."""
    joined = {}
    for name in Shortcut.__members__:
        blocks = blocks_of(MobileNetV2(shortcut=name, linear_bottleneck=False))
        joined[name] = (sum(b.shortcut for b in blocks), sum(b.adds_expansion for b in blocks))
        keys = {key: value.shape for key, value in MobileNetV2(width=0.35, shortcut=name).state_dict().items()}
        assert keys == {key: value.shape for key, value in MobileNetV2(width=0.35).state_dict().items()}
    assert joined == {"bottleneck": (10, 0), "expansion": (0, 10), "none": (0, 0)}


def test_expansion_of_all_blocks_but_the_first() -> None:
    built = MobileNetV2Config(expansion=3).built
    blocks = [block for row in built.stages.values() for block in row]
    channels = [built.stem.channels, *(block.channels for block in blocks)]
    assert [block.expanded for block in blocks] == [None, *(3 * n for n in channels[1:-1])]


def test_the_old_last_stage_of_v3() -> None:
    """Figure 5: 960 channels wide, 320 out, then 1280 before pooling; about 30 M multiply-adds more."""
    old = MobileNetV3LargeConfig(efficient_last=False)
    built = old.built
    [block] = built.stages["stage7"]
    assert (block.expanded, block.channels, block.kernel, block.squeeze) == (960, 320, 3, None)
    assert built.last is not None
    assert built.last.channels == 1280
    assert built.hidden is None
    assert (built.levels["c5"], old.specs["c5"].channels) == ("stage7", 320)
    cells = 7 * 7
    before = cells * (160 * 960 + 9 * 960 + 960 * 320 + 320 * 1280) + 1280 * 1000
    efficient = cells * 160 * 960 + 960 * 1280 + 1280 * 1000
    costs = [classifier_cost(config, 224).multiply_adds for config in (old, MobileNetV3LargeConfig())]
    assert costs[0] - costs[1] == before - efficient == pytest.approx(30e6, rel=0.15)


def test_squeeze_of_the_bottleneck() -> None:
    """By hand: a quarter of the block's input, at least 8, in multiples of 8; nothing else changes."""
    ours, usual = MobileNetV3LargeConfig(squeeze_of=SqueezeOf.bottleneck).built, MobileNetV3LargeConfig().built
    inner = [block.squeeze for row in ours.stages.values() for block in row if block.squeeze]
    assert inner == [8, 16, 16, 24, 32, 32, 40, 40]
    plain = [replace(block, squeeze=None) for row in ours.stages.values() for block in row]
    assert plain == [replace(block, squeeze=None) for row in usual.stages.values() for block in row]


@pytest.mark.parametrize(("zero_init", "scale"), [(True, 0.0), (False, 1.0)])
def test_blocks_start_as_their_shortcut_or_not(zero_init: bool, scale: float) -> None:
    joined = [block for block in blocks_of(MobileNetV2(width=0.35, zero_init=zero_init)) if block.shortcut]
    assert {float(value) for block in joined for value in block.project.norm.weight.detach()} == {scale}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: MobileNetV2Config(linear_bottleneck=False, weights="a.pth"),
            "backbone.linear_bottleneck=false: computes something else than backbone.weights=a.pth were trained for",
        ),
        (lambda: MobileNetV2Config(shortcut=Shortcut.none, weights="a.pth"), "backbone.shortcut=none: computes"),
        (lambda: MobileNetV3LargeConfig(h_swish_from=16, weights="a.pth"), "backbone.h_swish_from: computes"),
        (
            lambda: MobileNetV3LargeConfig(efficient_last=False, reduced_tail=ReducedTail.detection),
            "backbone.efficient_last=false: is for the whole network, and backbone.reduced_tail=detection halves",
        ),
        (lambda: MobileNetV2Config(expansion=1), "backbone.expansion=1: must be 2 .. 20, or null"),
        (
            lambda: MobileNetV2Config(shortcut=Shortcut.expansion, output_stride=16),
            "backbone.shortcut=expansion: is for output stride 32, and this one is 16",
        ),
    ],
)
def test_bad_options(build: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()
