"""Which runs the words of a sweep mean: every combination of the values that they list. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hydra.core.override_parser.overrides_parser import OverridesParser

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override

UNSAFE = re.compile(r"[^\w.+-]+")
"""What Hydra, a shell or a file system would take for something else in the name of a folder."""
MAX_NAME = 120
ONLY = "all"
"""Name of the job of a sweep that varies nothing."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep.

    Attributes:
        name: of its folder, by what varies: `width-0.35+image_size-64`. It needs no quotes on the command line.
        words: all of the command line's that concern the run, each with one value.
        varied: the values that tell it from the others, by the key as it was typed.
        metrics: names in `metrics.json` of the main metric of every head, once its configuration is known.
    """

    name: str
    words: tuple[str, ...]
    varied: dict[str, str]
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What the words of a sweep come to.

    Attributes:
        jobs: in the order of the values, the last key varying fastest.
        run_dir: as it was given.
        hydra: words that concern Hydra itself, such as `hydra/launcher=joblib`.
    """

    jobs: list[Job]
    run_dir: str | None
    hydra: list[str]


def plan(words: Sequence[str], loader: ConfigLoader) -> Plan:
    """Multiply out the listed values.

    Args:
        words: without flags.
        loader: knows the configuration groups, for `glob(...)`.

    Raises:
        InputError: `run_dir` or something of Hydra's varies, a sweep is no list of values, or names one twice.
    """
    run_dir: str | None = None
    common: list[str] = []
    hydra: list[str] = []
    varying: dict[str, list[str]] = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(words)):
        assert override.input_line is not None
        if override.is_sweep_override():
            varying[override.get_key_element()] = _values(override)
        elif override.key_or_group == "run_dir":
            value = override.value()
            run_dir = None if value is None else str(value)
        else:
            (hydra if override.is_hydra_override() else common).append(override.input_line)
    short = short_names(list(varying))
    jobs = []
    for values in itertools.product(*varying.values()):
        varied = dict(zip(varying, values, strict=True))
        name = "+".join(f"{part}-{value}" for part, value in zip(short, values, strict=True)) or ONLY
        jobs.append(Job(name, (*common, *(f"{key}={value}" for key, value in varied.items())), varied))
    return Plan(_with_safe_names(jobs), run_dir, hydra)


def _values(override: Override) -> list[str]:
    if override.is_hydra_override() or override.key_or_group in ("run_dir", "mode"):
        raise InputError(f"{override.input_line}: cannot vary in a sweep; give it one value")
    if not override.is_discrete_sweep():
        raise InputError(f"{override.input_line}: is no list of values; write them out, a,b,c")
    values: list[str] = list(override.sweep_string_iterator())
    if twice := [value for value, count in Counter(values).items() if count > 1]:
        raise InputError(f"{override.input_line}: lists {twice[0]} twice; leave one out")
    return values


def short_names(keys: Sequence[str]) -> list[str]:
    """The last part of every key, or all of it where two would be the same."""
    last = [re.split(r"[.@/]", key)[-1].lstrip("+~") for key in keys]
    return [name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)]


def _with_safe_names(jobs: Sequence[Job]) -> list[Job]:
    """Names that any file system takes; where two came to be the same or one is long, a hash of the words ends them."""
    names = [UNSAFE.sub("_", job.name.replace("'", "")) for job in jobs]
    safe = []
    for job, name in zip(jobs, names, strict=True):
        if names.count(name) > 1 or len(name) > MAX_NAME:
            digest = hashlib.sha256("\0".join(job.words).encode()).hexdigest()[:8]
            name = f"{name[: MAX_NAME - 9]}-{digest}"
        safe.append(replace(job, name=name))
    return safe


def quoted(value: str) -> str:
    """A text as Hydra reads it from a word of the command line, whatever characters it has."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    trailing = len(value) - len(value.rstrip("\\"))
    return f"'{escaped}{chr(92) * trailing}'"
