"""Channel surgery against the larger network with those channels' activations set to zero, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from backbone.architecture import Architecture, BlockSpec, Shortcut
from backbone.architecture_file import to_plain
from backbone.errors import InputError
from backbone.families.mobilenet_v2 import mobilenet_v2
from backbone.families.searched import SearchedConfig
from backbone.features import Activation, ConvSpec
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

SWISH = Activation.hardswish


def v1() -> Architecture:
    """Separable convolutions without expansion, and `last` a stage's."""
    block = {"expanded": None, "activation": Activation.relu, "linear": False, "shortcut": Shortcut.none}
    rows = {"a": ((24, 1),), "b": ((32, 2), (32, 1)), "c": ((48, 2), (48, 1), (48, 1)), "d": ((64, 2), (64, 1))}
    stages = {
        stage: tuple(BlockSpec(channels=channels, stride=stride, **block) for channels, stride in blocks)
        for stage, blocks in rows.items()
    }
    levels = {"last": "d", "context": "d", "c4": "c", "c4.expand": "c"}
    return Architecture(stem=ConvSpec(channels=16, activation=Activation.relu), stages=stages, last=None, levels=levels)


def v3() -> Architecture:
    """A first block whose shortcut ties it to the stem, squeeze-and-excitation, and kernels of 5."""
    stages = {
        "a": (BlockSpec(channels=16, expanded=None, activation=Activation.relu, squeeze=8),),
        "b": (
            BlockSpec(channels=24, expanded=64, stride=2, activation=Activation.relu, squeeze=16, kernel=5),
            BlockSpec(channels=24, expanded=72, activation=Activation.relu, squeeze=24, kernel=5),
        ),
        "c": (
            BlockSpec(channels=40, expanded=96, stride=2, activation=SWISH, squeeze=24),
            BlockSpec(channels=40, expanded=96, activation=SWISH),
        ),
    }
    levels = {"context": "c", "c4": "c", "c4.expand": "c.expand"}
    return Architecture(
        stem=ConvSpec(channels=16, activation=SWISH),
        stages=stages,
        last=ConvSpec(channels=96, activation=SWISH),
        levels=levels,
    )


NETWORKS: dict[str, Callable[[], Architecture]] = {"v1": v1, "v2": lambda: mobilenet_v2(0.35), "v3": v3}


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
    """MobileNetV2's Table 2 has 16 expansions and 7 widths; stage4's four blocks of 64 are summed."""
    found = units(mobilenet_v2(1.0))
    assert len(found) == 23
    assert {unit.name: unit.channels for unit in found if "." not in unit.name} == {
        "stage1": 16, "stage2": 24, "stage3": 32, "stage4": 64, "stage5": 96, "stage6": 160, "stage7": 320,
    }  # fmt: skip


def test_a_shortcut_that_is_not_there_does_not_appear() -> None:
    """Stage 5 has 96 channels behind 64, hence no sum; with 64 it would have one, were that not written down."""
    small = with_unit(mobilenet_v2(1.0), "stage5", 64)
    assert small.stages["stage5"][0].shortcut is Shortcut.none
    assert [block.channels for block in small.stages["stage5"]] == [64, 64, 64]


def test_what_squeezes_follows_the_expansion() -> None:
    assert with_unit(v3(), "b.1.expanded", 32).stages["b"][1].squeeze == 8
    tied = with_unit(v3(), "a", 8)
    assert (tied.stem.channels, tied.stages["a"][0].channels) == (8, 8)


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
