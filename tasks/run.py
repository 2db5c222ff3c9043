"""The command line: `python -m tasks.run task=detection backbone.width=1.0`.

Nothing heavy is imported before the configuration is known to be right, so a typing error is answered at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from backbone.errors import InputError
from conf.help import print_help
from conf.schema import register
from tasks.config import Command, RunConfig
from tasks.explain import explain

if TYPE_CHECKING:
    from collections.abc import Iterator

HELP = {"--help", "-h"}
BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130


def main() -> None:
    """Run the command and leave with 0, 2 for bad input, 130 after Ctrl-C, or 1 for a fault of ours.

    mode=inspect leaves with 1, too, if training on the data would be spoiled.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors over instead of printing them
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin take the core from a data worker
    register()
    words = sys.argv[1:]
    with _errors_explained():
        if HELP.intersection(words):
            print_help([word for word in words if word not in HELP])
        elif any(word.startswith("-") for word in words):
            _hydra_command()
        else:
            with hydra.initialize_config_module("conf", version_base="1.3"):
                _run(hydra.compose("config", overrides=words, return_hydra_config=True))


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def _hydra_command(composed: DictConfig) -> None:
    """--cfg job, --multirun and the like: Hydra's own."""
    with _errors_explained():  # here, because Hydra prints what a job raises
        with open_dict(composed):
            composed.hydra = HydraConfig.instance().cfg.hydra  # type: ignore[union-attr]
        _run(composed)


def _run(composed: DictConfig) -> None:
    """Run what is composed; its node `hydra` says from which words and options."""
    choices = dict(composed.hydra.runtime.choices)
    overrides = list(composed.hydra.overrides.task)
    with open_dict(composed):
        del composed["hydra"]
    if composed.checkpoint is not None or composed.artifact is not None:
        from tasks.restore import with_checkpoint

        composed = with_checkpoint(composed, overrides)
    config = OmegaConf.to_object(composed)
    assert isinstance(config, RunConfig)

    written = OmegaConf.to_container(composed, resolve=True, enum_to_str=True)
    assert isinstance(written, dict)
    command = Command(overrides=overrides, choices=choices, written={str(key): written[key] for key in written})

    from tasks.jobs import run  # everything heavy comes with it

    if run(config, command):
        raise KeyboardInterrupt


@contextmanager
def _errors_explained() -> Iterator[None]:
    """One line for what the user can mend, a traceback for the rest."""
    try:
        yield
    except KeyboardInterrupt:
        _leave("interrupted", INTERRUPTED)
    except Exception as error:
        message = str(error) if isinstance(error, InputError) else explain(error, sys.argv[1:])
        if message is None:
            traceback.print_exc()
            _leave("this is a fault of Trident's, not of yours; please report it with the lines above", FAILED)
        else:
            _leave(message, BAD_INPUT)


def _leave(message: str, code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.write(f"trident: {message}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
