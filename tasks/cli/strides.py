"""Output strides of a backbone that the command leaves open: what the heads ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from backbone.architecture import OUTPUT_STRIDES
from backbone.config import MobileNetConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

LAST = "last"
"""The level whose stride may be coarser than the others'."""


def fill_in_strides(config: DictConfig) -> None:
    """Set `backbone.output_stride` and `backbone.last_stride` where they are null, for a backbone of ours.

    The output stride is the smallest that a head asks for. Heads that look at the last level and ask for a coarser one
    get it there, as far as another head asks for the finer one: what they see is then what they would get alone.
    """
    backbone = config.backbone
    kind = OmegaConf.get_type(backbone) if isinstance(backbone, DictConfig) else None
    if kind is None or not issubclass(kind, MobileNetConfig):
        return
    asked = [(head.OUTPUT_STRIDE, LAST in taps) for head, taps in _heads(config)]
    finest = min((stride for stride, _ in asked), default=max(OUTPUT_STRIDES))
    coarser = min((stride for stride, at_last in asked if at_last), default=finest)
    if backbone.output_stride is None:
        backbone.output_stride = min(finest, backbone.last_stride or finest)
    if backbone.last_stride is None and coarser > finest:
        backbone.last_stride = max(coarser, backbone.output_stride)


def _heads(config: DictConfig) -> Iterator[tuple[Any, list[str]]]:
    """Classes of the heads' configurations, those that ask for a stride, and the levels they look at."""
    heads = [config.head, *(one.get("head") for one in (config.heads or {}).values() if isinstance(one, DictConfig))]
    for head in heads:
        kind = OmegaConf.get_type(head) if isinstance(head, DictConfig) else None
        if hasattr(kind, "OUTPUT_STRIDE"):
            yield kind, list(head.get("taps") or [head.get("tap")])
