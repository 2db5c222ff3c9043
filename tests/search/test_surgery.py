"""Channel surgery against the larger network with those channels' activations set to zero, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from backbone.architecture import Architecture, Shortcut
from backbone.architecture_file import to_plain
from backbone.errors import InputError
from backbone.families.mobilenet_v1 import mobilenet_v1
from backbone.families.mobilenet_v2 import mobilenet_v2
from backbone.families.mobilenet_v3 import LARGE, SMALL, mobilenet_v3
from backbone.families.searched import SearchedConfig
from backbone.mobilenet import MobileNet
from backbone.units import explicit, units, with_unit
from heads.build import build_head
from heads.deeplabv3.config import DeepLabV3Config
from heads.linear.config import LinearConfig
from heads.ssdlite.config import SSDLiteConfig
from tasks.model import VisionModel
from tasks.search.surgery import strongest, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from backbone.architecture import Architecture

NETWORKS: dict[str, Callable[[], Architecture]] = {
    "v1": lambda: mobilenet_v1(0.25),
    "v2": lambda: mobilenet_v2(0.35),
    "v3-large": lambda: mobilenet_v3(LARGE, 0.35),
    "v3-small": lambda: mobilenet_v3(SMALL, 0.75),
}


def model_of(architecture: Architecture) -> VisionModel:
    """With a head of every kind."""
    config = SearchedConfig(architecture=to_plain(architecture))
    configs: dict[str, Any] = {
        "classes": LinearConfig(),
        "boxes": SSDLiteConfig(taps=["c4.expand", "last"], extra_channels=[32, 32]),
        "pixels": DeepLabV3Config(tap="context"),
    }
    heads = {
        name: build_head(config_of, config.specs, num_classes=3, image_size=64) for name, config_of in configs.items()
    }
    taps = list(dict.fromkeys(tap for head in heads.values() for tap in head.taps))
    return VisionModel(MobileNet(config, taps), heads).double().eval()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def unsettled(model: nn.Module) -> None:
    """Give every normalisation statistics and factors as after training, so that no channel is zero by itself."""
    for norm in [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]:
        for tensor in (norm.weight.data, norm.running_var):
            assert tensor is not None
            tensor.uniform_(0.5, 1.5)
        for tensor in (norm.bias.data, norm.running_mean):
            assert tensor is not None
            tensor.normal_()


def tensors(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, torch.Tensor):
        yield outputs
        return
    for output in outputs.values() if isinstance(outputs, dict) else outputs:
        yield from tensors(output)


def removed(channels: int, kept: Tensor) -> list[int]:
    return sorted(set(range(channels)) - set(kept.tolist()))


def silence(module: nn.Module, gone: list[int]) -> None:
    """Set channels of what a module gives out to zero, wherever it is called."""

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, gone] = 0
        return output

    module.register_forward_hook(hook)


def silence_unit(model: VisionModel, architecture: Architecture, name: str, kept: dict[str, Tensor]) -> None:
    """Silence a unit by the modules that compute it, as a reader of the block would: not by the list of tensors."""
    unit = next(unit for unit in units(architecture) if unit.name == name)
    gone = removed(unit.channels, kept[unit.group])
    stage, *rest = name.split(".")
    blocks: list[Any] = list(model.backbone.get_submodule(stage).children())
    if rest[1:] == ["expanded"]:
        block = blocks[int(rest[0])]
        silence(block.expand, gone)
        silence(block.depthwise, gone)
        for group, indices in kept.items():
            if group.endswith(".squeeze"):
                silence(block.squeeze.act, removed(block.squeeze.reduce.out_channels, indices))
        silence_heads(model, [f"{stage}.expand"] if rest[0] == "0" else [], gone)
        return
    for block in blocks if not rest else [blocks[int(rest[0])]]:
        silence(block.project, gone)
    names = [feature for feature in (stage,) if not rest or int(rest[0]) + 1 == len(blocks)]
    if unit.group == "stem":
        silence(model.backbone.get_submodule("stem"), gone)
    following = [*blocks[int(rest[0]) + 1 :][:1]] if rest else []
    for block in [*following, *_next_stage(model, stage)] if _is_end(rest, blocks) else following:
        if isinstance(block.expand, nn.Identity):
            silence(block.depthwise, gone)
    if unit.group == "stem":
        silence(blocks[0].depthwise, gone)
    silence_heads(model, names, gone)


def _is_end(rest: list[str], blocks: list[Any]) -> bool:
    return not rest or int(rest[0]) + 1 == len(blocks)


def _next_stage(model: VisionModel, stage: str) -> list[Any]:
    stages: list[str] = model.backbone.stages  # type: ignore[assignment]
    after = stages[stages.index(stage) + 1 :][:1]
    return [next(iter(model.backbone.get_submodule(name).children())) for name in after]


def silence_heads(model: VisionModel, features: list[str], gone: list[int]) -> None:
    """SSDLite filters a tapped feature by depth first, and the normalisation there gives zero channels a value."""
    head: Any = model.heads["boxes"]
    feature = model.backbone.architecture.feature  # type: ignore[union-attr, operator]
    for index, tap in enumerate(head.taps):
        if feature(tap) in features:
            silence(head.class_predictors[index][0], gone)
            silence(head.box_predictors[index][0], gone)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_smaller_network_is_the_larger_with_channels_at_zero(network: str) -> None:
    architecture = explicit(NETWORKS[network]())
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    for unit in units(architecture):
        larger = model_of(architecture)
        unsettled(larger)
        smaller_architecture = with_unit(architecture, unit.name, max(1, unit.channels - 8 if unit.channels > 8 else 5))
        kept = strongest(larger, smaller_architecture)
        smaller = model_of(smaller_architecture)
        transfer(larger, smaller, kept)
        silence_unit(larger, architecture, unit.name, kept)
        with torch.no_grad():
            for mine, wanted in zip(tensors(smaller(images)), tensors(larger(images)), strict=True):
                torch.testing.assert_close(mine, wanted, rtol=1e-10, atol=1e-10, msg=lambda m, u=unit: f"{u.name}: {m}")


def test_units_are_counted_as_the_papers_tables_have_them() -> None:
    """V3-Large has 14 expansions and 6 widths, the stem tied to the first; V3-Small 10 and 5.

    MobileNetV2's Table 2 has 16 expansions and 7 widths; stage4's four blocks of 64 are summed.
    """
    found = units(mobilenet_v2(1.0))
    assert len(found) == 23
    assert len(units(mobilenet_v3(LARGE))) == 20
    assert len(units(mobilenet_v3(SMALL))) == 15
    assert {unit.name: unit.channels for unit in found if "." not in unit.name} == {
        "stage1": 16, "stage2": 24, "stage3": 32, "stage4": 64, "stage5": 96, "stage6": 160, "stage7": 320,
    }  # fmt: skip


def test_a_shortcut_that_is_not_there_does_not_appear() -> None:
    """Stage 5 has 96 channels behind 64, hence no sum; with 64 it would have one, were that not written down."""
    small = with_unit(mobilenet_v2(1.0), "stage5", 64)
    assert small.stages["stage5"][0].shortcut is Shortcut.none
    assert [block.channels for block in small.stages["stage5"]] == [64, 64, 64]


def test_what_squeezes_follows_the_expansion() -> None:
    """MobileNetV3-Large: 120 channels have 32 inside the gate, a quarter in eights; 64 have 16."""
    large = explicit(mobilenet_v3(LARGE))
    assert (large.stages["stage3"][1].expanded, large.stages["stage3"][1].squeeze) == (120, 32)
    assert with_unit(large, "stage3.1.expanded", 64).stages["stage3"][1].squeeze == 16


def test_a_stem_that_is_summed_with_the_first_block_goes_with_it() -> None:
    """Its first block has 16 channels behind a stem of 16 and a stride of 1: a shortcut."""
    large = with_unit(mobilenet_v3(LARGE), "stage1", 8)
    assert (large.stem.channels, large.stages["stage1"][0].channels) == (8, 8)


def test_the_filters_of_largest_norm_stay() -> None:
    model = model_of(mobilenet_v2(0.35))
    block: Any = model.backbone.get_submodule("stage2.1")
    weight = block.expand.conv.weight.data
    weight[:] = torch.linspace(0, 1, len(weight)).flip(0)[:, None, None, None]
    weight[-1] = 7.0
    wanted = with_unit(explicit(mobilenet_v2(0.35)), "stage2.1.expanded", len(weight) - 2)
    kept = strongest(model, wanted)["stage2.1.expanded"].tolist()
    assert kept == [*range(len(weight) - 3), len(weight) - 1]


def test_a_proposal_that_changes_nothing_is_an_error() -> None:
    architecture = explicit(mobilenet_v2(0.35))
    with pytest.raises(InputError, match="removes no channel"):
        strongest(model_of(architecture), architecture)
    with pytest.raises(InputError, match="only removes channels"):
        strongest(model_of(architecture), with_unit(architecture, "stage3", 80))
    with pytest.raises(InputError, match="no such unit"):
        with_unit(architecture, "stage9", 8)
