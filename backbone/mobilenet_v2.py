"""MobileNetV2 as a plain module that returns named features.

Reference: MobileNetV2, arXiv:1801.04381, Table 2. Differs: ends at the last 1x1 convolution; pooling and the classifier
are a head's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Self, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from backbone.blocks import Conv2d, ConvNormAct, InvertedResidual, Norm, build_stage
from backbone.config import MobileNetV2Config, Padding, stage_plans
from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backbone.features import Features, FeatureSpec

DEFAULT_PADDING = Padding.symmetric
DEFAULT_BN_EPS = 1e-3
DEFAULT_MEAN = DEFAULT_STD = (0.5, 0.5, 0.5)


class MobileNetV2(nn.Module):
    """Feature maps of an image batch, by name.

    Args:
        width: multiplier of all channels, at least 0.1.
        depth: multiplier of the repetitions in stages 2 to 6, at least 1.
        fixed_ends: `stem` and `last` keep the channels of width 1.
        output_stride: input pixels from one cell to the next at `stage7`: 32, 16 or 8.
        last_stride: the same at `last`, which may be coarser; None: `output_stride`. A dilated network has the cells of
            the strided one among its own, so one pass serves a detector at 32 and a segmenter at 16.
        features: the names to return, any of `specs`; layers beyond the last of them are not built.
        padding: `symmetric` or `tf_same`; None: symmetric, until weights that are loaded say otherwise.
        bn_eps: None: 1e-3, until weights say otherwise.
        bn_momentum: PyTorch's convention, the share of the new batch.
        input_mean, input_std: RGB scaling of inputs in [0, 1] that the caller has to apply; None: 0.5 and 0.5, which
            is [-1, 1], until weights say otherwise.
        freeze_at: freeze every layer up to this feature, parameters and batch statistics.
        freeze_bn: keep all batch statistics in training.
        activation_checkpointing: recompute blocks in the backward pass.
        split: ways to run each bottleneck over its expanded channels (section 5).
    Attributes:
        specs: channels and stride of every feature that there is, in the order of computation.
        features: the names that `forward` returns, in the order of computation.
    Raises:
        InputError: a value is out of range, or a feature does not exist; the message lists those there are.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        depth: float = 1.0,
        fixed_ends: bool = False,
        output_stride: int = 32,
        last_stride: int | None = None,
        features: Sequence[str] = ("last",),
        padding: Padding | str | None = None,
        bn_eps: float | None = None,
        bn_momentum: float = 0.03,
        input_mean: Sequence[float] | None = None,
        input_std: Sequence[float] | None = None,
        freeze_at: str | None = None,
        freeze_bn: bool = False,
        activation_checkpointing: bool = False,
        split: int = 1,
    ) -> None:
        super().__init__()
        if isinstance(padding, str):
            padding = _padding(padding)
        self.config = MobileNetV2Config(
            width=width,
            depth=depth,
            fixed_ends=fixed_ends,
            output_stride=output_stride,
            last_stride=last_stride,
            padding=padding,
            bn_eps=bn_eps,
            bn_momentum=bn_momentum,
            input_mean=None if input_mean is None else list(input_mean),
            input_std=None if input_std is None else list(input_std),
            freeze_at=freeze_at,
            freeze_bn=freeze_bn,
            activation_checkpointing=activation_checkpointing,
            split=split,
        )
        self.specs: dict[str, FeatureSpec] = self.config.specs
        self.features = _in_order(features, self.specs)
        self.padding = padding or DEFAULT_PADDING
        self.bn_eps = bn_eps or DEFAULT_BN_EPS
        self.input_mean = tuple(input_mean or DEFAULT_MEAN)
        self.input_std = tuple(input_std or DEFAULT_STD)
        self._build()
        self._initialise()
        self._freeze()

    def _build(self) -> None:
        norm = Norm(self.bn_eps, self.config.bn_momentum)
        config, end = self.config, self.features[-1]
        plans = stage_plans(config.width, config.output_stride, depth=config.depth, fixed_ends=config.fixed_ends)
        self.stem = ConvNormAct(3, self.specs["stem"].channels, 3, stride=2, padding=self.padding, norm=norm)
        self.stages: list[str] = []
        for name, plan in plans.items():
            if end == "stem" or (self.stages and end.startswith(self.stages[-1])):
                break
            self.add_module(name, build_stage(plan, padding=self.padding, split=self.config.split, norm=norm))
            self.stages.append(name)
        if end.endswith(".expand"):
            stage = cast("nn.Sequential", self.get_submodule(self.stages[-1]))
            del stage[1:], stage[0].depthwise, stage[0].project
        if end == "last":
            self.last = ConvNormAct(plans["stage7"].channels, self.specs["last"].channels, norm=norm)

    def forward(self, images: Tensor) -> Features:
        """Features of images (N, 3, H, W) that are scaled by `input_mean` and `input_std`."""
        found: Features = {}
        x: Tensor = self.stem(images)
        found["stem"] = x
        for name in self.stages:
            first, *others = self._blocks(name)
            if f"{name}.expand" in self.features:
                expanded = first.expand(x)
                found[f"{name}.expand"] = expanded
                if self.features[-1] == f"{name}.expand":
                    break
                x = first.reduce(x, expanded)
            else:
                x = self._run(first, x)
            for block in others:
                x = self._run(block, x)
            found[name] = x
        if self.features[-1] == "last":
            found["last"] = self.last(self._subsample(x))
        return {name: found[name] for name in self.features}

    def _subsample(self, x: Tensor) -> Tensor:
        """The cells of `stage7` that a network with strides would have, all where `last_stride` is `output_stride`.

        TensorFlow's padding puts the first window on an even map one cell further than on an odd one.
        """
        stride = self.specs["stage7"].stride
        while stride < self.specs["last"].stride:
            first = [int(self.padding is Padding.tf_same and size % 2 == 0) for size in x.shape[-2:]]
            x = x[..., first[0] :: 2, first[1] :: 2]
            stride *= 2
        return x

    def _blocks(self, stage: str) -> list[InvertedResidual]:
        return [cast("InvertedResidual", block) for block in self.get_submodule(stage).children()]

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        if self.config.activation_checkpointing and torch.is_grad_enabled():
            return cast("Tensor", checkpoint(block, x, use_reentrant=False, context_fn=partial(_recompute, block)))
        return cast("Tensor", block(x))

    def adopt(
        self,
        *,
        padding: Padding | None = None,
        bn_eps: float | None = None,
        input_mean: Sequence[float] | None = None,
        input_std: Sequence[float] | None = None,
    ) -> None:
        """Take over what loaded weights were trained with, except where the constructor was told otherwise."""
        if padding is not None and self.config.padding is None:
            self.padding = padding
            for module in self.modules():
                if isinstance(module, Conv2d):
                    module.set_padding(padding)
        if bn_eps is not None and self.config.bn_eps is None:
            self.bn_eps = bn_eps
            for norm in self._norms():
                norm.eps = bn_eps
        if input_mean is not None and self.config.input_mean is None:
            self.input_mean = tuple(input_mean)
        if input_std is not None and self.config.input_std is None:
            self.input_std = tuple(input_std)

    def train(self, mode: bool = True) -> Self:
        """As for any module, but frozen normalisations stay in evaluation."""
        super().train(mode)
        for norm in self._frozen_norms:
            norm.eval()
        return self

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, Conv2d):
                module.initialise()
            if isinstance(module, InvertedResidual) and module.shortcut:
                nn.init.zeros_(module.project.norm.weight)  # a block starts as its shortcut: deep nets learn sooner

    def _freeze(self) -> None:
        frozen = self._parts_up_to(self.config.freeze_at) if self.config.freeze_at else []
        for part in frozen:
            part.requires_grad_(False)
        kept = [self] if self.config.freeze_bn else frozen
        self._frozen_norms = [m for part in kept for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
        self.train()

    def _parts_up_to(self, name: str) -> list[nn.Module]:
        stage, _, expand = name.partition(".")
        parts: list[nn.Module] = []
        for child_name, child in self.named_children():
            if child_name == stage:
                parts.append(cast("InvertedResidual", cast("nn.Sequential", child)[0]).expand if expand else child)
                break
            parts.append(child)
        return parts

    def _norms(self) -> Iterator[nn.BatchNorm2d]:
        return (module for module in self.modules() if isinstance(module, nn.BatchNorm2d))


def _padding(name: str) -> Padding:
    if name not in Padding.__members__:
        raise InputError(f"padding={name!r}: must be one of {', '.join(Padding.__members__)}")
    return Padding[name]


def _in_order(features: Sequence[str], specs: dict[str, FeatureSpec]) -> list[str]:
    if isinstance(features, str):
        raise InputError(f"features={features!r}: must be a list of names, such as [{features!r}]")
    unknown = [name for name in features if name not in specs]
    if unknown or not features:
        raise InputError(f"features={list(features)}: must be one or more of {', '.join(specs)}")
    return [name for name in specs if name in features]


def _recompute(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts for the first pass and for the second, which must not count the batch statistics again."""
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = torch.zeros((), dtype=torch.long)
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
