"""Parameter groups and schedules, against arithmetic by hand."""

from __future__ import annotations

from math import cos, pi

import pytest
import torch

from backbone.build import build_backbone
from backbone.errors import InputError
from backbone.families.mobilenet_v2 import MobileNetV2Config
from heads.build import build_head
from heads.ssdlite.config import SSDLiteConfig
from tasks.config.training import Algorithm, OptimConfig, Schedule
from tasks.model import VisionModel
from tasks.training.optim import build_optimizer, for_steps, learning_rate_factor, parameter_groups


def model() -> VisionModel:
    backbone = MobileNetV2Config(width=0.1)
    head = build_head(SSDLiteConfig(), backbone.specs, num_classes=2, image_size=64)
    return VisionModel(build_backbone(backbone, head.taps), {"detection": head})


def test_weight_decay_spares_norms_biases_and_depthwise_filters() -> None:
    whole = model()
    config = OptimConfig(learning_rate=0.1, backbone_factor=0.5, weight_decay=1e-3)
    groups = parameter_groups(whole, config)
    names = {id(parameter): name for name, parameter in whole.named_parameters()}
    decayed = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    spared = {names[id(p)] for group in groups if not group["weight_decay"] for p in group["params"]}
    assert decayed | spared == set(names.values())
    assert "backbone.stem.conv.weight" in decayed
    assert "backbone.stage2.0.depthwise.conv.weight" in spared
    assert "heads.detection.class_predictors.0.1.weight" in decayed
    assert "heads.detection.class_predictors.0.1.bias" in spared
    assert all(".norm." not in name and ".depthwise." not in name for name in decayed)


def test_backbone_has_its_own_rate() -> None:
    groups = parameter_groups(model(), OptimConfig(learning_rate=0.1, backbone_factor=0.5))
    assert sorted({group["lr"] for group in groups}) == [0.05, 0.1]


def test_frozen_parameters_are_left_out() -> None:
    whole = model()
    whole.backbone.requires_grad_(False)
    parameters = [p for group in parameter_groups(whole, OptimConfig()) for p in group["params"]]
    assert len(parameters) == len(list(whole.heads.parameters()))


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_every_algorithm_makes_a_step(algorithm: Algorithm) -> None:
    whole = model()
    optimizer = build_optimizer(whole, OptimConfig(algorithm=algorithm))
    before = whole.backbone.stem.conv.weight.clone()  # type: ignore[union-attr]
    for parameter in whole.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert not torch.equal(before, whole.backbone.stem.conv.weight)  # type: ignore[union-attr]


def test_cosine_after_warmup() -> None:
    factor = learning_rate_factor(OptimConfig(warmup_steps=4), steps=104, steps_per_epoch=10)
    assert [factor(step) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert factor(4) == 1.0
    assert factor(54) == pytest.approx((1 + cos(pi / 2)) / 2)
    assert factor(104) == pytest.approx(0.0)


def test_poly_exponential_and_constant() -> None:
    def at(schedule: Schedule, step: int) -> float:
        return learning_rate_factor(OptimConfig(schedule=schedule, warmup_steps=0), 100, steps_per_epoch=10)(step)

    assert at(Schedule.poly, 50) == pytest.approx(0.5**0.9)
    assert at(Schedule.exponential, 25) == pytest.approx(0.98**2)
    assert at(Schedule.constant, 99) == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 0.0}, "optim.learning_rate=0.0: must be positive"),
        ({"eps": -1.0}, "optim.eps=-1.0: must be positive"),
        ({"momentum": 1.0}, r"optim.momentum=1.0: must be in \[0, 1\)"),
        ({"weight_decay": -1.0}, "optim.weight_decay=-1.0: must not be negative"),
        ({"ema_decay": 1.0}, r"optim.ema_decay=1.0: must be in \(0, 1\), or null"),
    ],
)
def test_wrong_values(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        OptimConfig(**values)  # type: ignore[arg-type]


def test_shares_become_steps() -> None:
    found = for_steps(OptimConfig(warmup_share=0.1, ema_share=0.05), 400)
    assert found.warmup_steps == 40
    assert found.ema_decay == pytest.approx(1 - 1 / 20)  # looks back on 20 of 400 steps
    assert for_steps(OptimConfig(), 400) == OptimConfig()
    assert for_steps(OptimConfig(ema_share=0.05), 3).ema_decay == 0.5


@pytest.mark.parametrize("name", ["warmup_share", "ema_share"])
def test_shares_are_shares(name: str) -> None:
    with pytest.raises(InputError, match=rf"optim.{name}=1.5: must be in \(0, 1\), or null for none"):
        OptimConfig(**{name: 1.5})  # type: ignore[arg-type]
