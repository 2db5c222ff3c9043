"""From a configuration to a backbone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from backbone.config import MobileNetV2Config
from backbone.mobilenet_v2 import MobileNetV2
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
    if not isinstance(config, MobileNetV2Config):
        built: nn.Module = config.build(features)
        return built
    backbone = MobileNetV2(
        width=config.width,
        depth=config.depth,
        fixed_ends=config.fixed_ends,
        output_stride=config.output_stride,
        last_stride=config.last_stride,
        features=features,
        padding=config.padding,
        bn_eps=config.bn_eps,
        bn_momentum=config.bn_momentum,
        input_mean=config.input_mean,
        input_std=config.input_std,
        freeze_at=config.freeze_at,
        freeze_bn=config.freeze_bn,
        activation_checkpointing=config.activation_checkpointing,
        split=config.split,
    )
    if config.weights is not None:
        log.info("%s", load(config.weights, backbone))
    return backbone
