"""A model as a device runs it: normalisations and the scaling of the input are in the weights of convolutions."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone.blocks import Block, Conv2d
from backbone.mobilenet import MobileNet
from heads.deeplabv3.head import DeepLabV3
from tasks.deploy.header import MIDDLE
from tasks.model import InputScaling, VisionModel

if TYPE_CHECKING:
    from heads.deeplabv3.aspp import ASPP

Model = TypeVar("Model", bound=nn.Module)


class FoldedConv(nn.Module):
    """`norm(conv(x))` as one convolution with a bias; computed in float64, kept in float32.

    Args:
        conv: without a bias, with either padding rule.
        norm: uses its running statistics.
    """

    def __init__(self, conv: Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        mean, variance = norm.get_buffer("running_mean").double(), norm.get_buffer("running_var").double()
        scale = norm.weight.double() / (variance + norm.eps).sqrt()
        self.set(conv.weight.double() * scale[:, None, None, None], norm.bias.double() - mean * scale)
        self.pad = conv.pad
        self.stride, self.padding, self.dilation, self.groups = conv.stride, conv.padding, conv.dilation, conv.groups

    def set(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = nn.Parameter(weight.detach().float(), requires_grad=False)
        self.bias = nn.Parameter(bias.detach().float(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(self.pad(x), self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class SplitASPP(nn.Module):
    """A folded `ASPP` that adds what the pooled values say to every cell, instead of copying them to every cell first.

    The projection is linear, so both give the same. There is less to multiply, and no copies, which LiteRT writes as an
    operator that it then refuses.
    """

    pooled: nn.Module
    branches: nn.ModuleList
    of_whole: nn.Conv2d
    of_cells: nn.Conv2d

    def __init__(self, aspp: ASPP) -> None:
        super().__init__()
        project = aspp.project.conv
        assert isinstance(project, FoldedConv)
        self.pooled, self.branches = aspp.pooled, aspp.branches
        channels = project.weight.shape[0]
        of_whole, of_cells = project.weight[:, :channels], project.weight[:, channels:]
        self.of_whole = nn.Conv2d(channels, channels, 1)
        self.of_cells = nn.Conv2d(of_cells.shape[1], channels, 1)
        with torch.no_grad():
            self.of_whole.weight.copy_(of_whole)
            self.of_whole.get_parameter("bias").copy_(project.bias)
            self.of_cells.weight.copy_(of_cells)
            self.of_cells.get_parameter("bias").zero_()  # for what rounding to 8 bits shifts

    def forward(self, x: Tensor) -> Tensor:
        """As `ASPP`."""
        branches = [branch(x) for branch in self.branches]
        cells = self.of_cells(torch.cat(branches, dim=1) if len(branches) > 1 else branches[0])
        return F.relu(cells + self.of_whole(self.pooled(x.mean((2, 3), keepdim=True))))


class Centred(nn.Module):
    """Grey levels (N, H, W, 3) with another zero, (3,), or one for all channels where they agree."""

    zero: Tensor

    def __init__(self, zero: Tensor) -> None:
        super().__init__()
        same = bool((zero == zero[0]).all())
        self.register_buffer("zero", zero[0] if same else zero)

    def forward(self, images: Tensor) -> Tensor:
        return images.float() - self.zero


def folded(model: Model) -> Model:
    """A copy of `model` on the CPU, in evaluation, that computes the same with fewer layers."""
    model = copy.deepcopy(model).cpu().eval()
    model.to(memory_format=torch.contiguous_format)  # ExecuTorch takes no other
    for module in list(model.modules()):
        conv, norm = getattr(module, "conv", None), getattr(module, "norm", None)
        if isinstance(conv, Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module.conv, module.norm = FoldedConv(conv, norm), nn.Identity()
        if isinstance(module, Block):
            module.split = 1  # the same values; a runtime plans its memory itself
    for module in list(model.modules()):
        if isinstance(module, DeepLabV3):
            module.aspp = SplitASPP(module.aspp)  # type: ignore[assignment]
    return model.requires_grad_(False)


def absorb_scaling(model: VisionModel, *, integers: bool) -> nn.Module:
    """Move the scaling of the input into the first convolution of a folded model, in place.

    What is left of it is a new zero, which is what the border is padded with. Taken at the mean the model stays the
    same. At the middle of the grey levels it is one that 8 bits can say, so that a runtime may take the image as it
    is; the border is then seen as grey and not as the mean, half a level apart where that is 0.5.

    Args:
        integers: take the middle of the grey levels for zero.
    Returns:
        What is left, for images (N, H, W, 3) as they come from a camera. A backbone that is not ours keeps its scaling,
        and nothing is left.
    """
    if not isinstance(model.backbone, MobileNet) or not isinstance(model.scaling, InputScaling):
        return nn.Identity()
    stem = model.backbone.stem.conv
    assert isinstance(stem, FoldedConv)
    factor, offset = model.scaling.factor.double().flatten(), model.scaling.offset.double().flatten()
    zero = torch.full_like(factor, float(MIDDLE)) if integers else -offset / factor
    weight = stem.weight.double()
    bias = stem.bias.double() + weight.sum(dim=(2, 3)) @ (zero * factor + offset)
    stem.set(weight * factor[None, :, None, None], bias)
    model.scaling = nn.Identity()
    return Centred(zero.float())
