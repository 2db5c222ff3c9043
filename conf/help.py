"""What `--help` prints. Hydra's own answer reads every configuration several times, which takes seconds."""

from __future__ import annotations

import sys
from string import Template
from typing import TYPE_CHECKING

import hydra
from omegaconf import OmegaConf, open_dict

from conf.schema import options

if TYPE_CHECKING:
    from collections.abc import Sequence


def print_help(words: Sequence[str]) -> None:
    """The template of `conf/hydra/help`, filled with the groups and with the configuration that `words` compose."""
    with hydra.initialize_config_module("conf", version_base="1.3"):
        composed = hydra.compose("config", overrides=list(words), return_hydra_config=True)
    template = Template(composed.hydra.help.template)
    with open_dict(composed):
        del composed["hydra"]
    groups = "\n".join(f"{group}: {', '.join(names)}" for group, names in options().items())
    sys.stdout.write(template.substitute(APP_CONFIG_GROUPS=f"{groups}\n", CONFIG=OmegaConf.to_yaml(composed)))
    sys.stdout.write("\n")
