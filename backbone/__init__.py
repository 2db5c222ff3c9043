"""MobileNets with named features. Needs torch and safetensors, nothing else.

from backbone import MobileNetV2, load

backbone = MobileNetV2(width=1.0, features=["stage4", "last"])
print(load("mobilenet_v2.safetensors", backbone))
features = backbone(images)  # {"stage4": (N, 64, H / 16, W / 16), "last": (N, 1280, H / 32, W / 32)}
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backbone.architecture import Padding
    from backbone.build import MobileNetV1, MobileNetV2, MobileNetV3Large, MobileNetV3Small
    from backbone.errors import InputError
    from backbone.families.mobilenet_v1 import MobileNetV1Config
    from backbone.families.mobilenet_v2 import MobileNetV2Config
    from backbone.families.mobilenet_v3 import MobileNetV3LargeConfig, MobileNetV3SmallConfig
    from backbone.features import Features, FeatureSpec
    from backbone.mobilenet import MobileNet
    from backbone.weights import LoadReport, load

__all__ = [
    "FeatureSpec",
    "Features",
    "InputError",
    "LoadReport",
    "MobileNet",
    "MobileNetV1",
    "MobileNetV1Config",
    "MobileNetV2",
    "MobileNetV2Config",
    "MobileNetV3Large",
    "MobileNetV3LargeConfig",
    "MobileNetV3Small",
    "MobileNetV3SmallConfig",
    "Padding",
    "load",
]

_HOME = {
    "FeatureSpec": "features",
    "Features": "features",
    "InputError": "errors",
    "LoadReport": "weights",
    "MobileNet": "mobilenet",
    "MobileNetV1": "build",
    "MobileNetV1Config": "families.mobilenet_v1",
    "MobileNetV2": "build",
    "MobileNetV2Config": "families.mobilenet_v2",
    "MobileNetV3Large": "build",
    "MobileNetV3LargeConfig": "families.mobilenet_v3",
    "MobileNetV3Small": "build",
    "MobileNetV3SmallConfig": "families.mobilenet_v3",
    "Padding": "architecture",
    "load": "weights",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that a configuration can be read without loading torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'backbone' has no attribute {name!r}")
    return getattr(import_module(f"backbone.{_HOME[name]}"), name)
