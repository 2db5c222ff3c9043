"""From the words of a command to its end. Nothing heavy is imported before the configuration is known to be right."""

from __future__ import annotations

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from conf.help import print_help
from conf.schema import literal_words, register
from tasks.cli.compose import compose, read, read_composed
from tasks.cli.flags import check_flags
from tasks.cli.leaving import FAILED, CommandFailed, _errors_explained, _exit, hint
from tasks.cli.loading import load_model
from tasks.commands import dispatch
from tasks.config.renamed import with_new_names
from tasks.config.run import NO_DATA
from tasks.distributed.launch import launch, processes
from tasks.distributed.starter import end_with_parent
from tasks.distributed.world import check, started

HELP = {"--help", "-h"}
SWEEP = {"--multirun", "-m"}
WITHOUT_DATA = {"mode=profile", "mode=latency"}
"""They ask what a network costs: that of the paper, not what the built-in data is trained with."""
BRING_DATA = ("data", "checkpoint", "artifact")


def run() -> None:
    """See `tasks.run.main`."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors over instead of printing them
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin take the core from a data worker
    end_with_parent()
    register()
    words = sys.argv[1:] = with_new_names(sys.argv[1:], hint)
    words = literal_words(words, is_sweep=bool(SWEEP.intersection(words)))
    mode = next((place for place, word in enumerate(words) if word in WITHOUT_DATA), None)
    if mode is not None and not any(word.lstrip("+~").startswith(BRING_DATA) for word in words):
        words.insert(mode, f"data={NO_DATA}")
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
                _run(compose(words))


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def _hydra_command(composed: DictConfig) -> None:
    """--cfg job and the like: Hydra's own."""
    with _errors_explained():  # here, because Hydra prints what a job raises
        with open_dict(composed):
            composed.hydra = HydraConfig.instance().cfg.hydra  # type: ignore[union-attr]
        _run(composed)


def _run(composed: DictConfig) -> None:
    """Run what is composed, in this process or in several; its node `hydra` says from which words and options."""
    config, command = read_composed(composed)
    world = started()
    check(config.trainer, world, mode=config.mode.value, can_share=config.can_share)
    count = processes(config.trainer, mode=config.mode.value, can_share=config.can_share)
    if count > 1:
        if code := launch(count, [sys.executable, "-P", "-m", "tasks.run", *sys.argv[1:]]):
            raise CommandFailed(code)
        return
    if world is not None:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # what torch says of a lost process, we say in one line
    if dispatch.run(config, command, load_model, world):
        raise KeyboardInterrupt


def _sweep(words: list[str]) -> None:
    """Run once for each of several values."""
    from tasks.commands.sweep.sweep import sweep

    with hydra.initialize_config_module("conf", version_base="1.3"):
        failed = sweep(words, read)
    if failed:
        _exit(f"{len(failed)} jobs failed: {', '.join(failed)}; the same words again go on with them", FAILED)
