r"""Paths and names on the command line, taken as they are typed, before Hydra's grammar sees them.

`data.root=my photos (2021)`, `checkpoint=runs/x=1/model.safetensors`, `data.classes=[bär,hund]` and `source=C:\photos`
are no words of that grammar; in quotes each of them is one. Imports nothing heavy.
"""

from __future__ import annotations

import os
import re
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from tasks.commands.sweep.plan import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PATHS = frozenset(
    {"run_dir", "checkpoint", "artifact", "source", "predictions", "root", "annotations", "weights", "beside",
     "calibration_source", "train_shards", "val_shards", "split_file", "output"}
)  # fmt: skip
"""Last parts of keys whose values are paths, in which `~` and variables of the environment are expanded."""
QUOTES = "'\""
OPEN, CLOSE = "[{(", "]})"
FUNCTION = re.compile(r"(choice|range|glob|interval|shuffle|sort|extend_list)\(.*\)", re.DOTALL)
"""Hydra's, for the values of a sweep."""
TABLES = frozenset({("data", "colours"), ("data", "ratio")})
"""Keys whose values are tables by names of people's own; Hydra's grammar knows ASCII in such names only."""
TEXT, TEXTS = "text", "texts"


def text_keys(sections: Mapping[str, Iterable[type]]) -> dict[tuple[str, str], str]:
    """The keys that are texts, or lists of texts.

    Args:
        sections: the typed configurations that each section may be; those of the run itself under "".

    Returns:
        By section and last part of the key: `TEXT` or `TEXTS`.
    """
    found: dict[tuple[str, str], str] = {}
    for section, kinds in sections.items():
        for kind in kinds:
            for name, hint in get_type_hints(kind).items():
                inner = next(
                    (one for one in (hint, *get_args(hint)) if isinstance(one, type) and is_dataclass(one)), None
                )
                if inner is not None:
                    found |= text_keys({section or name: [inner]})
                elif name in {field.name for field in fields(kind)} and (wanted := _wanted(hint)):
                    found[section, name] = wanted
    return found


def literal(words: Sequence[str], keys: Mapping[tuple[str, str], str], *, is_sweep: bool = False) -> list[str]:
    """The words of a command, with the values of text keys as quoted strings of Hydra's grammar.

    What is in quotes already stays as it is, and so does `null`. In a sweep a comma separates values; one that is part
    of a value, or of a name in a list, is typed with a backslash before it, or the value in quotes.

    Args:
        keys: see `text_keys`.
        is_sweep: whether commas separate values.
    """
    return [_literal_word(word, keys, is_sweep) for word in words]


def _wanted(hint: Any) -> str | None:
    kinds = {kind for kind in get_args(hint) or (hint,) if kind is not type(None)}
    if hint == list[str] or kinds == {list[str]}:
        return TEXTS
    return TEXT if kinds == {str} and getattr(hint, "__origin__", None) is not list else None


def _literal_word(word: str, keys: Mapping[tuple[str, str], str], is_sweep: bool) -> str:
    key, equals, value = word.partition("=")
    plain = key.lstrip("+")
    if not equals or plain.startswith(("-", "~")) or "@" in plain:
        return word
    section, _, rest = plain.partition(".") if "." in plain else ("", "", plain)
    name = rest.rpartition(".")[2]
    if (section, name) in TABLES and value.startswith(OPEN[1]) and not value.isascii():
        return f"{key}={quoted(value)}"  # read by the section itself
    wanted = keys.get((section, name))
    if wanted is None or (is_sweep and FUNCTION.fullmatch(value)):
        return word
    values = _split(value) if is_sweep else [value]
    is_path = name in PATHS
    if wanted is TEXTS:
        return f"{key}={','.join(_list_value(one, is_path) for one in values)}"
    if is_sweep:
        values = [one.replace(r"\,", ",") for one in values]
    return f"{key}={','.join(_text_value(one, is_path) for one in values)}"


def _list_value(value: str, is_path: bool) -> str:
    text = value.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return _text_value(value, is_path)
    inside = text[1:-1]
    parts = [part.strip().replace(r"\,", ",") for part in _split(inside)] if inside.strip() else []
    return f"[{','.join(part if _is_quoted(part) else _as_text(part, is_path) for part in parts)}]"


def _text_value(value: str, is_path: bool) -> str:
    return value if value in ("", "null") or _is_quoted(value) else _as_text(value, is_path)


def _as_text(value: str, is_path: bool) -> str:
    return quoted(os.path.expandvars(os.path.expanduser(value)) if is_path else value)  # noqa: PTH111 - addresses too


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] in QUOTES and value[-1] == value[0]


def _split(value: str) -> list[str]:
    """Parts between the commas that stand in no quotes and no brackets."""
    parts, start, depth, quote = [], 0, 0, ""
    for place, one in enumerate(value):
        if quote:
            if one == quote and value[place - 1] != "\\":
                quote = ""
        elif one in QUOTES and not value[start:place].strip(" [{("):
            quote = one
        elif one in OPEN:
            depth += 1
        elif one in CLOSE:
            depth = max(depth - 1, 0)
        elif one == "," and not depth and value[place - 1 : place] != "\\":
            parts.append(value[start:place])
            start = place + 1
    return [*parts, value[start:]]
