"""A network that a search or a person wrote down: an `Architecture` as data."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from backbone.architecture_file import from_plain, read, to_plain
from backbone.config import MobileNetConfig
from backbone.errors import InputError

if TYPE_CHECKING:
    from backbone.architecture import Architecture


@dataclass(kw_only=True, slots=True)
class SearchedConfig(MobileNetConfig):
    """Which network, as data, and with which weights to start."""

    NAME: ClassVar[str] = "searched"
    architecture: Any = None
    """A file that a search wrote (architecture.yaml), or what is in it."""

    def __post_init__(self) -> None:
        if self.width != 1:
            raise InputError(f"backbone.width={self.width}: a network as data has its channels; leave the width at 1")
        if self.architecture is None:
            raise InputError("backbone=searched: give backbone.architecture=FILE, the architecture.yaml of a search")
        if isinstance(self.architecture, str):
            self.architecture = read(self.architecture)
        self.undilated()
        MobileNetConfig.__post_init__(self)

    def undilated(self) -> Architecture:
        return from_plain(self.architecture)


def searched(config: MobileNetConfig, architecture: Architecture, **values: Any) -> SearchedConfig:
    """The same options with another network, and without weights.

    Args:
        values: of options that change.
    """
    options = {field.name: getattr(config, field.name) for field in fields(MobileNetConfig)}
    options |= {"width": 1.0, "weights": None, "architecture": to_plain(architecture)}
    return SearchedConfig(**options | values)
