"""From a configuration, or from options by name, to a backbone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from backbone.architecture import Padding
from backbone.config import MobileNetConfig
from backbone.errors import InputError
from backbone.families.mobilenet_v2 import MobileNetV2Config
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


class MobileNetV2(MobileNet):
    """MobileNetV2 by the options of `MobileNetV2Config`, for code that has no configuration.

    Args:
        features: the names to return, features or levels, any of `specs`.
        options: fields of `MobileNetV2Config`; `padding` may be given by its name.
    Raises:
        InputError: a value is out of range, a feature does not exist, or the weights do not fit.
    """

    def __init__(self, *, features: Sequence[str] = ("last",), **options: Any) -> None:
        padding = options.get("padding")
        if isinstance(padding, str):
            if padding not in Padding.__members__:
                raise InputError(f"padding={padding!r}: must be one of {', '.join(Padding.__members__)}")
            options["padding"] = Padding[padding]
        super().__init__(MobileNetV2Config(**options), features)
        _start(self)


def _start(backbone: MobileNet) -> MobileNet:
    if backbone.config.weights is not None:
        log.info("%s", load(backbone.config.weights, backbone))
    return backbone
