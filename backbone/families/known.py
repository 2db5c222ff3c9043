"""Configurations of the networks of papers, by their option of the group `backbone`. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backbone.families.mobilenet_v1 import MobileNetV1Config
from backbone.families.mobilenet_v2 import MobileNetV2Config
from backbone.families.mobilenet_v3 import MobileNetV3LargeConfig, MobileNetV3SmallConfig
from backbone.families.mobilenet_v4 import MobileNetV4MediumConfig, MobileNetV4SmallConfig

if TYPE_CHECKING:
    from backbone.config import MobileNetConfig

NETWORKS: dict[str, type[MobileNetConfig]] = {
    config.NAME: config
    for config in (
        MobileNetV1Config,
        MobileNetV2Config,
        MobileNetV3LargeConfig,
        MobileNetV3SmallConfig,
        MobileNetV4SmallConfig,
        MobileNetV4MediumConfig,
    )
}
