"""Optimisers, their parameter groups and the schedule of the learning rate."""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from tasks.config.training import Algorithm, OptimConfig, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch.optim import Optimizer

    from tasks.model import VisionModel

POLY_POWER = 0.9
MIN_HORIZON = 2.0
"""Steps over which a moving average looks back at least."""
DECAY_PER_EPOCH = 0.98
"""MobileNetV2, section 6.1."""


def scaled(config: OptimConfig, images: int) -> OptimConfig:
    """With the learning rate for steps of so many images, where `scale_learning_rate` says for how many it is meant."""
    if config.scale_learning_rate is None:
        return config
    return replace(config, learning_rate=config.learning_rate * images / config.scale_learning_rate)


def for_steps(config: OptimConfig, steps: int) -> OptimConfig:
    """With warm-up and moving average for a training of so many steps, where they are given as shares of it."""
    if config.warmup_share is not None:
        config = replace(config, warmup_steps=round(config.warmup_share * steps))
    if config.ema_share is not None:
        config = replace(config, ema_decay=1 - 1 / max(MIN_HORIZON, config.ema_share * steps))
    return config


def parameter_groups(
    model: VisionModel, config: OptimConfig, factors: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Trainable parameters in groups: of the backbone or of a head, with weight decay or without.

    Without: batch normalisation, biases, and depthwise filters, which have few weights each (MobileNetV1, section 3.2).

    Args:
        factors: on the learning rate, by the head's name; 1 for those that are not named.
    """
    heads = [(head, (factors or {}).get(name, 1.0)) for name, head in model.heads.items()]
    groups = []
    for part, factor in ((model.backbone, config.backbone_factor), *heads):
        for decayed in (True, False):
            parameters = [p for p, decays in _with_decay(part) if decays is decayed and p.requires_grad]
            if parameters:
                groups.append(
                    {
                        "params": parameters,
                        "lr": config.learning_rate * factor,
                        "weight_decay": config.weight_decay if decayed else 0.0,
                    }
                )
    return groups


def _with_decay(part: nn.Module) -> list[tuple[nn.Parameter, bool]]:
    return [
        (
            parameter,
            isinstance(module, nn.Conv2d | nn.Linear) and name == "weight" and getattr(module, "groups", 1) == 1,
        )
        for module in part.modules()
        for name, parameter in module.named_parameters(recurse=False)
    ]


def build_optimizer(
    model: VisionModel,
    config: OptimConfig,
    factors: Mapping[str, float] | None = None,
    others: Iterable[nn.Parameter] = (),
) -> Optimizer:
    """The optimiser of `config` over `parameter_groups`.

    Args:
        others: learned beside the model, without weight decay.
    """
    groups = parameter_groups(model, config, factors)
    if beside := list(others):
        groups.append({"params": beside, "lr": config.learning_rate, "weight_decay": 0.0})
    if config.algorithm is Algorithm.sgd:
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    if config.algorithm is Algorithm.rmsprop:
        # TensorFlow takes the root of the mean square plus epsilon, PyTorch adds epsilon behind the root; alike at 1.0.
        return torch.optim.RMSprop(
            groups, lr=config.learning_rate, alpha=config.decay, eps=config.eps, momentum=config.momentum
        )
    return torch.optim.AdamW(groups, lr=config.learning_rate, eps=config.eps)


def build_schedule(optimizer: Optimizer, config: OptimConfig, steps: int, steps_per_epoch: int) -> LambdaLR:
    """Factor on every group's learning rate: linear warm-up, then the schedule, ending after `steps` steps."""
    return LambdaLR(optimizer, learning_rate_factor(config, steps, steps_per_epoch))


def learning_rate_factor(config: OptimConfig, steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    """Factor of the learning rate at a step, counted from 0."""
    warmup = min(config.warmup_steps, steps // 2)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        if config.schedule is Schedule.cosine:
            return (1 + cos(pi * progress)) / 2
        if config.schedule is Schedule.poly:
            return float((1 - progress) ** POLY_POWER)
        if config.schedule is Schedule.exponential:
            return float(DECAY_PER_EPOCH ** (step // max(1, steps_per_epoch)))
        return 1.0

    return factor
