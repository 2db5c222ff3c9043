"""What is taken from the header of a file: plain values of known keys, known options, and nothing else.

Anybody may have written a checkpoint or an exported file. Its header chooses no code, no folder, no address, and
nothing of the run that uses it; what it says is never a word of Hydra's grammar.
"""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
OPTION = re.compile(r"[A-Za-z0-9_]\w*", re.ASCII)
NESTED = re.compile(r"(heads@heads|data@data\.parts)\.[A-Za-z_]\w*", re.ASCII)
"""Keys of the options of several heads, and of several data sets."""
RUN_OWNED = frozenset({"root", "annotations", "download", "weights", "beside", "split_file"})
"""Keys that name a folder, a file or an address: they are the user's, and what a header says of them is left."""
DATA_ONLY = frozenset({"architecture"})
"""Keys whose values may be a file on the command line, and only what is in it in a header."""
PATTERNS = frozenset({"images", "masks", "train_shards", "val_shards", "train_split", "val_split", "test_split"})
"""Keys whose values are looked for below a folder."""
TARGET = "_target_"
MAX_DEPTH = 8
SHOWN = 60


def check_choices(what: str, choices: Mapping[str, Any], groups: tuple[str, ...]) -> None:
    """That a header chooses nothing but an option of each of `groups`, and those of its heads and data sets.

    Args:
        what: the file, for the message.
    Raises:
        InputError: it does.
    """
    for key, option in choices.items():
        if key not in groups and not NESTED.fullmatch(key):
            raise InputError(
                f"{what}: its header chooses {_shown(key)}, which no file may; allowed: {', '.join(groups)}"
            )
        if option is not None and not (isinstance(option, str) and OPTION.fullmatch(option)):
            raise InputError(
                f"{what}: its header says {key}={_shown(option)}, which names no option; it is damaged or forged"
            )


def check_known(what: str, group: str, option: str) -> None:
    """That there is such an option.

    Raises:
        InputError: there is not.
    """
    known = GlobalHydra.instance().config_loader().get_group_options(group)
    if option not in known:
        raise InputError(
            f"{what}: was made with {group}={option}, which is not known here; where it is somebody else's, name its"
            f" folder by --config-dir=FOLDER and say {group}={option}"
        )


def check_ours(what: str, word: str, node: Any) -> None:
    """That a part which a header chose, not the command, runs no code of somebody else's.

    Args:
        word: that chooses it on the command line.
    Raises:
        InputError: it would; the message says how the user plugs it in.
    """
    if isinstance(node, DictConfig) and TARGET in node:
        raise InputError(
            f"{what}: was made with {word}, somebody else's code ({_shown(node._get_node(TARGET))}); a file may not"
            f" start it: say {word} if it shall run"
        )


def lay_over(node: DictConfig, saved: Mapping[str, Any], what: str, where: str) -> None:
    """Put the values of a header on a node of the configuration, key by key.

    Args:
        what: the file, for messages.
        where: full name of the node.
    Raises:
        InputError: there is no such key, or a value is not plain. OmegaConf's errors: one is of a wrong type.
    """
    for key, value in saved.items():
        full = f"{where}.{key}"
        if not isinstance(key, str) or not NAME.fullmatch(key) or (key.startswith("_") and key != TARGET):
            raise InputError(f"{what}: its header says {_shown(full)}, which no file may; it is damaged or forged")
        if key in RUN_OWNED:
            continue
        if key in DATA_ONLY and isinstance(value, str):
            raise InputError(f"{what}: its header says {_shown(full)}={_shown(value)}, and a file names no other file")
        mine = node._get_node(key) if key in node else None
        if key == TARGET:
            if key not in node or node[key] != value:
                raise InputError(
                    f"{what}: {where} was made with somebody else's code, {_shown(value)}; a file may not start it:"
                    " plug it in on the command line by the words of its training"
                )
        elif isinstance(value, dict) and isinstance(mine, DictConfig) and not (mine._is_none() or mine._is_missing()):
            lay_over(mine, value, what, full)
        else:
            check_plain(value, what, full)
            if key in PATTERNS:
                check_below(value, what, full)
            node[key] = value


def check_plain(value: Any, what: str, where: str, depth: int = 0) -> None:
    """That a value is a finite number, a text that OmegaConf does not read as more, or lists and mappings of such.

    Raises:
        InputError: it is not.
    """
    if isinstance(value, str):
        plain = "${" not in value and value != "???"
    elif isinstance(value, float):
        plain = math.isfinite(value)
    elif isinstance(value, list | dict):
        plain = depth < MAX_DEPTH and all(
            isinstance(key, str) and not key.startswith("_") and "${" not in key
            for key in (value if isinstance(value, dict) else ())
        )
        if plain:
            for one in value.values() if isinstance(value, dict) else value:
                check_plain(one, what, where, depth + 1)
    else:
        plain = value is None or isinstance(value, bool | int)
    if not plain:
        raise InputError(
            f"{what}: its header says {_shown(where)}={_shown(value)}, which is no plain value; it is damaged or forged"
        )


def check_below(value: Any, what: str, where: str) -> None:
    """That a text, or each of a list, stays below a folder.

    Raises:
        InputError: it is absolute, or climbs.
    """
    for one in value if isinstance(value, list) else [value]:
        paths = PurePosixPath(str(one)), PureWindowsPath(str(one))
        if any(path.is_absolute() or path.drive or ".." in path.parts for path in paths):
            raise InputError(
                f"{what}: its header says {where}={_shown(one)}, which leaves the data's folder; say {where}=.."
                " yourself"
            )


def _shown(value: Any) -> str:
    """As much as a line holds, with nothing in it that a terminal would take for more than text."""
    text = repr(value) if not isinstance(value, str) else value
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}.."
