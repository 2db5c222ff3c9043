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


VALUES: dict[str, tuple[Any, Any]] = {
    HEAD + "taps": (["stage6.expand", "last"], ["c4.expand", "last"]),
    HEAD + "tap": ("stage7", "context"),
}
"""Old defaults, by the new full name of the key, and what they are called now: the same features by their level."""
OPTIONS = {
    "backbone": {
        "mobilenet_v2_dense": ("mobilenet_v2", {"output_stride": 16}),
        "mobilenet_v2_joint": ("mobilenet_v2", {"output_stride": 16, "last_stride": 32}),
    }
}
"""Old options of a group: the new one, and the values that made the difference."""


def new_option(group: str, option: object) -> object:
    """Name of a group's option as it is now."""
    return OPTIONS.get(group, {}).get(str(option), (option, {}))[0]


def with_new_names(words: Sequence[str], hint: Callable[[str], None]) -> list[str]:
    """Words of a command with the keys as they are named now.

    Args:
        hint: is told each old name, in one line.
    """
    found = []
    for word in words:
        sign, key, value = _parts(word)
        if key in OPTIONS and value.removeprefix("=") in OPTIONS[key]:
            option, values = OPTIONS[key][value.removeprefix("=")]
            added = [f"{key}.{name}={number}" for name, number in values.items()]
            hint(
                f"{key}{value} is {' '.join([f'{key}={option}', *added])} now; the old name goes with the next release"
            )
            given = {_parts(other)[1] for other in words}
            found += [f"{sign}{key}={option}", *(word for word in added if word.partition("=")[0] not in given)]
            continue
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
    found: dict[str, Any] = {}
    for key, value in config.items():
        full = new_name(f"{where}{key}")
        values = next((values for pattern, values in VALUES.items() if re.fullmatch(pattern, full)), (value, value))
        new = values[1] if value == values[0] else value
        found[full.removeprefix(where)] = renamed(value, f"{where}{key}.") if isinstance(value, dict) else new
    return found
