"""What the values in `conf` come to, by the papers and by what was measured on real data."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from backbone.errors import InputError
from conf.schema import options, register
from heads.deeplabv3.config import DeepLabV3Config
from heads.kinds import Kind
from heads.linear.config import LinearConfig
from heads.ssdlite.config import SSDLiteConfig
from tasks.config.run import RunConfig, Task
from tasks.config.training import Algorithm
from tasks.data.config import FolderConfig
from tasks.data.transforms.config import DeepLabTransformConfig, SSDTransformConfig

HEADS = {
    Kind.classification: LinearConfig,
    Kind.detection: SSDLiteConfig,
    Kind.segmentation: DeepLabV3Config,
}


def composed(*words: str) -> RunConfig:
    register()
    with initialize_config_module("conf", version_base="1.3"):
        config = OmegaConf.to_object(compose("config", overrides=list(words)))
    assert isinstance(config, RunConfig)
    return config


@pytest.mark.parametrize("experiment", options()["experiment"])
def test_every_experiment_is_a_configuration(experiment: str) -> None:
    config = composed(f"experiment={experiment}", "backbone.weights=FILE")
    assert config.backbone.weights == "FILE"
    assert all(isinstance(head.head, HEADS[head.kind]) for head in config.named_heads().values())


def test_the_paper_s_training() -> None:
    config = composed("experiment=mnv2_imagenet_paper")
    optim = config.optim
    assert (optim.algorithm, optim.momentum, optim.decay, optim.learning_rate) == (Algorithm.rmsprop, 0.9, 0.9, 0.045)
    assert (optim.weight_decay, config.data.batch_size) == (4e-5, 96)
    assert config.backbone.bn_momentum == pytest.approx(1 - 0.997)


def test_few_pictures_leave_the_backbone_as_it_is() -> None:
    config = composed("experiment=fine_tune", "data.root=x", "backbone.weights=y")
    assert config.backbone.freeze_at == "last"
    assert isinstance(config.data, FolderConfig)
    assert isinstance(config.head, LinearConfig)
    assert composed("experiment=fine_tune", "backbone.freeze_at=null").backbone.freeze_at is None


@pytest.mark.parametrize("task", list(Task))
def test_fine_tuning_is_a_configuration_for_every_task(task: Task) -> None:
    config = composed("experiment=fine_tune", f"task={task.value}", "data=shapes", "backbone.weights=y")
    assert config.task is task
    assert config.optim.algorithm is (Algorithm.adamw if task is Task.segmentation else Algorithm.sgd)
    kinds = {head.kind for head in config.named_heads().values()}
    assert kinds == (set(Kind) if task is Task.multitask else {Kind(task.value)})
    if task is Task.detection:
        assert isinstance(config.head, SSDLiteConfig)
        assert (list(config.head.taps), config.head.scales) == (["c3.expand", "c4.expand", "last"], "auto")
        assert isinstance(config.transform, SSDTransformConfig)
        assert (config.transform.zoom_out, config.transform.crop) == (0.0, 0.5)
    if task is Task.segmentation:
        assert isinstance(config.transform, DeepLabTransformConfig)
        assert (config.transform.copy_paste, config.data.balanced_sampling) == (1.0, 0.5)
        assert (config.optim.backbone_factor, config.optim.heads_first) == (0.05, 100)


@pytest.mark.parametrize(
    ("word", "remedy"), [("freeze_at=last", "freeze_at=null"), ("freeze_bn=true", "freeze_bn=false")]
)
def test_a_random_start_is_not_frozen(word: str, remedy: str) -> None:
    with pytest.raises(
        InputError,
        match=f"nothing worth keeping; give backbone.weights=FILE or checkpoint=FILE, or say backbone.{remedy}",
    ):
        composed(f"backbone.{word}")
