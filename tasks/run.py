"""The command line: `python -m tasks.run task=detection backbone.width=1.0`.

Nothing heavy is imported before the configuration is known to be right, so a typing error is answered at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from backbone.errors import InputError
from conf.help import print_help
from conf.schema import register
from tasks.config import Command, RunConfig
from tasks.distributed.launch import end_with_parent, launch, processes
from tasks.distributed.world import PeerLostError, check, speaks, started
from tasks.explain import explain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HELP = {"--help", "-h"}
SWEEP = {"--multirun", "-m"}
BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130


def main() -> None:
    """Run the command and leave with 0, 2 for bad input, 130 after Ctrl-C, or 1 for a fault of ours.

    mode=inspect leaves with 1, too, if training on the data would be spoiled.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors over instead of printing them
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin take the core from a data worker
    end_with_parent()
    register()
    words = sys.argv[1:]
    with _errors_explained():
        if HELP.intersection(words):
            print_help([word for word in words if word not in HELP])
        elif SWEEP.intersection(words):
            _sweep([word for word in words if word not in SWEEP])
        elif any(word.startswith("-") for word in words):
            _hydra_command()
        else:
            with hydra.initialize_config_module("conf", version_base="1.3"):
                _run(hydra.compose("config", overrides=words, return_hydra_config=True))


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def _hydra_command(composed: DictConfig) -> None:
    """--cfg job and the like: Hydra's own."""
    with _errors_explained():  # here, because Hydra prints what a job raises
        with open_dict(composed):
            composed.hydra = HydraConfig.instance().cfg.hydra  # type: ignore[union-attr]
        _run(composed)


def _sweep(words: list[str]) -> None:
    """Run once for each of several values."""
    from tasks.sweep.sweep import sweep, without_flags

    with hydra.initialize_config_module("conf", version_base="1.3"):
        failed = sweep(without_flags(words), _read)
    if failed:
        _leave(f"{len(failed)} jobs failed: {', '.join(failed)}; the same words again go on with them", FAILED)


def _run(composed: DictConfig) -> None:
    """Run what is composed; its node `hydra` says from which words and options."""
    config, command = _read(composed)
    world = started()
    check(config, world)
    if (count := processes(config)) > 1:
        if code := launch(count, sys.argv[1:]):
            raise Left(code, f"one of {count} processes failed")
        return

    if world is not None:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # what torch says of a lost process, we say in one line

    from tasks.jobs import run  # everything heavy comes with it

    if run(config, command, world):
        raise KeyboardInterrupt


def read(words: Sequence[str]) -> tuple[RunConfig, Command]:
    """The configuration that words without flags come to, checked.

    Raises:
        InputError: a value does not fit; and Hydra's and OmegaConf's errors (see `tasks.explain`).
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
        from tasks.restore import with_checkpoint

        composed = with_checkpoint(composed, overrides)
    config = OmegaConf.to_object(composed)
    assert isinstance(config, RunConfig)

    written = OmegaConf.to_container(composed, resolve=True, enum_to_str=True)
    assert isinstance(written, dict)
    return config, Command(overrides=overrides, choices=choices, written={str(key): written[key] for key in written})


@contextmanager
def _errors_explained() -> Iterator[None]:
    """One line for what the user can mend, a traceback for the rest."""
    try:
        yield
    except KeyboardInterrupt:
        _leave("interrupted", INTERRUPTED)
    except PeerLostError as error:
        _leave(str(error), FAILED)
    except Exception as error:
        message = str(error) if isinstance(error, InputError) else explain(error, sys.argv[1:])
        if message is None:
            if speaks():
                traceback.print_exc()
            message = "this is a fault of Trident's, not of yours; please report it with the lines above"
            _leave(message, FAILED, f"{type(error).__name__}: {error}")
        else:
            _leave(message, BAD_INPUT)


class Left(SystemExit):
    """The end of a command that did not come to its end."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code)
        self.reason = reason


def _leave(message: str, code: int, reason: str = "") -> NoReturn:
    if speaks():
        sys.stdout.flush()
        sys.stderr.write(f"trident: {message}\n")
    raise Left(code, reason or message)


if __name__ == "__main__":
    main()
