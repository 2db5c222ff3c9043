"""Networks of the papers: channels by the references' rounding, parameters and multiply-adds as published or counted.

The figures without a paper were counted by hand from the tables: weights of convolutions and linear layers, and the
scale and shift of every normalisation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import Tensor, nn

from backbone import (
    InputError,
    MobileNetV1,
    MobileNetV1Config,
    MobileNetV3Large,
    MobileNetV3LargeConfig,
    MobileNetV3Small,
    MobileNetV3SmallConfig,
)
from backbone.architecture_file import from_plain, to_plain
from backbone.build import build_backbone
from backbone.cost import cost
from backbone.families.known import NETWORKS
from backbone.families.mobilenet_v3 import ReducedTail
from backbone.families.mobilenet_v4 import MobileNetV4MediumConfig, MobileNetV4SmallConfig
from backbone.features import Activation
from heads.build import build_head
from heads.linear.config import LinearConfig
from heads.ssdlite.config import SSDLiteConfig

if TYPE_CHECKING:
    from backbone.config import MobileNetConfig

FAMILIES = list(NETWORKS.values())


class WithHead(nn.Module):
    def __init__(self, config: MobileNetConfig, head: Any, *, num_classes: int, image_size: int) -> None:
        super().__init__()
        taps = getattr(head, "taps", None) or [head.tap]
        self.backbone = build_backbone(config, taps)
        self.head = build_head(head, config.specs, num_classes=num_classes, image_size=image_size)

    def forward(self, images: Tensor) -> object:
        return self.head(self.backbone(images))


def counted(config: MobileNetConfig, head: Any = None, *, classes: int = 1000, size: int = 224) -> tuple[float, float]:
    """Parameters and multiply-adds of a classifier or another model, in millions."""
    with torch.device("meta"):
        model = WithHead(config, head or LinearConfig(), num_classes=classes, image_size=size)
    return sum(p.numel() for p in model.parameters()) / 1e6, cost(model, (1, 3, size, size)).multiply_adds / 1e6


def without_norms(config: MobileNetConfig, head: Any, *, classes: int, size: int) -> float:
    """Parameters in millions, of convolutions and linear layers alone."""
    with torch.device("meta"):
        model = WithHead(config, head, num_classes=classes, image_size=size)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return sum(p.numel() for layer in layers for p in layer.parameters()) / 1e6


@pytest.mark.parametrize(
    ("width", "channels"),
    [
        (0.1, [8, 8, 12, 25, 51, 102]),
        (0.25, [8, 16, 32, 64, 128, 256]),
        (0.35, [11, 22, 44, 89, 179, 358]),
        (1.0, [32, 64, 128, 256, 512, 1024]),
    ],
)
def test_channels_of_v1_are_cut(width: float, channels: list[int]) -> None:
    specs = MobileNetV1Config(width=width).specs
    assert [specs[name].channels for name in ("stem", *(f"stage{i}" for i in range(1, 6)))] == channels


V1 = {
    1.0: (4.233, {224: 568.7, 192: 418.1, 160: 290.7, 128: 186.4}),
    0.75: (2.586, {224: 325.4, 192: 239.3, 160: 166.4, 128: 106.8}),
    0.5: (1.332, {224: 149.5, 192: 110.0, 160: 76.5, 128: 49.2}),
    0.25: (0.470, {224: 41.0, 192: 30.2, 160: 21.1, 128: 13.6}),
}
"""The sixteen published networks: parameters with 1001 classes, multiply-adds with 1000, in millions."""


@pytest.mark.parametrize("width", V1)
def test_v1_costs_what_was_published(width: float) -> None:
    parameters, by_size = V1[width]
    config = MobileNetV1Config(width=width)
    assert counted(config, classes=1001)[0] == pytest.approx(parameters, abs=6e-4)
    for size, multiply_adds in by_size.items():
        assert counted(config, size=size)[1] == pytest.approx(multiply_adds, abs=0.06)


@pytest.mark.parametrize(
    ("options", "parameters", "multiply_adds"),
    [({"separable": False}, 29.28, 4867.3), ({"shallow": True}, 2.88, 307.3)],
)
def test_v1_with_full_convolutions_and_shallow(
    options: dict[str, Any], parameters: float, multiply_adds: float
) -> None:
    """Tables 4 and 5: 29.3 M and 4866 M; 2.9 M and 307 M."""
    config = MobileNetV1Config(**options)
    assert without_norms(config, LinearConfig(), classes=1000, size=224) == pytest.approx(parameters, abs=0.01)
    assert counted(config)[1] == pytest.approx(multiply_adds, abs=0.06)


GOLDEN = """
L0.5 [8 | 8,16,16,24,24,24,40,40,40,40,56,56,80,80,80 | 8,32,48,48,72,72,144,104,96,96,240,336,336,480,480 | 480]
L0.75 [16 | 16,24,24,32,32,32,64,64,64,64,88,88,120,120,120 | 16,64,72,72,96,96,192,160,144,144,384,528,528,720,720 | 720]
L1.25 [24 | 24,32,32,48,48,48,104,104,104,104,144,144,200,200,200 | 24,96,96,96,144,144,288,264,240,240,624,864,864,1200,1200 | 1200]
S0.5 [8 | 8,16,16,24,24,24,24,24,48,48,48 | 8,40,56,64,144,144,72,72,144,288,288 | 288]
S0.75 [16 | 16,24,24,32,32,32,40,40,72,72,72 | 16,72,88,96,192,192,96,120,240,432,432 | 432]
S1.25 [24 | 24,32,32,48,48,48,64,64,120,120,120 | 24,112,120,128,288,288,144,192,384,720,720 | 720]
""".strip().splitlines()  # noqa: E501
"""Stem, output of each block, expansion of each block, last: by the reference's rule."""


def v3(name: str) -> type[MobileNetV3LargeConfig | MobileNetV3SmallConfig]:
    return MobileNetV3LargeConfig if name.startswith("L") else MobileNetV3SmallConfig


@pytest.mark.parametrize("line", GOLDEN, ids=lambda line: line.partition(" ")[0])
def test_channels_of_v3(line: str) -> None:
    name, _, lists = line.partition(" ")
    stem, out, expanded, last = ([int(n) for n in part.split(",")] for part in lists.strip("[]").split("|"))
    built = v3(name)(width=float(name[1:])).built
    blocks = [block for blocks in built.stages.values() for block in blocks]
    assert built.last is not None
    assert [built.stem.channels, built.last.channels] == [*stem, *last]
    assert [block.channels for block in blocks] == out
    assert [block.expanded or built.stem.channels for block in blocks] == expanded


@pytest.mark.parametrize(
    ("name", "squeezes"),
    [("L", [24, 32, 32, 120, 168, 168, 240, 240]), ("S", [8, 24, 64, 64, 32, 40, 72, 144, 144])],
)
def test_squeeze_and_excitation_of_v3(name: str, squeezes: list[int]) -> None:
    blocks = [block for blocks in v3(name)().built.stages.values() for block in blocks]
    assert [block.squeeze for block in blocks if block.squeeze] == squeezes


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [
        ("L0.35", 2.132, 39.5),
        ("L0.5", 2.690, 69.2),
        ("L0.75", 3.994, 154.6),
        ("L1.0", 5.483, 216.6),
        ("L1.25", 8.256, 355.9),
        ("S0.35", 1.358, 12.8),
        ("S0.5", 1.593, 21.1),
        ("S0.75", 2.042, 43.4),
        ("S1.0", 2.543, 56.5),
        ("S1.25", 3.646, 91.2),
    ],
)
def test_v3_costs_what_was_published(name: str, parameters: float, multiply_adds: float) -> None:
    found = counted(v3(name)(width=float(name[1:])))
    assert found == (pytest.approx(parameters, abs=6e-4), pytest.approx(multiply_adds, abs=0.06))


@pytest.mark.parametrize(
    ("config", "parameters", "multiply_adds"),
    [
        (MobileNetV3LargeConfig(minimalistic=True), 3.924, 209.1),
        (MobileNetV3SmallConfig(minimalistic=True), 2.045, 52.3),
        (MobileNetV3SmallConfig(width=0.5, fixed_stem=True), 1.593, 24.2),
    ],
)
def test_variants_of_v3(config: MobileNetConfig, parameters: float, multiply_adds: float) -> None:
    assert counted(config) == (pytest.approx(parameters, abs=6e-4), pytest.approx(multiply_adds, abs=0.06))


@pytest.mark.parametrize(
    ("config", "size", "parameters", "multiply_adds"),
    [
        (MobileNetV4SmallConfig(), 224, 3.774, 186.0),
        (MobileNetV4SmallConfig(width=0.5), 224, 2.239, 64.7),
        (MobileNetV4MediumConfig(), 224, 9.716, 827.6),
        (MobileNetV4MediumConfig(), 256, 9.716, 1080),
    ],
)
def test_v4_costs_what_timms_does(config: MobileNetConfig, size: int, parameters: float, multiply_adds: float) -> None:
    assert counted(config, size=size) == (pytest.approx(parameters, abs=6e-4), pytest.approx(multiply_adds, rel=1e-3))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("L", {96: 43.1, 128: 73.4, 160: 112.5, 192: 160.2, 224: 216.6, 256: 281.7}),
        ("S", {96: 12.1, 128: 19.8, 160: 29.8, 192: 42.1, 224: 56.5, 256: 73.2}),
    ],
)
def test_v3_at_the_sizes_of_figure_7(name: str, sizes: dict[int, float]) -> None:
    assert {size: round(counted(v3(name)(), size=size)[1], 1) for size in sizes} == sizes


@pytest.mark.parametrize(
    ("config", "parameters", "multiply_adds"),
    [
        (MobileNetV3LargeConfig(), 4.967, 613),
        (MobileNetV3LargeConfig(reduced_tail=ReducedTail.detection), 3.215, 507),
        (MobileNetV3SmallConfig(), 2.494, 210),
        (MobileNetV3SmallConfig(reduced_tail=ReducedTail.detection), 1.765, 162),
    ],
    ids=["large", "large reduced", "small", "small reduced"],
)
def test_detectors_of_v3(config: MobileNetConfig, parameters: float, multiply_adds: float) -> None:
    """MobileNetV3, Table 6: 4.97, 3.22, 2.49 and 1.77 M parameters, with 91 slots for classes."""
    head = SSDLiteConfig()
    assert without_norms(config, head, classes=90, size=320) == pytest.approx(parameters, abs=6e-4)
    assert counted(config, head, classes=90, size=320)[1] == pytest.approx(multiply_adds, abs=0.6)


def test_tail_of_segmentation_halves_the_first_expansion_too() -> None:
    for config, before, tail in (
        (MobileNetV3LargeConfig, 672, [336, 480, 480, 80, 480]),
        (MobileNetV3SmallConfig, 288, [144, 288, 288, 48, 288]),
    ):
        whole = list(config().built.stages.values())[-1]
        assert whole[0].expanded == before
        built = config(reduced_tail=ReducedTail.segmentation).built
        blocks = list(built.stages.values())[-1]
        assert built.last is not None
        assert [*(block.expanded for block in blocks), blocks[-1].channels, built.last.channels] == tail


@pytest.mark.parametrize(
    ("threshold", "first", "stem"),
    [(16, "stage1", "hardswish"), (80, "stage4", "hardswish"), (112, "stage5", "hardswish"), (None, "", "relu")],
)
def test_where_hard_swish_begins(threshold: int | None, first: str, stem: str) -> None:
    """MobileNetV3, Table 5; a reduced tail moves nothing."""
    for tail in ReducedTail:
        built = MobileNetV3LargeConfig(h_swish_from=threshold, reduced_tail=tail).built
        with_it = [s for s, blocks in built.stages.items() if blocks[0].activation is Activation.hardswish]
        assert with_it == [s for s in built.stages if first and s >= first]
        assert built.last is not None
        assert built.hidden is not None
        assert {built.stem.activation.name, built.last.activation.name, built.hidden.activation.name} == {stem}


RATES = [
    (MobileNetV1Config, 16, False, {"stage5": [1, 2]}),
    (MobileNetV1Config, 8, False, {"stage4": [1, 2, 2, 2, 2, 2], "stage5": [2, 4]}),
    (MobileNetV3LargeConfig, 16, False, {"stage6": [1, 2, 2]}),
    (MobileNetV3LargeConfig, 16, True, {"stage6": [2, 2, 2]}),
    (MobileNetV3LargeConfig, 8, False, {"stage4": [1, 2, 2, 2], "stage5": [2, 2], "stage6": [2, 4, 4]}),
    (MobileNetV3SmallConfig, 16, False, {"stage5": [1, 2, 2]}),
    (MobileNetV3SmallConfig, 8, False, {"stage3": [1, 2, 2], "stage4": [2, 2], "stage5": [2, 4, 4]}),
]


@pytest.mark.parametrize(("family", "output_stride", "first", "rates"), RATES)
def test_dilation(family: Any, output_stride: int, first: bool, rates: dict[str, list[int]]) -> None:
    """By configuration, and adopted with weights."""
    backbone = build_backbone(family(width=0.25, output_stride=output_stride, dilate_first=first), ["c5"])
    adopting = cast("Any", build_backbone(family(width=0.25, output_stride=output_stride), ["c5"]))
    adopting.adopt(dilate_first=first)
    for one in (backbone, adopting):
        found = {
            stage: [
                module.dilation[0]
                for module in one.get_submodule(stage).modules()
                if isinstance(module, nn.Conv2d) and module.groups > 1
            ]
            for stage in cast("Any", one).stages
        }
        assert {stage: found[stage] for stage in rates} == rates
        assert {rate for stage in found if stage not in rates for rate in found[stage]} == {1}
    torch.manual_seed(0)
    adopting.load_state_dict(backbone.state_dict())
    images = torch.randn(1, 3, 65, 48)
    with torch.no_grad():
        torch.testing.assert_close(adopting.eval()(images), backbone.eval()(images), atol=0, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_network_has_every_level(family: Any) -> None:
    for output_stride in (32, 16, 8):
        config = family(width=0.25, output_stride=output_stride)
        strides = {"c2": 4, "c3": 8, "c3.depthwise": 8, "c4": 16, "c4.expand": 16, "c5": 32, "last": 32, "context": 32}
        assert {name: config.specs[name].stride for name in strides} == {
            name: min(stride, output_stride) for name, stride in strides.items()
        }
        backbone = build_backbone(config, list(config.specs)).eval()
        with torch.no_grad():
            for name, feature in backbone(torch.zeros(1, 3, 49, 64)).items():
                spec = config.specs[name]
                assert feature.shape == (1, spec.channels, spec.size(49), spec.size(64)), name


@pytest.mark.parametrize("config", [*(family(width=0.35) for family in FAMILIES), MobileNetV1Config(separable=False)])
def test_every_network_is_plain_data(config: MobileNetConfig) -> None:
    assert from_plain(to_plain(config.built)) == config.built


def test_code_without_configuration() -> None:
    assert MobileNetV1(width=0.25)(torch.zeros(2, 3, 32, 32))["last"].shape == (2, 256, 1, 1)
    assert MobileNetV3Large(width=0.5, reduced_tail="detection").specs["last"].channels == 240
    assert MobileNetV3Small(width=0.5).specs["last"].channels == 288
    with pytest.raises(InputError, match="reduced_tail='half': must be one of none, detection, segmentation"):
        MobileNetV3Small(reduced_tail="half")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MobileNetV3SmallConfig(kernel=4), r"backbone.kernel=4: must be one of \(3, 5, 7\), or null"),
        (lambda: LinearConfig(hidden=-1), "head.hidden=-1: must not be negative"),
        (
            lambda: build_backbone(MobileNetV1Config(separable=False), ["c3.depthwise"]),
            r"features=\['c3.depthwise'\]: must be one or more of stem, stage1",
        ),
    ],
)
def test_bad_options(build: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()
