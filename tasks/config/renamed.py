"""Keys of the configuration that had another name in an earlier version. Imports nothing heavy.

An old name is good for one release: on the command line it works with a hint, and files written then are read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HEAD = r"(head|heads\.[^.]+\.head)\."
RENAMED = {
    HEAD + "matched_iou": "match_iou",
    HEAD + "detections": "max_detections",
    r"heads\.[^.]+\.factor": "lr_factor",
    r"heads\.[^.]+\.figure": "metric",
}
"""Full names of old keys, as regular expressions, and the last part of the new ones."""


def new_name(key: str) -> str:
    """Full name of a key as it is now."""
    for old, new in RENAMED.items():
        if re.fullmatch(old, key):
            return f"{key.rpartition('.')[0]}.{new}"
    return key


def with_new_names(words: Sequence[str], hint: Callable[[str], None]) -> list[str]:
    """Words of a command with the keys as they are named now.

    Args:
        hint: is told each old name, in one line.
    """
    found = []
    for word in words:
        sign, key, value = _parts(word)
        new = new_name(key)
        if new != key:
            hint(f"{key} is {new} now; the old name goes with the next release")
        found.append(f"{sign}{new}{value}")
    return found


def _parts(word: str) -> tuple[str, str, str]:
    """Sign, key, and the rest of an override."""
    key, equals, value = word.partition("=")
    name = key.lstrip("+~")
    return key[: len(key) - len(name)], name, equals + value


def renamed(config: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """A configuration, as plain data, with its keys as they are named now.

    Args:
        where: full name of the node, ending in a dot; empty: the root.
    """
    return {
        new_name(f"{where}{key}").removeprefix(where): renamed(value, f"{where}{key}.")
        if isinstance(value, dict)
        else value
        for key, value in config.items()
    }
