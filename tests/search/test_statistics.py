"""Frozen batch statistics that follow what a network loses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from backbone.architecture_file import to_plain
from backbone.families.mobilenet_v2 import mobilenet_v2
from backbone.families.searched import SearchedConfig
from backbone.mobilenet import MobileNet
from backbone.units import explicit, with_unit
from tasks.search.statistics import PIXELS, frozen_norms, images_of, moments, move
from tasks.search.surgery import kept_moments, strongest, transfer
from tests.search.test_surgery import model_of, unsettled

START = explicit(mobilenet_v2(0.35))


def frozen(architecture: Any) -> Any:
    """A model with a head of every kind whose backbone has frozen statistics."""
    model = model_of(architecture)
    config = SearchedConfig(architecture=to_plain(architecture), freeze_bn=True)
    taps = list(dict.fromkeys(tap for head in model.heads.values() for tap in head.taps))  # type: ignore[union-attr]
    model.backbone = MobileNet(config, taps).double()
    return model.eval()


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)


def test_the_frozen_norms_are_the_backbones() -> None:
    model = frozen(START)
    assert {name.partition(".")[0] for name in frozen_norms(model)} == {"backbone"}
    assert not model.training
    assert not frozen_norms(model_of(START))


def test_a_network_that_lost_nothing_keeps_its_statistics(images: torch.Tensor) -> None:
    model = frozen(START)
    unsettled(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    move(model, images, moments(model, images))
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=1e-9, atol=1e-9, msg=name)


def test_what_is_behind_is_normalised_as_before(images: torch.Tensor) -> None:
    """Mean and variance of every channel that stayed, as the larger network has them, by hooks of the test's own."""
    larger = frozen(START)
    unsettled(larger)
    narrow = with_unit(START, "stage4.1.expanded", START.stages["stage4"][1].expanded // 4 * 3)  # type: ignore[operator]
    kept = strongest(larger, narrow)
    smaller = frozen(narrow)
    transfer(larger, smaller, kept)
    outputs: dict[int, torch.Tensor] = {}
    for place, model in enumerate((larger, smaller)):
        norm = model.backbone.get_submodule("stage4.1.project.norm")
        norm.register_forward_hook(lambda _m, _i, output, at=place: outputs.__setitem__(at, output.detach()))
    with torch.no_grad():
        larger(images)
        smaller(images)
    wanted = outputs[0]
    assert (outputs[1].mean((0, 2, 3)) - wanted.mean((0, 2, 3))).abs().max() > 1e-3
    move(smaller, images, kept_moments(START, kept, moments(larger, images)))
    with torch.no_grad():
        smaller(images)
    torch.testing.assert_close(outputs[1].mean((0, 2, 3)), wanted.mean((0, 2, 3)), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(outputs[1].var((0, 2, 3)), wanted.var((0, 2, 3)), rtol=1e-3, atol=1e-6)


def test_images_of_one_size_up_to_a_number_of_pixels() -> None:
    def batch(count: int, side: int) -> Any:
        return SimpleNamespace(images=torch.zeros(count, 3, side, side, dtype=torch.uint8))

    assert images_of([batch(3, 512), batch(2, 64), batch(9, 512)]).shape == (PIXELS // 512**2, 3, 512, 512)
    assert images_of([batch(2, 64)]).shape == (2, 3, 64, 64)
    assert images_of([batch(3, 2048)]).shape == (1, 3, 2048, 2048)
