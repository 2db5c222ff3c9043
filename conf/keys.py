"""Every key of the command line: type, default, allowed values and meaning, from the schema and the texts beside its
fields. `--help KEY` and the documentation's page of keys are made from it. Imports nothing heavy.
"""

from __future__ import annotations

import ast
import inspect
import sys
import types
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from conf.schema import NODES
from tasks.config.run import RunConfig

KINDS = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null", Any: "anything"}


@dataclass(slots=True, kw_only=True)
class Key:
    """A key as it is written on the command line.

    Attributes:
        name: `optim.ema_decay`.
        kind: its type in words, with the values that are allowed where there are few.
        default: as it is written; None where there is none.
        meaning: with its unit; empty where nothing is said.
        options: of its group, those that have it; empty where it is in no group.
    """

    name: str
    kind: str
    default: str | None
    meaning: str
    options: list[str] = field(default_factory=list)


@cache
def keys() -> tuple[Key, ...]:
    """All keys, in the schema's order. One that means different things by option is there several times."""
    found: list[Key] = []
    for one in fields(RunConfig):
        made = one.default_factory if one.default_factory is not MISSING else None
        if isinstance(made, type) and is_dataclass(made):
            found += _of_class(made, f"{one.name}.")
            continue
        found += [key for key in _of_class(RunConfig, "") if key.name == one.name]
        found += _of_group(one.name)
    return tuple(found)


def group_options(group: str) -> list[str]:
    """Names of the typed options of a configuration group."""
    return [place.partition("/")[2] for place in NODES if place.startswith(f"{group}/")]


def _of_group(group: str) -> list[Key]:
    prefix = "heads.NAME." if group == "heads" else f"{group}."
    found: dict[tuple[str, str, str | None, str], Key] = {}
    for option in group_options(group):
        node = NODES[f"{group}/{option}"]
        for key in _of_class(node if isinstance(node, type) else type(node), prefix):
            known = found.setdefault((key.name, key.kind, key.default, key.meaning), key)
            known.options.append(option.removesuffix("_schema"))
    return sorted(found.values(), key=lambda key: key.name)


def _of_class(of: type, prefix: str) -> list[Key]:
    told, kinds = _texts(of), get_type_hints(of)
    found = []
    for one in fields(of):
        if one.default is not MISSING:
            default: str | None = written(one.default)
        else:
            default = written(one.default_factory()) if one.default_factory is not MISSING else None
        found.append(
            Key(name=prefix + one.name, kind=in_words(kinds[one.name]), default=default, meaning=told.get(one.name, ""))
        )
    return found


def _texts(of: type) -> dict[str, str]:
    """What is said below the fields of a class and of those that it is made from."""
    found: dict[str, str] = {}
    for base in reversed(of.__mro__):
        if is_dataclass(base):
            found |= _texts_of_module(base.__module__).get(base.__name__, {})
    return found


@cache
def _texts_of_module(module: str) -> dict[str, dict[str, str]]:
    """By class and field."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if not isinstance(node, ast.ClassDef):
            continue
        texts = found.setdefault(node.name, {})
        for one, behind in zip(node.body, node.body[1:], strict=False):
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(behind, ast.Expr):
                text = ast.literal_eval(behind.value) if isinstance(behind.value, ast.Constant) else ""
                texts[one.target.id] = " ".join(str(text).split())
    return found


def in_words(kind: Any) -> str:
    """A type as a reader of the command line calls it."""
    if kind in KINDS:
        return KINDS[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " | ".join(kind.__members__)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(in_words(one) for one in inner)
    if origin is list:
        return f"list of: {in_words(inner[0])}"
    if origin is dict:
        return f"table of: {in_words(inner[1])}"
    return getattr(kind, "__name__", str(kind))


def written(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list | tuple):
        return f"[{','.join(written(one) for one in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}: {written(one)}" for name, one in value.items()) + "}"
    return str(value)
