"""The configuration of a run that uses a checkpoint: the checkpoint's own, and on top what the command says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from backbone.errors import InputError
from tasks.checkpoint import is_foreign, read_header
from tasks.config import Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

SECTIONS = ("backbone", "head", "transform", "data", "evaluation")
"""Parts of the configuration that a checkpoint brings along."""
FIXED = ("backbone", "head")
"""Of these the option itself cannot be changed: the weights are of that kind."""
NO_DATA = "folder"
"""Data that changes nothing else in a configuration, for a mode that needs none."""


def with_checkpoint(composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Take the model from `checkpoint`'s header, and its data unless the command names other data.

    Raises:
        InputError: the command names another task, backbone or head than the checkpoint holds.
    """
    path = str(composed.checkpoint)
    said = {override.key_or_group: override for override in OverridesParser.create().parse_overrides(list(overrides))}
    without_data = composed.mode is Mode.predict and "data" not in said
    if is_foreign(path):
        return compose("config", overrides=[f"data={NO_DATA}", *overrides]) if without_data else composed
    header = read_header(path)
    for group in ("task", *FIXED):
        if group in said and said[group].value() != header.choices[group]:
            raise InputError(
                f"checkpoint={path}: holds {group}={header.choices[group]}, but the command says "
                f"{group}={said[group].value()}; leave it out"
            )
    groups = {group: choice for group, choice in header.choices.items() if group not in said}
    if without_data:
        groups["data"] = NO_DATA
    config = compose("config", overrides=[*(f"{group}={choice}" for group, choice in groups.items()), *overrides])
    for section in SECTIONS:
        if section in said or (section == "data" and without_data):
            continue
        OmegaConf.update(config, section, OmegaConf.merge(config[section], header.config[section]))
        for key, override in said.items():
            if key.startswith(f"{section}."):
                value: Any = override.value()
                OmegaConf.update(config, key, value)
    return config
