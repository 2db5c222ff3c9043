"""What the values in `conf` come to, by the papers and by what was measured on real data."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from conf.schema import options, register
from heads.linear.config import LinearConfig
from tasks.config import Algorithm, RunConfig
from tasks.data.config import FolderConfig
from tasks.data.transform_config import ImageNetTransformConfig


def composed(*words: str) -> RunConfig:
    register()
    with initialize_config_module("conf", version_base="1.3"):
        config = OmegaConf.to_object(compose("config", overrides=list(words)))
    assert isinstance(config, RunConfig)
    return config


@pytest.mark.parametrize("experiment", options()["experiment"])
def test_every_experiment_is_a_configuration(experiment: str) -> None:
    composed(f"experiment={experiment}")


def test_the_paper_s_training() -> None:
    config = composed("experiment=mnv2_imagenet_paper")
    optim = config.optim
    assert (optim.algorithm, optim.momentum, optim.decay, optim.learning_rate) == (Algorithm.rmsprop, 0.9, 0.9, 0.045)
    assert (optim.weight_decay, config.data.batch_size) == (4e-5, 96)
    assert config.backbone.bn_momentum == pytest.approx(1 - 0.997)


def test_a_folder_of_pictures_is_learned_gently() -> None:
    """At rates of 0.01 for the backbone, pretrained weights lose what they know."""
    config = composed("task=classification", "data=folder")
    assert isinstance(config.data, FolderConfig)
    assert config.optim.learning_rate * config.optim.backbone_factor == pytest.approx(0.001)
    assert composed("task=classification", "data=folder", "optim.learning_rate=0.1").optim.learning_rate == 0.1


def test_an_experiment_goes_before_what_a_folder_sets() -> None:
    theirs, ours = (
        composed("task=classification", "experiment=mnv2_imagenet", *more) for more in ((), ("data=folder",))
    )
    assert isinstance(ours.transform, ImageNetTransformConfig)
    assert isinstance(ours.head, LinearConfig)
    assert (theirs.optim, theirs.head, theirs.transform) == (ours.optim, ours.head, ours.transform)


def test_a_folder_for_another_task_changes_nothing() -> None:
    theirs, ours = composed("task=detection", "data=coco"), composed("task=detection", "data=folder")
    assert (theirs.optim, theirs.head, theirs.transform) == (ours.optim, ours.head, ours.transform)
