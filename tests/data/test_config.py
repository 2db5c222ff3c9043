from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from backbone.errors import InputError
from tasks.data.build import Need, build_joint, build_splits
from tasks.data.config import BadBoxes, CocoConfig, DataConfig, ImagesConfig, ShapesConfig, VocConfig
from tasks.data.splits import DataSplits
from tasks.data.transforms.build import batch_mixing, evaluation_transform, growing_size, train_transform
from tasks.data.transforms.config import SSDTransformConfig, TransformConfig
from tests.processes import loaded_by


@pytest.mark.parametrize("config", [ShapesConfig, CocoConfig, VocConfig])
def test_omegaconf_takes_and_gives_them_back(config: type[DataConfig]) -> None:
    node = OmegaConf.structured(config)
    node.bad_boxes = "drop"
    node.workers = 3
    made = OmegaConf.to_object(node)
    assert isinstance(made, config)
    assert made.bad_boxes is BadBoxes.drop
    assert made.workers == 3


@pytest.mark.parametrize("config", [SSDTransformConfig, ShapesConfig, CocoConfig, VocConfig])
def test_slots_refuse_unknown_keys(config: type) -> None:
    with pytest.raises(AttributeError):
        config().unknown = 1


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (SSDTransformConfig, {"image_size": 31}, "transform.image_size=31: must be at least 32"),
        (CocoConfig, {"batch_size": 0}, "data.batch_size=0: must be a number of images from 1 on, or auto"),
        (VocConfig, {"workers": -1}, "data.workers=-1: must be at least 0"),
        (ShapesConfig, {"train_scenes": 0}, "data.train_scenes=0: must be at least 1"),
        (ShapesConfig, {"val_scenes": 0}, "data.val_scenes=0: must be at least 1"),
        (ShapesConfig, {"scene_size": 63}, "data.scene_size=63: must be at least 64"),
        (ShapesConfig, {"seed": -1}, "data.seed=-1: must be at least 0"),
        (ShapesConfig, {"batch_size": 0}, "data.batch_size=0: must be a number of images from 1 on, or auto"),
        (SSDTransformConfig, {"zoom_out": 1.5}, "transform.zoom_out=1.5: must be a probability from 0 to 1"),
        (SSDTransformConfig, {"crop": -0.1}, "transform.crop=-0.1: must be a probability"),
        (SSDTransformConfig, {"flip": float("nan")}, "transform.flip=nan: must be a probability"),
    ],
)
def test_out_of_range(config: type, values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config(**values)


@pytest.mark.parametrize("config", [ShapesConfig(), CocoConfig(), VocConfig()])
def test_unknown_kind(config: DataConfig) -> None:
    with pytest.raises(InputError, match=r"task=sound data=.*: this data has labels for .*detection"):
        build_splits(config, "sound")


@pytest.mark.parametrize("config", [DataConfig(), ImagesConfig()])
def test_a_plain_config_builds_nothing(config: DataConfig) -> None:
    message = rf"data: {type(config).__name__} is none of Trident's and has no build\(kind, need_train=\.\.\.\)"
    with pytest.raises(InputError, match=message):
        build_splits(config, "detection")


def test_a_plain_transform_does_nothing() -> None:
    for make, method in ((train_transform, "train"), (evaluation_transform, "evaluation")):
        message = rf"transform: TransformConfig is none of Trident's and has no {method}\(\)"
        with pytest.raises(InputError, match=message):
            make(TransformConfig())
    assert batch_mixing(TransformConfig(), 0) is None
    assert growing_size(TransformConfig()) is None


def test_configs_from_outside_build_themselves() -> None:
    splits, made, sizes = object(), object(), object()

    class Data(CocoConfig):
        def build(self, kind: str, *, need_train: bool = True) -> Any:
            return splits if (kind, need_train) == ("sound", False) else None

        def build_views(self, kinds: list[str]) -> Any:
            whole = DataSplits(train=None, val=None, test=None, labels=None)  # type: ignore[arg-type]
            return whole, dict.fromkeys(kinds, splits)

    class Cut(SSDTransformConfig):
        def train(self) -> Any:
            return made

        def evaluation(self) -> Any:
            return made

        def mixing(self, seed: int) -> Any:
            return seed

        def sizes(self) -> Any:
            return sizes

    assert build_splits(Data(), "sound", need_train=False) is splits
    heads = {"a": Need("detection", "a"), "b": Need("sound", "b")}
    assert build_joint(Data(), heads).heads == {"a": splits, "b": splits}
    assert train_transform(Cut()) is evaluation_transform(Cut()) is made
    assert batch_mixing(Cut(), 7) == 7
    assert growing_size(Cut()) is sizes


@pytest.mark.parametrize("config", [CocoConfig(), VocConfig()])
def test_root_is_needed(config: DataConfig) -> None:
    with pytest.raises(InputError, match=r"data\.root is not set; give the folder of .*: data\.root=FOLDER"):
        build_splits(config, "detection")


def test_imports_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "cv2", "lightning", "albumentations"}
    assert not heavy & loaded_by("import tasks.data.config")
