from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from backbone.errors import InputError
from tasks.data.config import BadBoxes, CocoConfig, DataConfig, PicturesConfig, ShapesConfig, VocConfig
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
        (CocoConfig, {"batch_size": 0}, "data.batch_size=0: must be at least 1"),
        (VocConfig, {"workers": -1}, "data.workers=-1: must be at least 0"),
        (ShapesConfig, {"train_scenes": 0}, "data.train_scenes=0: must be at least 1"),
        (ShapesConfig, {"val_scenes": 0}, "data.val_scenes=0: must be at least 1"),
        (ShapesConfig, {"scene_size": 63}, "data.scene_size=63: must be at least 64"),
        (ShapesConfig, {"seed": -1}, "data.seed=-1: must be at least 0"),
        (ShapesConfig, {"batch_size": 0}, "data.batch_size=0: must be at least 1"),
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
        config.build("sound")


@pytest.mark.parametrize(
    ("config", "missing"), [(DataConfig, "build"), (PicturesConfig, "build"), (TransformConfig, "evaluation.*train")]
)
def test_a_plain_config_builds_nothing(config: type, missing: str) -> None:
    with pytest.raises(TypeError, match=f"abstract class {config.__name__} .*{missing}"):
        config()


@pytest.mark.parametrize("config", [CocoConfig(), VocConfig()])
def test_root_is_needed(config: DataConfig) -> None:
    with pytest.raises(InputError, match=r"data\.root is not set; give the folder of .*: data\.root=FOLDER"):
        config.build("detection")


def test_imports_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "cv2", "lightning", "albumentations"}
    assert not heavy & loaded_by("import tasks.data.config")
