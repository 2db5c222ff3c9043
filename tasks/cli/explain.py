"""One line for everything that can be wrong with the words of a command. Imports nothing heavy."""

from __future__ import annotations

import re
from difflib import get_close_matches
from enum import Enum
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException, ValidationError

from tasks.config.renamed import new_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

IN_WORDS = {float: "a number", int: "a whole number", str: "a text", bool: "true or false", type(None): "null"}
READERS = {"conf.help", "tasks.cli.main", "tasks.cli.compose", "tasks.commands.sweep.plan"}
"""Our modules that hand words to Hydra."""
FULL_KEY = re.compile(r"full_key: (\S+)")
TWICE = "Multiple values for "
SIMILAR = 0.6
"""How alike two words must be for one to be offered in place of the other, from 0 to 1."""


def explain(error: Exception, overrides: Sequence[str]) -> str | None:
    """What is wrong with `overrides`, the nearest right word and those allowed; None if it is not about them."""
    cause = error.__cause__ if isinstance(error, ConfigCompositionException) and error.__cause__ else error
    if isinstance(error, MissingConfigException):
        return _no_option(error)
    if isinstance(cause, ValidationError):
        return _wrong_value(cause, overrides)
    if isinstance(cause, ConfigKeyError | AttributeError) and isinstance(getattr(cause, "full_key", None), str):
        return _no_key(cause, overrides)
    if isinstance(cause, AttributeError) and "object has no attribute" in str(cause):
        added = _given(str(cause).rpartition("attribute ")[2].strip("'"), overrides)
        if added.startswith("+"):
            return f"{added}: there is no such key; nothing can be added to a typed configuration"
    if isinstance(error, InstantiationException):
        return " ".join(str(error).splitlines())
    if isinstance(error, ConfigCompositionException) and str(error).startswith(TWICE):
        return _twice(str(error).removeprefix(TWICE).partition(". To override")[0])
    if isinstance(error, OverrideParseException):
        if "=" in (error.override or ""):
            return f"{error.override}: cannot be read as it is; the value may need quotes, \"key='value'\""
        return f"{error.override}: is no override; write key=value, or group=option"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _first_line(error)
    if _is_of_words(error):
        word = _given(found[1], overrides) if (found := FULL_KEY.search(str(error))) else _culprit(error, overrides)
        why = "" if isinstance(error, AssertionError) else _first_line(error)
        return f"{word}: {why or 'is no override; write key=value, or group=option'}"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def _is_of_words(error: Exception) -> bool:
    """Whether an error of any type came from Hydra or OmegaConf, called by what reads the words of a command."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__)]
    ours = [place for place, name in enumerate(modules) if name.partition(".")[0] in ("tasks", "conf", "__main__")]
    later = {name.partition(".")[0] for name in modules[ours[-1] + 1 :]} if ours else set()
    return bool(later & {"hydra", "omegaconf"}) and modules[ours[-1]] in READERS


def _culprit(error: Exception, overrides: Sequence[str]) -> str:
    """The first word that alone leads to an error of that type; all of them where none does."""
    GlobalHydra.instance().clear()
    with initialize_config_module("conf", version_base="1.3"):
        for word in overrides:
            try:
                compose("config", overrides=[word])
            except Exception as again:
                if type(again) is type(error):
                    return word
    return " ".join(overrides)


def _given(key: str, overrides: Sequence[str]) -> str:
    """The override that names `key`, as it was typed."""
    for override in overrides:
        name = override.lstrip("+~").partition("=")[0]
        if name == key or name.endswith(f".{key}"):
            return override
    return key


def _twice(place: str) -> str:
    """Two nodes of one name, such as heads@heads.objects."""
    name = place.rpartition("@")[2]
    return f"+{place}: there is one of that name already; name another, or choose what {name} is by {place}=..."


def _offer(wrong: str, names: Iterable[str], prefix: str = "") -> str:
    near = get_close_matches(wrong, list(names), n=1, cutoff=SIMILAR)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def _no_option(error: MissingConfigException) -> str:
    group, _, wrong = (error.missing_cfg_file or "").rpartition("/")
    options = [option for option in error.options or [] if not option.endswith("_schema")]
    offer = _offer(wrong, options)
    allowed = f". Allowed: {', '.join(options)}" if options and not offer else f" Allowed: {', '.join(options)}"
    return f"{group}={wrong}: there is no such option{offer}{allowed if options else ''}"


def _no_key(cause: Any, overrides: Sequence[str]) -> str:
    parent = cause.parent_node
    siblings = [str(key) for key in parent if key != "hydra"] if isinstance(parent, DictConfig) else []
    above, _, wrong = str(cause.full_key).rpartition(".")
    offer = _offer(wrong, siblings, f"{above}." if above else "")
    if (now := new_name(str(cause.full_key))) != cause.full_key:
        offer = f"; it is {now} now"
    if not offer and isinstance(parent, DictConfig):
        root = parent._get_root()
        elsewhere = [key for key in _leaves(root) if key.rpartition(".")[2] == wrong]
        offer = f"; did you mean {elsewhere[0]}?" if elsewhere else ""
    where = f"keys of {above}" if above else "keys"
    return f"{_given(cause.full_key, overrides)}: there is no such key{offer or '.'} The {where}: {', '.join(siblings)}"


def _leaves(node: Any, prefix: str = "") -> list[str]:
    """Full names of all values below a node."""
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing():
        return [prefix]
    return [leaf for key in node for leaf in _leaves(node._get_node(key), ".".join(filter(None, (prefix, str(key)))))]


def _wrong_value(cause: ValidationError, overrides: Sequence[str]) -> str:
    key = str(cause.full_key or cause.key)
    wanted = _wanted(cause.object_type, str(cause.key))
    return f"{_given(key, overrides)}: must be {wanted}" if wanted else f"{_given(key, overrides)}: {cause.msg}"


def _wanted(owner: Any, name: str) -> str | None:
    """The type of a field of a configuration, in words."""
    hint = get_type_hints(owner).get(name) if isinstance(owner, type) else None
    if hint is None:
        return None
    kinds = (hint,) if _is_list(hint) else get_args(hint) or (hint,)
    return " or ".join(_in_words(kind) for kind in kinds)


def _is_list(hint: Any) -> bool:
    return getattr(hint, "__origin__", None) is list


def _in_words(kind: Any) -> str:
    if _is_list(kind):
        return f"a list, [..., ...], each {_in_words(get_args(kind)[0])}"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(kind.__members__)}"
    return IN_WORDS.get(kind, str(kind))
