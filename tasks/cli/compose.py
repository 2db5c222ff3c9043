"""From the words of a command to a checked configuration."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from backbone.architecture_file import read as read_architecture
from backbone.families.searched import SearchedConfig
from tasks.cli.strides import fill_in_strides
from tasks.config.run import Command, RunConfig

if TYPE_CHECKING:
    from collections.abc import Sequence


def read(words: Sequence[str]) -> tuple[RunConfig, Command]:
    """The configuration that words without flags come to, checked.

    Raises:
        InputError: a value does not fit; and Hydra's and OmegaConf's errors (see `tasks.cli.explain`).
    """
    inside = GlobalHydra.instance().is_initialized()
    with nullcontext() if inside else hydra.initialize_config_module("conf", version_base="1.3"):
        return _read(hydra.compose("config", overrides=list(words), return_hydra_config=True))


def _read(composed: DictConfig) -> tuple[RunConfig, Command]:
    """What is composed as a checked configuration, and what it was made from."""
    choices = dict(composed.hydra.runtime.choices)
    overrides = list(composed.hydra.overrides.task)
    with open_dict(composed):
        del composed["hydra"]
    if composed.checkpoint is not None or composed.artifact is not None:
        from tasks.cli.restore import with_checkpoint

        composed = with_checkpoint(composed, overrides)
    _read_architecture(composed)
    fill_in_strides(composed)
    config = OmegaConf.to_object(composed)
    assert isinstance(config, RunConfig)

    written = OmegaConf.to_container(composed, resolve=True, enum_to_str=True)
    assert isinstance(written, dict)
    return config, Command(overrides=overrides, choices=choices, written={str(key): written[key] for key in written})


def _read_architecture(composed: DictConfig) -> None:
    """Put in place of a file that holds a network what is in it: run folders and checkpoints need no other file.

    Raises:
        InputError: the file is none that holds a network.
    """
    path = OmegaConf.select(composed, "backbone.architecture")
    if isinstance(path, str) and OmegaConf.get_type(composed.backbone) is SearchedConfig:
        composed.backbone.architecture = read_architecture(path)


def plug(part: Any) -> Any:
    """A typed configuration as it is; a node with `_target_`, somebody else's, is called with plain values."""
    return instantiate({"_convert_": "all", **part}) if isinstance(part, dict) and "_target_" in part else part
