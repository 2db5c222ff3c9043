"""Which typed configurations Hydra composes, by group and name. The values beside them are in the YAML files here."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore

from backbone.config import MobileNetV2Config
from heads.deeplabv3.config import DeepLabV3Config
from heads.linear.config import LinearConfig
from heads.ssdlite.config import SSDLiteConfig
from tasks.config import LoggerConfig, OptimConfig, RunConfig, TrainerConfig
from tasks.data.config import (
    CocoConfig,
    FolderConfig,
    ImageNetConfig,
    MasksConfig,
    ShapesConfig,
    ShardsConfig,
    VocConfig,
)
from tasks.data.transform_config import DeepLabTransformConfig, ImageNetTransformConfig, SSDTransformConfig

NODES = {
    "backbone/mobilenet_v2": MobileNetV2Config,
    "head/deeplabv3": DeepLabV3Config,
    "head/linear": LinearConfig,
    "head/ssdlite": SSDLiteConfig,
    "transform/deeplab": DeepLabTransformConfig,
    "transform/imagenet": ImageNetTransformConfig,
    "transform/ssd": SSDTransformConfig,
    "data/shapes_schema": ShapesConfig,
    "data/coco": CocoConfig,
    "data/voc": VocConfig,
    "data/masks": MasksConfig,
    "data/imagenet": ImageNetConfig,
    "data/folder": FolderConfig,
    "data/shards": ShardsConfig,
    "optim/sgd": OptimConfig,
    "trainer/default": TrainerConfig,
    "logger/files": LoggerConfig,
}


def register() -> None:
    """Tell Hydra's store of every typed configuration."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=RunConfig)
    for place, node in NODES.items():
        group, name = place.split("/")
        store.store(group=group, name=name, node=node)
