"""What the parity tests share: random models that do not blow up, and somebody else's features caught on the way."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone import MobileNetV2Config
from backbone.weights import timm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backbone import Features, MobileNet
    from backbone.weights import Weights


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every normalisation statistics and scales of its own, as training would; then evaluation."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.3, generator=generator)
            part.running_var.uniform_(0.5, 2.0, generator=generator)
            nn.init.uniform_(part.weight, 0.7, 1.3, generator=generator)
            nn.init.normal_(part.bias, 0.2, 0.3, generator=generator)
        elif isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_in", generator=generator)
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, 0, 0.05, generator=generator)
            nn.init.normal_(part.bias, 0, 0.5, generator=generator)
    return module.eval()


def stage_features() -> list[str]:
    """The features that other implementations have modules for: no level and no part of a block but its expansion."""
    config = MobileNetV2Config()
    levels = config.built.levels
    return [name for name in config.specs if name not in levels and not name.endswith((".depthwise", ".first"))]


def as_timm(backbone: MobileNet) -> dict[str, Tensor]:
    """A backbone's tensors under timm's names."""
    ends = {ours: name for name, ours in timm.ENDS[backbone.config.NAME].items()}
    named = {}
    for name, tensor in backbone.state_dict().items():
        module, _, tail = name.rpartition(".")
        if module in ends:
            named[f"{ends[module]}.{tail}"] = tensor
            continue
        stage, block, part = module.split(".", 2)
        parts = timm.SEPARABLE if stage == "stage1" else timm.INVERTED
        back = {ours: their for their, ours in parts.items()}
        named[f"blocks.{int(stage[5:]) - 1}.{block}.{back[part]}.{tail}"] = tensor
    return named


def images(height: int, width: int, seed: int = 1) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))


@contextmanager
def caught(modules: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Outputs of modules by our names, filled by the passes within."""
    outputs: dict[str, Tensor] = {}

    def catch(name: str) -> object:
        return lambda module, args, output: outputs.__setitem__(name, output.clone())

    handles = [module.register_forward_hook(catch(name)) for name, module in modules.items()]  # type: ignore[arg-type]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def largest_difference(ours: Features, theirs: dict[str, Tensor]) -> float:
    """Over all features, as a fraction of the feature's largest value or of one, whichever is more."""
    assert set(ours) == set(theirs)
    assert all(ours[name].shape == theirs[name].shape for name in ours)
    return max(float((ours[name] - theirs[name]).abs().max() / theirs[name].abs().max().clamp(min=1)) for name in ours)


def classified(features: Features, weights: Weights) -> Tensor:
    """Logits by the classifier that came with the weights."""
    pooled = features["last"].mean((2, 3))
    return F.linear(pooled, weights.tensors["classifier.weight"], weights.tensors["classifier.bias"])
