"""What --help and --help KEY print. Hydra, which composes the configuration, is the oracle of keys and defaults."""

from __future__ import annotations

import subprocess
import sys

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from backbone.errors import InputError
from conf.help import about, print_help
from conf.keys import group_options, keys, written
from conf.schema import register

AT_MOST_S = 2.0
"""A second where nothing else runs; other tests run beside this one."""


def composed(*words: str) -> DictConfig:
    register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_module("conf", version_base="1.3"):
        return hydra.compose("config", overrides=list(words))


def test_every_key_that_hydra_takes_is_there() -> None:
    whole = composed("task=detection")
    there = {key.name for key in keys()}
    for section in ("optim", "trainer", "evaluation", "predict", "export", "inspect", "profile", "pack"):
        assert {f"{section}.{name}" for name in whole[section]} == {
            name for name in there if name.startswith(f"{section}.")
        }
    for group in ("backbone", "head", "transform", "logger"):
        assert {f"{group}.{name}" for name in whole[group]} <= there


@pytest.mark.parametrize("option", group_options("backbone"))
def test_defaults_are_those_of_the_configuration(option: str) -> None:
    node = composed(f"backbone={option}", "data=folder").backbone  # data that changes nothing of it
    told = {key.name.removeprefix("backbone."): key.default for key in keys() if option in key.options}
    plain = OmegaConf.to_container(node)
    assert isinstance(plain, dict)
    assert {name: told[str(name)] for name in plain} == {name: written(value) for name, value in plain.items()}


def test_a_key_is_told_with_type_default_and_meaning() -> None:
    text = about("optim.ema_decay")
    assert text.startswith("optim.ema_decay=0.998    (number or null)\n    Decay of the moving average")
    assert "head.max_detections=100" in about("head.detections")  # an old name
    assert "(fp32 | fp16 | int8)" in about("export.precision")
    assert "of searched" in about("backbone.architecture")
    assert about("heads.objects.loss_weight").startswith("heads.NAME.loss_weight=")


def test_a_group_is_told_with_its_options_and_keys() -> None:
    text = about("head")
    assert text.startswith("head=OPTION: deeplabv3, linear, lraspp, ssdlite\n")
    assert "head.nms_iou=" in text


def test_every_key_can_be_asked_for() -> None:
    for key in keys():
        assert key.name.partition("=")[0] in about(key.name)


@pytest.mark.parametrize(
    ("wrong", "near"), [("optim.ema_deca", "optim.ema_decay"), ("foo.ema_decay", "optim.ema_decay")]
)
def test_a_wrong_key_is_answered_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(InputError, match=f"--help {wrong}: there is no such key; did you mean .*{near}"):
        about(wrong)


def test_help_is_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    print_help([])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


def test_an_answer_needs_nothing_heavy() -> None:
    """What takes the time of a command is its imports."""
    code = (
        "import sys; from tasks.run import main; sys.argv[1:] = ['--help', 'optim.ema_decay']\n"
        "try: main()\nfinally: print(sorted({'torch', 'numpy', 'PIL', 'cv2'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert told.stdout.startswith("optim.ema_decay=")
    assert told.stdout.splitlines()[-1] == "[]"
