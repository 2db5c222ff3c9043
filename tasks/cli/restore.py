"""The configuration of a run that uses a checkpoint: the checkpoint's own, and on top what the command says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra import compose
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from backbone.errors import InputError
from tasks.checkpoints.model_file import GROUPS, is_foreign, read_header
from tasks.config.heads import nearest
from tasks.config.run import Mode
from tasks.deploy.header import read_artifact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hydra.core.override_parser.types import Override

    from tasks.checkpoints.model_file import Header
    from tasks.deploy.header import ArtifactHeader

SECTIONS = ("backbone", "head", "heads", "transform", "data", "evaluation")
"""Parts of the configuration that a checkpoint brings along."""
FIXED = ("backbone", "head")
"""Of these the option itself cannot be changed: the weights are of that kind."""
NO_DATA = "folder"
"""Data that changes nothing else in a configuration, for a mode that needs none."""


def with_checkpoint(composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Take the model from the header of `checkpoint` or `artifact`, and its data unless the command names other data.

    Raises:
        InputError: the command names another task, backbone or head than the checkpoint holds, or the checkpoint is of
            a version that knew other groups or keys.
    """
    path = str(composed.artifact or composed.checkpoint)
    what = f"checkpoint={path}" if composed.artifact is None else f"artifact={path}"
    said = {override.key_or_group: override for override in OverridesParser.create().parse_overrides(list(overrides))}
    without_data = composed.mode is Mode.predict and "data" not in said
    if composed.artifact is None and is_foreign(path):
        return compose("config", overrides=[f"data={NO_DATA}", *overrides]) if without_data else composed
    header = read_header(path) if composed.artifact is None else read_artifact(path)
    for key, override in said.items():
        if composed.artifact is not None and key.partition(".")[0] in (*FIXED, "heads") and "." in key:
            raise InputError(f"{what}: its backbone and heads are in the file; leave {override.input_line} out")
    for group in GROUPS[:-1] if without_data else GROUPS:
        _check_option(what, group, header.choices, said)
    groups = {
        group: choice
        for group, choice in header.choices.items()
        if choice is not None and group not in said and "@" not in group
    }
    if without_data:
        groups["data"] = NO_DATA
    config = compose("config", overrides=[*(f"{group}={choice}" for group, choice in groups.items()), *overrides])
    for section in SECTIONS:
        saved = header.config.get(section)
        if saved is None or section in said or (section == "data" and without_data):
            continue
        try:
            if section == "heads":
                config.heads = _typed("heads", "heads", _chosen(path, saved, config.only), header)
            else:
                if saved.get("parts"):
                    config.data.parts = _typed("data", "data.parts", saved["parts"], header)
                OmegaConf.update(config, section, OmegaConf.merge(config[section], saved))
        except OmegaConfBaseException as error:
            raise InputError(
                f"{what}: {error.full_key or section} does not fit this version ({str(error).splitlines()[0]}), so"
                " another one wrote it; use that version, or train again"
            ) from error
        for key, override in said.items():
            if key.startswith(f"{section}."):
                value: Any = override.value()
                OmegaConf.update(config, key, value)
    return config


def _check_option(what: str, group: str, choices: Mapping[str, Any], said: Mapping[str, Override]) -> None:
    """That it is known with which option of a configuration group a checkpoint was made.

    Raises:
        InputError: it is not, or the command names another one where that cannot be.
    """
    if group not in choices:
        if group not in said:
            raise InputError(
                f"{what}: does not tell which {group} it was made with, so another version wrote it; say {group}=OPTION"
                " as then"
            )
    elif group in ("task", *FIXED) and group in said and said[group].value() != choices[group]:
        raise InputError(
            f"{what}: holds {group}={choices[group]}, but the command says {group}={said[group].value()}; leave it out"
        )


def _chosen(path: str, saved: dict[str, Any], only: Sequence[str] | None) -> dict[str, Any]:
    """The heads of a checkpoint that are used.

    Raises:
        InputError: it has none of a name in `only`, or that is empty.
    """
    wanted = list(saved if only is None else only)
    there = f"it has {', '.join(saved)}"
    if not wanted:
        raise InputError(f"only=[]: names no head of checkpoint={path}; {there}")
    for name in wanted:
        if name not in saved:
            raise InputError(
                f"only=[{', '.join(wanted)}]: checkpoint={path} has no {name}, {there}{nearest(name, saved)}"
            )
    return {name: saved[name] for name in saved if name in wanted}


def _typed(group: str, package: str, saved: dict[str, Any], header: Header | ArtifactHeader) -> DictConfig:
    """Nodes by name as a checkpoint holds them, each typed by the option of `group` that it was made from."""
    options = ConfigStore.instance().repo[group]
    nodes: dict[str, Any] = {}
    for name, plain in saved.items():
        option = options.get(f"{header.choices.get(f'{group}@{package}.{name}')}.yaml")
        nodes[name] = plain if option is None else OmegaConf.merge(option.node, plain)
    return OmegaConf.create(nodes)
