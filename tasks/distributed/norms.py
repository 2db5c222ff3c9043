"""Batch normalisation over several processes. Shapes: N images of this process, C channels, H W cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.distributed import group

if TYPE_CHECKING:
    from collections.abc import Iterable

CHANNELS = (None, slice(None), None, None)
"""Index that lays (C,) beside (N, C, H, W)."""


class GlobalBatchNorm(nn.BatchNorm2d):
    """Normalises by the statistics of the images of all processes, as one process with all of them would.

    PyTorch's `SyncBatchNorm` does so on GPUs only; this one works on any device. A process without images takes part
    with none. Where there is but one value per channel in all processes together, running statistics are used and kept.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or group.place().world_size == 1:
            return super().forward(x)
        count, mean, variance = _statistics(x.detach())
        if count <= 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            assert self.momentum is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            unbiased = variance * (count / (count - 1))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        inverse = (variance + self.eps).rsqrt()
        normalised: Tensor = _Normalise.apply(x, self.weight, self.bias, mean, inverse, count)
        return normalised


def _statistics(x: Tensor) -> tuple[int, Tensor, Tensor]:
    """Values per channel, mean (C,) and variance (C,) over all processes, in float64."""
    channels = x.shape[1]
    mine = x.new_zeros(2 * channels + 1, dtype=torch.float64)
    mine[-1] = count = x.numel() // channels
    if count:
        variance, mean = torch.var_mean(x.to(_wide(x)), dim=(0, 2, 3), correction=0)
        mine[:channels], mine[channels:-1] = mean, variance
    every = [torch.empty_like(mine) for _ in range(group.place().world_size)]
    dist.all_gather(every, mine)
    parts = torch.stack(every)
    counts = parts[:, -1:]
    whole = counts.sum().clamp(min=1)
    means, variances = parts[:, :channels], parts[:, channels:-1]
    mean = (counts * means).sum(dim=0) / whole
    variance = (counts * (variances + (means - mean).square())).sum(dim=0) / whole
    return int(counts.sum()), mean, variance


class _Normalise(torch.autograd.Function):
    """(x - mean) * inverse * weight + bias, with the gradient through mean and inverse over all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.count = count
        scale = weight * inverse
        shift = bias - mean * scale
        wide = _wide(x)
        return torch.addcmul(shift.to(wide)[CHANNELS], x.to(wide), scale.to(wide)[CHANNELS]).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        wide = _wide(x)
        gradient = gradients[0].to(wide)
        normalised = (x.to(wide) - mean.to(wide)[CHANNELS]) * inverse.to(wide)[CHANNELS]
        of_bias = gradient.sum((0, 2, 3))
        of_weight = (gradient * normalised).sum((0, 2, 3))
        sums = group.total(torch.cat([of_bias, of_weight]).double()).to(wide) / ctx.count
        mean_gradient, mean_product = sums.chunk(2)
        of_x = gradient - mean_gradient[CHANNELS] - normalised * mean_product[CHANNELS]
        of_x *= (weight * inverse).to(wide)[CHANNELS]
        return of_x.to(x.dtype), of_weight.to(weight.dtype), of_bias.to(weight.dtype), None, None, None


def _wide(x: Tensor) -> torch.dtype:
    """What is computed in: float32, or more where `x` is more."""
    return torch.promote_types(x.dtype, torch.float32)


def synchronise(model: nn.Module) -> None:
    """Let all batch normalisation of a model see the images of all processes.

    The modules stay the objects that they are, for others hold them: those whose statistics are frozen, for one.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = GlobalBatchNorm


def average_statistics(norms: Iterable[nn.BatchNorm2d]) -> None:
    """The mean over all processes in place of each one's own running statistics, so that all have one model."""
    buffers = [
        buffer
        for norm in norms
        if norm.training and not isinstance(norm, GlobalBatchNorm)
        for buffer in (norm.running_mean, norm.running_var)
        if buffer is not None
    ]
    if group.place().world_size == 1 or not buffers:
        return
    together = group.mean(torch.cat(buffers))
    for buffer, averaged in zip(buffers, torch.split(together, [len(buffer) for buffer in buffers]), strict=True):
        buffer.copy_(averaged)
