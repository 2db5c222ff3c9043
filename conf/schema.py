"""Which typed configurations Hydra composes, by group and name. The values beside them are in the YAML files here."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore

from backbone.families.mobilenet_v1 import MobileNetV1Config
from backbone.families.mobilenet_v2 import MobileNetV2Config
from backbone.families.mobilenet_v3 import MobileNetV3LargeConfig, MobileNetV3SmallConfig
from backbone.families.mobilenet_v4 import MobileNetV4MediumConfig, MobileNetV4SmallConfig
from backbone.families.searched import SearchedConfig
from heads.deeplabv3.config import DeepLabV3Config
from heads.linear.config import LinearConfig
from heads.lraspp.config import LRASPPConfig
from heads.ssdlite.config import SSDLiteConfig
from tasks.cli.literal import literal, text_keys
from tasks.config.export import ExportConfig, Format
from tasks.config.heads import DeepLabV3HeadConfig, HeadConfig, LinearHeadConfig, LRASPPHeadConfig, SSDLiteHeadConfig
from tasks.config.logger import LoggerConfig, MlflowConfig, WandbConfig
from tasks.config.run import RunConfig
from tasks.config.search import BlocksConfig, NetAdaptConfig
from tasks.config.training import OptimConfig, Strategy, TrainerConfig
from tasks.data.config import (
    CocoConfig,
    FolderConfig,
    ImageNetConfig,
    MasksConfig,
    MixedConfig,
    ShapesConfig,
    ShardsConfig,
    VocConfig,
    YoloConfig,
)
from tasks.data.transforms.config import (
    DeepLabTransformConfig,
    ImageNetTransformConfig,
    JointTransformConfig,
    SSDTransformConfig,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NODES = {
    "backbone/mobilenet_v1": MobileNetV1Config,
    "backbone/mobilenet_v2": MobileNetV2Config,
    "backbone/mobilenet_v3_large": MobileNetV3LargeConfig,
    "backbone/mobilenet_v3_small": MobileNetV3SmallConfig,
    "backbone/mobilenet_v4_medium": MobileNetV4MediumConfig,
    "backbone/mobilenet_v4_small": MobileNetV4SmallConfig,
    "backbone/searched": SearchedConfig,
    "head/deeplabv3": DeepLabV3Config,
    "head/linear": LinearConfig,
    "head/lraspp": LRASPPConfig,
    "head/ssdlite": SSDLiteConfig,
    "heads/any": HeadConfig,
    "heads/deeplabv3": DeepLabV3HeadConfig,
    "heads/linear": LinearHeadConfig,
    "heads/lraspp": LRASPPHeadConfig,
    "heads/ssdlite": SSDLiteHeadConfig,
    "transform/deeplab": DeepLabTransformConfig,
    "transform/imagenet": ImageNetTransformConfig,
    "transform/joint": JointTransformConfig,
    "transform/ssd": SSDTransformConfig,
    "data/shapes_schema": ShapesConfig,
    "data/coco": CocoConfig,
    "data/voc": VocConfig,
    "data/yolo": YoloConfig,
    "data/masks": MasksConfig,
    "data/imagenet": ImageNetConfig,
    "data/folder": FolderConfig,
    "data/shards": ShardsConfig,
    "data/mixed": MixedConfig,
    "optim/sgd": OptimConfig,
    "trainer/default": TrainerConfig,
    "trainer/ddp": TrainerConfig(accelerator="gpu", strategy=Strategy.ddp),
    "trainer/ddp_cpu": TrainerConfig(accelerator="cpu", devices=2, strategy=Strategy.ddp),
    "logger/files": LoggerConfig,
    "logger/mlflow": MlflowConfig,
    "logger/wandb": WandbConfig,
    "search/netadapt": NetAdaptConfig,
    "search/blocks": BlocksConfig,
    **{f"export/{name}": ExportConfig(format=of) for name, of in Format.__members__.items()},
}


def register() -> None:
    """Tell Hydra's store of every typed configuration."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=RunConfig)
    for place, node in NODES.items():
        group, name = place.split("/")
        store.store(group=group, name=name, node=node)


def options() -> dict[str, list[str]]:
    """Names that each configuration group takes, the YAML files among them."""
    there: dict[str, set[str]] = {}
    for place in NODES:
        group, name = place.split("/")
        there.setdefault(group, set()).add(name)
    for folder in files("conf").iterdir():
        if folder.is_dir() and folder.name not in ("hydra", "__pycache__"):
            found = {file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")}
            there.setdefault(folder.name, set()).update(found)
    return {
        group: sorted(name for name in names if not name.endswith("_schema")) for group, names in sorted(there.items())
    }


def literal_words(words: Sequence[str], *, is_sweep: bool = False) -> list[str]:
    """The words of a command, with paths and names in Hydra's quotes; see `tasks.cli.literal`."""
    sections: dict[str, list[type]] = {"": [RunConfig]}
    for place, node in NODES.items():
        group = place.partition("/")[0]
        kind = node if isinstance(node, type) else type(node)
        for section in (group, "heads") if group == "head" else (group,):
            sections.setdefault(section, []).append(kind)
    return literal(words, text_keys(sections), is_sweep=is_sweep)
