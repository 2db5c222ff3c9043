"""Options that every backbone has. Imports nothing heavy: a configuration is checked before torch is loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from backbone.architecture import MAX_WIDTH, MIN_WIDTH, OUTPUT_STRIDES, Padding
from backbone.errors import InputError

if TYPE_CHECKING:
    from backbone.architecture import Architecture
    from backbone.features import FeatureSpec


@dataclass(kw_only=True, slots=True)
class MobileNetConfig(ABC):
    """Which backbone to build and with which weights to start: what all families share.

    What is None is taken from `weights`, and without weights from the defaults of `MobileNet`.
    """

    NAME: ClassVar[str] = ""
    """Option of the group `backbone`."""
    width: float = 1.0
    """Multiplier of all channels; the last 1x1 convolution grows with it above 1 but does not shrink below."""
    output_stride: int | None = None
    """Input pixels from one cell to the next at the last stage: 32, 16 or 8. Smaller ones dilate instead of striding.
    null: what the heads ask for, and 32 without heads."""
    last_stride: int | None = None
    """Stride of `last` where it is coarser than `output_stride`: every second or fourth cell, and the very numbers that
    a backbone of that output stride gives; null: `output_stride`, or what the other heads ask for."""
    padding: Padding | None = None
    dilate_first: bool | None = None
    """Whether the block that would have strided is dilated as those behind it. The papers' reference does not do so."""
    bn_eps: float | None = None
    bn_momentum: float = 0.03
    """Share of the new batch in the running statistics, as in PyTorch. The paper's decay of 0.997 is 0.003 here."""
    input_mean: list[float] | None = None
    """RGB mean subtracted from inputs in [0, 1], which the caller has to apply."""
    input_std: list[float] | None = None
    weights: str | None = None
    """Where to start from: a path or `source:name` (see backbone.weights)."""
    freeze_at: str | None = None
    """Freeze every layer up to this feature, parameters and batch statistics."""
    freeze_bn: bool = False
    """Keep all batch-normalisation statistics as they are while training."""
    zero_init: bool = True
    """Whether a block with a shortcut starts as that alone: the scale of its last normalisation is zero."""
    activation_checkpointing: bool = False
    """Compute blocks again in the backward pass instead of keeping their activations: slower, less memory."""
    split: int = 1
    """Inference only: run each bottleneck this many ways over its expanded channels (section 5): less memory."""

    def __post_init__(self) -> None:
        if not self.width >= MIN_WIDTH:
            raise InputError(f"backbone.width={self.width}: must be at least {MIN_WIDTH}")
        if self.width > MAX_WIDTH:
            raise InputError(f"backbone.width={self.width}: must be at most {MAX_WIDTH}")
        if self.output_stride is not None and self.output_stride not in OUTPUT_STRIDES:
            raise InputError(
                f"backbone.output_stride={self.output_stride}: must be one of {OUTPUT_STRIDES}, or null for what the"
                " heads ask for"
            )
        if self.last_stride is not None and not (
            self.last_stride in OUTPUT_STRIDES and self.last_stride >= self.finest_stride
        ):
            raise InputError(
                f"backbone.last_stride={self.last_stride}: must be one of {OUTPUT_STRIDES}, not below"
                f" backbone.output_stride={self.finest_stride}, or null for the same"
            )
        if self.bn_eps is not None and not self.bn_eps > 0:
            raise InputError(f"backbone.bn_eps={self.bn_eps}: must be positive")
        if not 0 < self.bn_momentum <= 1:
            raise InputError(f"backbone.bn_momentum={self.bn_momentum}: must be in (0, 1]; it is 1 - decay")
        for name, value in (("input_mean", self.input_mean), ("input_std", self.input_std)):
            if value is not None and len(value) != 3:
                raise InputError(f"backbone.{name}={list(value)}: must have three values, one for each of R, G, B")
        if self.input_std is not None and not all(std > 0 for std in self.input_std):
            raise InputError(f"backbone.input_std={list(self.input_std)}: all must be positive")
        if self.split < 1:
            raise InputError(f"backbone.split={self.split}: must be at least 1")
        if self.freeze_at is not None and self.freeze_at not in self.specs:
            raise InputError(f"backbone.freeze_at={self.freeze_at}: must be one of {', '.join(self.specs)}")

    def check_from_scratch(self, option: str) -> None:
        """Refuse weights for a network that only an option without a trace in their shapes makes another.

        Raises:
            InputError: there are weights.
        """
        if self.weights is not None:
            raise InputError(
                f"backbone.{option}: computes something else than backbone.weights={self.weights} were trained for;"
                " leave one of the two out"
            )

    def network(self) -> dict[str, Any]:
        """Options that decide which network it is, by name: width and what its family adds to the shared ones."""
        others = {field.name for field in fields(MobileNetConfig)} - {"width"}
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in others}
        return {name: value.name if isinstance(value, Enum) else value for name, value in values.items()}

    @abstractmethod
    def undilated(self) -> Architecture:
        """The network at this width, with all its strides."""

    @property
    def finest_stride(self) -> int:
        """The output stride that is built."""
        return self.output_stride or self.last_stride or max(OUTPUT_STRIDES)

    @property
    def built(self) -> Architecture:
        """The network at this width and output stride."""
        return self.with_strides(dilate_first=bool(self.dilate_first))

    def with_strides(self, *, dilate_first: bool) -> Architecture:
        """The network at this width and output stride, under one of the two rules of dilation."""
        return self.undilated().dilated(self.finest_stride, self.last_stride, dilate_first=dilate_first)

    @property
    def specs(self) -> dict[str, FeatureSpec]:
        """Channels and stride of every feature and level, in the order of computation."""
        return self.built.specs
