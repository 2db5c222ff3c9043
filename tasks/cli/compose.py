"""From the words of a command to a checked configuration."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from backbone.architecture_file import read as read_architecture
from backbone.errors import InputError
from backbone.families.searched import SearchedConfig
from tasks.checkpoints.model_file import is_foreign
from tasks.cli.strides import fill_in_strides
from tasks.config.run import Command, RunConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_WHOLE = 2**32 - 1
"""The largest seed that every generator takes, and more than anything else that is counted here."""


def read(words: Sequence[str]) -> tuple[RunConfig, Command]:
    """The configuration that words without flags come to, checked.

    Raises:
        InputError: a value does not fit; and Hydra's and OmegaConf's errors (see `tasks.cli.explain`).
    """
    inside = GlobalHydra.instance().is_initialized()
    with nullcontext() if inside else hydra.initialize_config_module("conf", version_base="1.3"):
        return read_composed(compose(words))


def compose(words: Sequence[str]) -> DictConfig:
    """What Hydra makes of words without flags, with its node `hydra`.

    Where they do not fit the default task and name a checkpoint of Trident's, only groups and keys without a section
    are composed: `with_checkpoint` composes all of them once the checkpoint has said of which task it is.

    Raises:
        Exception: Hydra's and OmegaConf's (see `tasks.cli.explain`).
    """
    try:
        return hydra.compose("config", overrides=list(words), return_hydra_config=True)
    except HydraException as error:
        named = [word for word in words if word.startswith(("checkpoint=", "artifact="))]
        without_sections = [word for word in words if "." not in word.partition("=")[0]]
        if not named or without_sections == list(words):
            raise
        composed = hydra.compose("config", overrides=without_sections, return_hydra_config=True)
        if composed.artifact is None and is_foreign(str(composed.checkpoint)):
            raise error from error.__cause__
        composed.hydra.overrides.task = list(words)
        return composed


def read_composed(composed: DictConfig) -> tuple[RunConfig, Command]:
    """What Hydra composed as a checked configuration, and what it was made from."""
    choices = dict(composed.hydra.runtime.choices)
    overrides: Any = OmegaConf.to_container(composed.hydra.overrides.task, resolve=False)  # as they were typed
    with open_dict(composed):
        del composed["hydra"]
    if composed.checkpoint is not None or composed.artifact is not None:
        from tasks.cli.restore import with_checkpoint

        composed = with_checkpoint(composed, overrides)
    config = checked(composed)
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


def check_numbers(node: Any, where: str = "") -> None:
    """That every number is finite and of a size that something may have; 400 digits are parsed as a number, too.

    Args:
        node: plain data.
        where: its full name; empty: the root.
    Raises:
        InputError: one is not.
    """
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            check_numbers(child, f"{where}.{key}" if where else str(key))
    elif isinstance(node, float) and not math.isfinite(node):
        raise InputError(f"{where}={node}: must be a finite number")
    elif isinstance(node, int) and not -MAX_WHOLE <= node <= MAX_WHOLE:
        shown = node if abs(node) < 10**20 else "a number of many digits"
        raise InputError(f"{where}={shown}: must be a whole number of at most {MAX_WHOLE}")


def checked(composed: DictConfig) -> RunConfig:
    """The configuration that is composed, checked. What follows from the rest is filled in, in `composed` too: the
    network of a file, strides that heads ask for, and the mode's limit on the size of images.

    Raises:
        InputError: a value does not fit; and OmegaConf's errors.
    """
    _read_architecture(composed)
    fill_in_strides(composed)
    check_numbers(OmegaConf.to_container(composed, resolve=True))
    config: Any = OmegaConf.to_object(composed)
    if hasattr(config.transform, "max_side") and config.transform.max_side != config.max_side:
        composed.transform.max_side = config.max_side
        config = OmegaConf.to_object(composed)
    assert isinstance(config, RunConfig)
    return config
