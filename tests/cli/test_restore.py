"""The configuration of a run that uses a checkpoint, and checkpoints that other versions wrote."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from torch import nn

from backbone.errors import InputError
from conf.schema import register
from tasks.checkpoints.model_file import Header, save_model
from tasks.cli.compose import read
from tasks.cli.explain import explain
from tasks.cli.restore import SECTIONS, with_checkpoint
from tasks.config.run import Mode, RunConfig, Task
from tasks.data.config import FolderConfig, VocConfig
from tasks.data.transforms.config import DeepLabTransformConfig, JointTransformConfig

if TYPE_CHECKING:
    from pathlib import Path

TRAINED = ("task=segmentation", "data=voc", "transform.image_size=65")
GROUPS = ("task", "backbone", "head", "transform", "data")


@pytest.fixture(scope="module")
def trained() -> Header:
    """As a training with the words of TRAINED leaves it."""
    register()
    with initialize_config_module("conf", version_base="1.3"):
        composed = compose("config", overrides=list(TRAINED), return_hydra_config=True)
    choices = {group: composed.hydra.runtime.choices[group] for group in GROUPS}
    config: Any = OmegaConf.to_container(OmegaConf.masked_copy(composed, [*SECTIONS, "task"]), enum_to_str=True)
    return Header(config=config, choices=choices, labels={}, provenance={})


@pytest.fixture
def header(trained: Header) -> Header:
    return copy.deepcopy(trained)


def restored(folder: Path, checkpoint: Header, *words: str, mode: Mode = Mode.evaluate) -> RunConfig:
    path = folder / "model.safetensors"
    save_model(path, nn.Identity(), checkpoint)
    command = OmegaConf.create({"checkpoint": str(path), "artifact": None, "mode": mode})
    source = ["source=x"] if mode is Mode.predict else []
    overrides = [*words, *source, f"checkpoint={path}", f"mode={mode.value}"]
    with initialize_config_module("conf", version_base="1.3"):
        config = OmegaConf.to_object(with_checkpoint(command, overrides))
    assert isinstance(config, RunConfig)
    return config


def test_a_checkpoint_brings_its_own_configuration(tmp_path: Path, header: Header) -> None:
    config = restored(tmp_path, header)
    assert config.task is Task.segmentation
    assert isinstance(config.transform, DeepLabTransformConfig)
    assert isinstance(config.data, VocConfig)
    assert config.transform.image_size == 65
    assert restored(tmp_path, header, "transform.image_size=97").transform.image_size == 97


def test_keys_of_another_task_than_the_default_need_no_task(tmp_path: Path, header: Header) -> None:
    """`transform.max_side` and `head.skip` are a segmenter's: the checkpoint says that it is one."""
    path = tmp_path / "model.safetensors"
    save_model(path, nn.Identity(), header)
    words = ["mode=evaluate", f"checkpoint={path}", "data.root=x"]
    config, command = read([*words, "transform.max_side=320", "head.skip=c3"])
    assert isinstance(config.transform, DeepLabTransformConfig)
    assert (config.transform.max_side, config.head.skip) == (320, "c3")
    assert "transform.max_side=320" in command.overrides
    with pytest.raises(Exception, match="zoom_out") as told:
        read([*words, "transform.zoom_out=1"])
    message = explain(told.value, [*words, "transform.zoom_out=1"])
    assert message is not None
    assert "there is no such key" in message
    assert "image_size, flip, photometric, scales, copy_paste, max_side" in message
    with pytest.raises(InputError, match=r"checkpoint=gone\.safetensors: no such file"):
        read(["mode=evaluate", "checkpoint=gone.safetensors", "transform.max_side=320"])


@pytest.mark.parametrize("group", GROUPS)
def test_a_checkpoint_that_does_not_tell_an_option(tmp_path: Path, header: Header, group: str) -> None:
    option = header.choices.pop(group)
    with pytest.raises(
        InputError,
        match=rf"checkpoint=.*model\.safetensors: does not tell which {group} .*; say {group}=OPTION as then",
    ):
        restored(tmp_path, header)
    assert restored(tmp_path, header, f"{group}={option}").task is Task.segmentation


def test_pictures_need_no_data(tmp_path: Path, header: Header) -> None:
    del header.choices["data"]
    assert isinstance(restored(tmp_path, header, mode=Mode.predict).data, FolderConfig)


def test_the_weights_decide(tmp_path: Path, header: Header) -> None:
    with pytest.raises(InputError, match="holds head=deeplabv3, but the command says head=ssdlite; leave it out"):
        restored(tmp_path, header, "head=ssdlite")
    config = restored(tmp_path, header, "transform=joint")
    assert isinstance(config.transform, JointTransformConfig)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("transform", "gone", 1, r"transform\.gone does not fit this version \(Key 'gone' not in 'DeepLab"),
        ("backbone", "width", "wide", r"backbone\.width does not fit this version \(Value 'wide' .* Float\)"),
        ("evaluation", "backend", "old", r"evaluation\.backend does not fit this version \(Invalid value 'old'"),
    ],
)
def test_a_checkpoint_with_another_version_s_keys(
    tmp_path: Path, header: Header, section: str, key: str, value: object, message: str
) -> None:
    header.config[section][key] = value
    with pytest.raises(InputError, match=rf"model\.safetensors: {message}.*another one wrote it; use that version, or"):
        restored(tmp_path, header)


def test_a_training_starts_from_a_checkpoint(tmp_path: Path, header: Header) -> None:
    """What an experiment and the command say goes before what the checkpoint says; its data only without others."""
    header.config["backbone"]["freeze_bn"] = True
    header.config["head"]["dropout"] = 0.3
    data = ("data=voc", "data.root=x")
    config = restored(tmp_path, header, *data, "head.channels=16", mode=Mode.train)
    assert (config.backbone.freeze_bn, config.head.dropout, config.head.channels) == (True, 0.3, 16)
    assert config.transform.image_size == 65
    header.choices |= {"task": "classification", "head": "linear", "transform": "imagenet"}
    header.config |= {"head": {"label_smoothing": 0.3, "dropout": 0.3}, "transform": {"min_area": 0.1}}
    experiment = ("data.root=x", "experiment=fine_tune")
    config = restored(tmp_path, header, *experiment, "head.dropout=0.4", mode=Mode.train)
    assert (config.head.label_smoothing, config.head.dropout, config.backbone.freeze_at) == (0.0, 0.4, "last")
    assert (config.transform.min_area, config.backbone.freeze_bn) == (0.35, True)
    assert isinstance(config.data, FolderConfig)
    with pytest.raises(InputError, match=r"backbone.weights=y: give one of them; a checkpoint has its backbone's"):
        restored(tmp_path, header, *data, "backbone.weights=y", mode=Mode.train)
    with pytest.raises(InputError, match=r"predict.classes=\['a'\]: checkpoint=.* knows the names of its classes"):
        restored(tmp_path, header, *data, "predict.classes=[a]", mode=Mode.train)
