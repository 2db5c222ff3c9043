"""Parts of a configuration that are somebody else's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate

if TYPE_CHECKING:
    from tasks.config.run import RunConfig

PARTS = ("backbone", "head", "transform", "data", "logger")


def plugged(config: RunConfig) -> RunConfig:
    """The configuration with every `_target_` node of a user called with plain values, and its result in place."""
    heads = config.heads and {name: replace(head, head=_called(head.head)) for name, head in config.heads.items()}
    return replace(config, heads=heads, **{part: _called(getattr(config, part)) for part in PARTS})


def _called(part: Any) -> Any:
    return instantiate({"_convert_": "all", **part}) if isinstance(part, dict) and "_target_" in part else part
