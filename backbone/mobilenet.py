"""A network of the MobileNet kind as a plain module that returns named features.

It ends at the last convolution: pooling and the classifier are a head's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Self, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from backbone.architecture import Padding
from backbone.blocks import Block, Conv2d, ConvNormAct, Norm
from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backbone.config import MobileNetConfig
    from backbone.features import Features, FeatureSpec

DEFAULT_PADDING = Padding.symmetric
DEFAULT_BN_EPS = 1e-3
DEFAULT_MEAN = DEFAULT_STD = (0.5, 0.5, 0.5)


class MobileNet(nn.Module):
    """Feature maps of an image batch, by name.

    Args:
        config: which network, and how it is trained. What it leaves open is `padding` symmetric, `dilate_first` false,
            `bn_eps` 1e-3 and inputs in [-1, 1], until weights that are loaded say otherwise. Its `weights` are not
            loaded here (see `backbone.build`).
        features: the names to return, features or levels, any of `specs`; layers beyond the last of them are not built.
    Attributes:
        architecture: blocks and levels, after strides were turned into dilation.
        specs: channels and stride of every feature and level that there is, in the order of computation.
        features: the names that `forward` returns, in the order of computation.
        end: the last feature that is computed.
        stages: names of the stages that are built.
        input_mean, input_std: RGB scaling of inputs in [0, 1] that the caller has to apply.
    Raises:
        InputError: a feature does not exist; the message lists those there are.
    """

    def __init__(self, config: MobileNetConfig, features: Sequence[str] = ("last",)) -> None:
        super().__init__()
        self.config = config
        self.architecture = config.built
        self.specs: dict[str, FeatureSpec] = self.architecture.specs
        self.features = _in_order(features, self.specs)
        self.end = self.architecture.feature(self.features[-1])
        self.padding = config.padding or DEFAULT_PADDING
        self.dilate_first = bool(config.dilate_first)
        self.bn_eps = config.bn_eps or DEFAULT_BN_EPS
        self.input_mean = tuple(config.input_mean or DEFAULT_MEAN)
        self.input_std = tuple(config.input_std or DEFAULT_STD)
        self._build()
        self._initialise()
        self._freeze()

    def _build(self) -> None:
        architecture, norm = self.architecture, Norm(self.bn_eps, self.config.bn_momentum)
        stem, last = architecture.stem, architecture.last
        end, _, part = self.end.partition(".")
        self.stem = ConvNormAct(
            3, stem.channels, 3, stride=2, padding=self.padding, activation=stem.activation, norm=norm
        )
        self.stages: list[str] = []
        channels, before = stem.channels, None
        for name, specs in architecture.stages.items():
            if end == "stem" or end in self.stages:
                return
            built = specs[:1] if name == end and part in ("expand", "first") else specs
            blocks: list[Block] = []
            for spec in built:
                until = part if name == end and part != "first" and len(blocks) + 1 == len(built) else ""
                blocks.append(
                    Block(
                        spec,
                        channels,
                        before=before,
                        padding=self.padding,
                        norm=norm,
                        split=self.config.split,
                        until=until,
                    )
                )
                channels, before = spec.channels, spec
            self.add_module(name, nn.Sequential(*blocks))
            self.stages.append(name)
        if end == "last" and last is not None:
            self.last = ConvNormAct(channels, last.channels, activation=last.activation, norm=norm)

    def forward(self, images: Tensor) -> Features:
        """Features of images (N, 3, H, W) that are scaled by `input_mean` and `input_std`."""
        feature = self.architecture.feature
        x: Tensor = self.stem(images)
        found: Features = {"stem": x}
        wide = x
        for name in self.stages:
            x, wide = self._run_stage(name, x, wide, found)
        whole = any(name != "last" and feature(name) == "last" for name in self.features)
        if self.end == "last":
            found["last"] = self.last(x if whole else self._subsample(x))
        features = {name: found[feature(name)] for name in self.features}
        if "last" in features and (whole or feature("last") != "last"):
            features["last"] = self._subsample(features["last"])
        return features

    def _run_stage(self, name: str, x: Tensor, wide: Tensor, found: Features) -> tuple[Tensor, Tensor]:
        """Output of a stage for `x`, and its last expansion; what is wanted of it goes into `found`.

        Args:
            wide: the expansion of the block before, for blocks that add it to theirs.
        """
        wanted = {self.architecture.feature(feature) for feature in self.features}
        blocks = [cast("Block", block) for block in self.get_submodule(name).children()]
        for index, block in enumerate(blocks):
            expand = f"{name}.expand" if index == 0 else ""
            depthwise = f"{name}.depthwise" if index + 1 == len(blocks) else ""
            if wanted.isdisjoint((expand, depthwise)) and not block.keeps_expansion:
                x = self._run(block, x)
                if index == 0 and f"{name}.first" in wanted:
                    found[f"{name}.first"] = x
                continue
            expanded = block.widen(x)
            if block.adds_expansion:
                expanded = expanded + wide
            if block.keeps_expansion:
                wide = expanded
            if expand in wanted:
                found[expand] = expanded
            if expand == self.end:
                return x, wide
            filtered = block.depthwise(expanded)
            if depthwise in wanted:
                found[depthwise] = filtered
            if depthwise == self.end:
                return x, wide
            x = block.reduce(x, filtered)
            if index == 0 and f"{name}.first" in wanted:
                found[f"{name}.first"] = x
        found[name] = x
        return x, wide

    def _subsample(self, x: Tensor) -> Tensor:
        """The cells that a network with strides would have at `last`, all where `last_stride` is `output_stride`.

        TensorFlow's padding puts the first window on an even map one cell further than on an odd one.
        """
        stride = self.specs[list(self.architecture.stages)[-1]].stride
        while stride < self.specs["last"].stride:
            first = [int(self.padding is Padding.tf_same and size % 2 == 0) for size in x.shape[-2:]]
            x = x[..., first[0] :: 2, first[1] :: 2]
            stride *= 2
        return x

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        if self.config.activation_checkpointing and torch.is_grad_enabled():
            return cast("Tensor", checkpoint(block, x, use_reentrant=False, context_fn=partial(_recompute, block)))
        return cast("Tensor", block(x))

    def adopt(
        self,
        *,
        padding: Padding | None = None,
        dilate_first: bool | None = None,
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
        if dilate_first is not None and self.config.dilate_first is None:
            self.dilate_first = dilate_first
            self._set_dilation()
        if bn_eps is not None and self.config.bn_eps is None:
            self.bn_eps = bn_eps
            for norm in self._norms():
                norm.eps = bn_eps
        if input_mean is not None and self.config.input_mean is None:
            self.input_mean = tuple(input_mean)
        if input_std is not None and self.config.input_std is None:
            self.input_std = tuple(input_std)

    def _set_dilation(self) -> None:
        self.architecture = self.config.with_strides(dilate_first=self.dilate_first)
        for name in self.stages:
            for block, spec in zip(self.get_submodule(name).children(), self.architecture.stages[name], strict=False):
                part = "project" if not spec.separable else "depthwise" if spec.kernel is not None else "start"
                conv = getattr(getattr(block, part, None), "conv", None)  # there is none behind the last feature
                if isinstance(conv, Conv2d):
                    conv.dilation = (spec.dilation, spec.dilation)
                    conv.set_padding(self.padding)

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
            if isinstance(module, Block) and module.shortcut and self.config.zero_init:
                nn.init.zeros_(module.project.norm.weight)  # a block starts as its shortcut: deep nets learn sooner

    def _freeze(self) -> None:
        frozen = self._parts_up_to(self.config.freeze_at) if self.config.freeze_at else []
        for part in frozen:
            part.requires_grad_(False)
        kept = [self] if self.config.freeze_bn else frozen
        self._frozen_norms = [m for part in kept for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
        self.train()

    def _parts_up_to(self, name: str) -> list[nn.Module]:
        stage, _, part = self.architecture.feature(name).partition(".")
        parts: list[nn.Module] = []
        for child_name, child in self.named_children():
            if child_name != stage:
                parts.append(child)
                continue
            blocks = list(child.children())
            if part == "expand":
                parts += [blocks[0].get_submodule("start"), blocks[0].get_submodule("expand")]
            elif part == "first":
                parts.append(blocks[0])
            elif part == "depthwise":
                built = ("start", "expand", "depthwise")
                inner = [one for one_name, one in blocks[-1].named_children() if one_name in built]
                parts += [*blocks[:-1], *inner]
            else:
                parts.append(child)
            break
        return parts

    def _norms(self) -> Iterator[nn.BatchNorm2d]:
        return (module for module in self.modules() if isinstance(module, nn.BatchNorm2d))


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
