"""From a configuration, or from options by name, to a backbone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

from backbone.architecture import Padding, Shortcut
from backbone.config import MobileNetConfig
from backbone.errors import InputError
from backbone.families.mobilenet_v1 import MobileNetV1Config
from backbone.families.mobilenet_v2 import MobileNetV2Config
from backbone.families.mobilenet_v3 import MobileNetV3LargeConfig, MobileNetV3SmallConfig, ReducedTail
from backbone.families.mobilenet_v4 import MobileNetV4MediumConfig, MobileNetV4SmallConfig
from backbone.mobilenet import MobileNet
from backbone.weights import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

log = logging.getLogger(__name__)


def build_backbone(config: Any, features: Sequence[str]) -> nn.Module:
    """The backbone that delivers `features`, with `config.weights` loaded if there are any.

    Args:
        config: ours, or another's, whose own `build(features)` is called.
    Raises:
        InputError: a feature does not exist, or the weights do not fit.
    """
    if isinstance(config, MobileNetConfig):
        return _start(MobileNet(config, features))
    built: nn.Module = config.build(features)
    return built


class _ByOptions(MobileNet):
    """A network by the options of its configuration, for code that has no configuration.

    Args:
        features: the names to return, features or levels, any of `specs`.
        options: fields of `CONFIG`; an enumeration's value may be given by its name.
    Raises:
        InputError: a value is out of range, a feature does not exist, or the weights do not fit.
    """

    CONFIG: ClassVar[type[MobileNetConfig]]

    def __init__(self, *, features: Sequence[str] = ("last",), **options: Any) -> None:
        for name, kind in (("padding", Padding), ("reduced_tail", ReducedTail), ("shortcut", Shortcut)):
            value = options.get(name)
            if isinstance(value, str):
                if value not in kind.__members__:
                    raise InputError(f"{name}={value!r}: must be one of {', '.join(kind.__members__)}")
                options[name] = kind[value]
        super().__init__(self.CONFIG(**options), features)
        _start(self)


class MobileNetV1(_ByOptions):
    """MobileNetV1 by the options of `MobileNetV1Config`."""

    CONFIG = MobileNetV1Config


class MobileNetV2(_ByOptions):
    """MobileNetV2 by the options of `MobileNetV2Config`."""

    CONFIG = MobileNetV2Config


class MobileNetV3Large(_ByOptions):
    """MobileNetV3-Large by the options of `MobileNetV3LargeConfig`."""

    CONFIG = MobileNetV3LargeConfig


class MobileNetV3Small(_ByOptions):
    """MobileNetV3-Small by the options of `MobileNetV3SmallConfig`."""

    CONFIG = MobileNetV3SmallConfig


class MobileNetV4Small(_ByOptions):
    """MobileNetV4-Conv-Small by the options of `MobileNetV4SmallConfig`."""

    CONFIG = MobileNetV4SmallConfig


class MobileNetV4Medium(_ByOptions):
    """MobileNetV4-Conv-Medium by the options of `MobileNetV4MediumConfig`."""

    CONFIG = MobileNetV4MediumConfig


def _start(backbone: MobileNet) -> MobileNet:
    if backbone.config.weights is not None:
        log.info("%s", load(backbone.config.weights, backbone))
    return backbone
