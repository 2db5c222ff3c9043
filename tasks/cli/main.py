"""From the words of a command to its end. Nothing heavy is imported before the configuration is known to be right."""

from __future__ import annotations

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from conf.help import print_help
from conf.schema import literal_words, register
from tasks.cli.compose import plug, read
from tasks.cli.flags import check_flags
from tasks.cli.leaving import FAILED, _errors_explained, _exit, hint
from tasks.commands.dispatch import run_composed
from tasks.config.renamed import with_new_names
from tasks.distributed.starter import end_with_parent

HELP = {"--help", "-h"}
SWEEP = {"--multirun", "-m"}


def run() -> None:
    """See `tasks.run.main`."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors over instead of printing them
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin take the core from a data worker
    end_with_parent()
    register()
    words = sys.argv[1:] = with_new_names(sys.argv[1:], hint)
    words = literal_words(words, is_sweep=bool(SWEEP.intersection(words)))
    with _errors_explained():
        if any(word.startswith("-") for word in words):
            check_flags(words)
        if HELP.intersection(words):
            print_help([word for word in words if word not in HELP])
        elif SWEEP.intersection(words):
            _sweep([word for word in words if word not in SWEEP])
        elif any(word.startswith("-") for word in words):
            sys.argv[1:] = words
            _hydra_command()
        else:
            with hydra.initialize_config_module("conf", version_base="1.3"):
                run_composed(hydra.compose("config", overrides=words, return_hydra_config=True))


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def _hydra_command(composed: DictConfig) -> None:
    """--cfg job and the like: Hydra's own."""
    with _errors_explained():  # here, because Hydra prints what a job raises
        with open_dict(composed):
            composed.hydra = HydraConfig.instance().cfg.hydra  # type: ignore[union-attr]
        run_composed(composed)


def _sweep(words: list[str]) -> None:
    """Run once for each of several values."""
    from tasks.commands.sweep.sweep import sweep

    with hydra.initialize_config_module("conf", version_base="1.3"):
        failed = sweep(words, read, plug)
    if failed:
        _exit(f"{len(failed)} jobs failed: {', '.join(failed)}; the same words again go on with them", FAILED)
