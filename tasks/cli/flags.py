"""Hydra's own flags: which may be given, and one line where they are wrong. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hydra._internal.utils import get_args_parser

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS = {
    "config_name": "--config-name: the configuration is always Trident's",
    "config_path": "--config-path: the configuration is always Trident's",
    "experimental_rerun": "--experimental-rerun: would read a pickle, which can run code",
}


def check_flags(words: Sequence[str]) -> None:
    """That the flags among the words of a command are known and lead to something.

    Raises:
        InputError: they do not.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    given, others = parser.parse_known_args(list(words))
    for word in others:  # argparse leaves out words between flags
        if word.startswith("-"):
            _refuse(f"{word}: there is no such flag")
    for name, why in OURS.items():
        if getattr(given, name) is not None:
            raise InputError(f"{why}; say key=value, and give a folder of your own options by --config-dir=FOLDER")
    if given.config_dir is not None and not _is_folder(given.config_dir):
        raise InputError(f"--config-dir={given.config_dir[:200]}: there is no such folder")


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):
        return False


def _refuse(message: str) -> NoReturn:
    raise InputError(f"{message}; --help tells what can be said")
