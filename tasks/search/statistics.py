"""Batch statistics of a network that lost channels.

What a removed channel added to a sum is missing behind it, so that the running means and variances there are those of
other values. Where they are learned, a few batches give them anew. Where they are frozen they cannot: the heads know
features that were normalised by the statistics of other images. They are moved instead so that the same images
come out of every normalisation with the mean and the variance of before; a network that lost nothing keeps its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor, nn

    from heads.structures import Batch

PIXELS = 1 << 21
"""Pixels of all images together from which statistics are moved: 42 of 224 x 224."""
MAX_RATIO = 10.0
"""By which a variance is multiplied or divided at most."""

Moments = dict[str, tuple["Tensor", "Tensor"]]
"""Means and variances over images and cells of what a normalisation takes, (C,) each, by the module's name."""


def images_of(batches: Iterable[Batch]) -> Tensor:
    """The first images of batches, (N, 3, H, W): as many of one size as there are within `PIXELS`, at least one."""
    found: list[Tensor] = []
    left = 0
    for batch in batches:
        images = batch.images
        if found and images.shape[1:] != found[0].shape[1:]:
            continue
        left = left if found else max(1, PIXELS // (images.shape[2] * images.shape[3]))
        found.append(images[:left])
        left -= len(found[-1])
        if not left:
            break
    return torch.cat(found)


def frozen_norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """Normalisations that stay in evaluation while the model is trained, by name."""
    model.train()
    norms = {name: one for name, one in model.named_modules() if isinstance(one, torch.nn.BatchNorm2d)}
    frozen = {name: norm for name, norm in norms.items() if not norm.training}
    model.eval()
    return frozen


def moments(model: nn.Module, images: Tensor) -> Moments:
    """What the frozen normalisations of a model take where it looks at images."""
    found: Moments = {}

    def note(name: str, _norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
        found[name] = (mean, variance)

    _run(model, images, note)
    return found


def move(model: nn.Module, images: Tensor, before: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Move the frozen statistics of a smaller network, in place, in the order of computation.

    Args:
        images: those of `before`.
        before: moments of the larger network, of the channels that stayed.
    """

    def follow(name: str, norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
        old_mean, old_variance = before[name]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        ratio = ((variance + norm.eps) / (old_variance + norm.eps)).clamp(1 / MAX_RATIO, MAX_RATIO)
        # Every channel comes out with the mean and the variance that it had in the larger network.
        norm.running_mean.copy_(mean - (old_mean - norm.running_mean) * ratio.sqrt())
        norm.running_var.copy_((norm.running_var + norm.eps) * ratio - norm.eps)

    _run(model, images, follow)


@torch.no_grad()
def _run(model: nn.Module, images: Tensor, tell: Callable[[str, nn.BatchNorm2d, Tensor, Tensor], None]) -> None:
    """Tell of every frozen normalisation what it takes, before it computes."""

    def hook(name: str) -> Callable[[nn.BatchNorm2d, tuple[Tensor]], None]:
        def before(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
            variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
            tell(name, norm, mean, variance)

        return before

    handles = [norm.register_forward_pre_hook(hook(name)) for name, norm in frozen_norms(model).items()]
    try:
        if handles:
            model(images)
    finally:
        for handle in handles:
            handle.remove()
