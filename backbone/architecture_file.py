"""An architecture as plain data, and as a file. Imports no torch.

The file is YAML in the form that is JSON, too, a line for every block: it is read without a library, and by any.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from backbone.architecture import Architecture, BlockSpec
from backbone.disk import whole_file
from backbone.errors import InputError
from backbone.features import ConvSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

SpecT = TypeVar("SpecT", BlockSpec, ConvSpec)

MAX_BYTES = 1_000_000
MAX_CHANNELS = 16_384
MAX_BLOCKS = 200
MAX_WEIGHTS = 1 << 28
"""Most weights of 1x1 and full convolutions together: 1 GB."""
ALLOWED = {"kernel": (1, 3, 5, 7, 9, 11), "start": (1, 3, 5, 7, 9, 11), "stride": (1, 2), "dilation": (1, 2, 4, 8)}
PARTS = ("stem", "stages", "last", "levels", "hidden")


def to_plain(architecture: Architecture) -> dict[str, Any]:
    """As numbers, texts, lists and mappings."""
    return {
        "stem": _to_plain(architecture.stem),
        "stages": {stage: [_to_plain(block) for block in blocks] for stage, blocks in architecture.stages.items()},
        "last": None if architecture.last is None else _to_plain(architecture.last),
        "levels": dict(architecture.levels),
        "hidden": None if architecture.hidden is None else _to_plain(architecture.hidden),
    }


def from_plain(plain: Any) -> Architecture:
    """From data of anybody's making.

    Raises:
        InputError: a key is missing or unknown, or a value is out of range; the message says what is allowed.
    """
    if isinstance(plain, dict):
        plain = {"hidden": None, **plain}  # files of earlier versions say nothing of it
    _check_keys("architecture", plain, PARTS)
    stages, levels = plain["stages"], plain["levels"]
    for name, part in (("stages", stages), ("levels", levels)):
        if not isinstance(part, dict) or not part:
            raise InputError(f"architecture.{name}: must be a mapping with one entry or more")
    if sum(len(blocks) for blocks in stages.values() if isinstance(blocks, list)) > MAX_BLOCKS:
        raise InputError(f"architecture.stages: has more than {MAX_BLOCKS} blocks")
    for stage, blocks in stages.items():
        if not isinstance(stage, str) or not stage.isidentifier() or stage in ("stem", "last"):
            raise InputError(f"architecture.stages: {stage!r} is no name of a stage; use letters and digits")
        if not isinstance(blocks, list) or not blocks:
            raise InputError(f"architecture.stages.{stage}: must be a list of one block or more")
    architecture = Architecture(
        stem=_spec(ConvSpec, "stem", plain["stem"]),
        stages={
            stage: tuple(_spec(BlockSpec, f"stages.{stage}.{i}", block) for i, block in enumerate(blocks))
            for stage, blocks in stages.items()
        },
        last=None if plain["last"] is None else _spec(ConvSpec, "last", plain["last"]),
        levels={},
        hidden=None if plain["hidden"] is None else _spec(ConvSpec, "hidden", plain["hidden"]),
    )
    if _weights(architecture) > MAX_WEIGHTS:
        raise InputError(f"architecture: has more than {MAX_WEIGHTS} weights, which no mobile network has")
    there = architecture.specs
    for level, feature in levels.items():
        if not isinstance(level, str) or not isinstance(feature, str) or feature not in there:
            raise InputError(f"architecture.levels.{level}: {feature!r} is no feature; there are {', '.join(there)}")
    return replace(architecture, levels=dict(levels))


def _weights(architecture: Architecture) -> int:
    """Weights of the 1x1 and the full convolutions, which have nearly all."""
    total, before = 0, architecture.stem.channels
    for block in (block for blocks in architecture.stages.values() for block in blocks):
        inner, area = block.expanded or before, 1 if block.separable else (block.kernel or 1) ** 2
        total += before * (block.expanded or 0) + inner * block.channels * area
        before = block.channels
    return total + before * (architecture.last.channels if architecture.last is not None else 0)


def read(path: str) -> dict[str, Any]:
    """What a file holds, checked.

    Raises:
        InputError: no such file, not of this kind, or not an architecture.
    """
    file = Path(path)
    what = f"backbone.architecture={path}"
    try:
        if not file.is_file():
            raise InputError(f"{what}: no such file; give the architecture.yaml of a search")
        if file.stat().st_size > MAX_BYTES:
            raise InputError(f"{what}: is no architecture: it has more than {MAX_BYTES} bytes")
        plain = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{what}: cannot be read ({reason}); it must be JSON, as a search writes it") from error
    try:
        return to_plain(from_plain(plain))
    except InputError as error:
        raise InputError(f"{what}: {error}") from error


def write(path: Path, architecture: Architecture) -> None:
    """Write a file that `read` takes."""
    plain = to_plain(architecture)
    stages = ",\n".join(
        f'    "{stage}": [\n' + ",\n".join(f"      {json.dumps(block)}" for block in blocks) + "\n    ]"
        for stage, blocks in plain["stages"].items()
    )
    others = {name: json.dumps(plain[name]) for name in PARTS if name != "stages"}
    text = (
        f'{{\n  "stem": {others["stem"]},\n  "stages": {{\n{stages}\n  }},\n'
        f'  "last": {others["last"]},\n  "levels": {others["levels"]},\n  "hidden": {others["hidden"]}\n}}\n'
    )
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _to_plain(spec: BlockSpec | ConvSpec) -> dict[str, Any]:
    values = {field.name: getattr(spec, field.name) for field in fields(spec)}
    return {name: value.name if isinstance(value, Enum) else value for name, value in values.items()}


def _spec(kind: type[SpecT], where: str, plain: Any) -> SpecT:
    """A part's specification, every value checked by its declared type."""
    hints = get_type_hints(kind)
    if isinstance(plain, dict) and kind is BlockSpec:
        plain = {"separable": True, "start": None, **plain}  # files of earlier versions say nothing of these
    if isinstance(plain, dict) and kind is ConvSpec:
        plain = {"norm": where != "hidden", **plain}
    _check_keys(f"architecture.{where}", plain, hints)
    return kind(**{name: _value(f"architecture.{where}.{name}", name, hints[name], plain[name]) for name in hints})


def _value(where: str, name: str, hint: Any, value: Any) -> Any:
    kinds = get_args(hint) or (hint,)
    if value is None and type(None) in kinds:
        return None
    kind = kinds[0]
    if issubclass(kind, Enum):
        if not isinstance(value, str) or value not in kind.__members__:
            raise InputError(f"{where}={value!r}: must be one of {', '.join(kind.__members__)}")
        return kind[value]
    if kind is bool:
        if not isinstance(value, bool):
            raise InputError(f"{where}={value!r}: must be true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_CHANNELS:
        raise InputError(f"{where}={value!r}: must be a whole number, 1 .. {MAX_CHANNELS}")
    if value not in ALLOWED.get(name, (value,)):
        raise InputError(f"{where}={value}: must be one of {', '.join(map(str, ALLOWED[name]))}")
    return value


def _check_keys(where: str, plain: Any, names: Iterable[str]) -> None:
    names = list(names)
    if not isinstance(plain, dict):
        raise InputError(f"{where}: must be a mapping with {', '.join(names)}")
    for key in plain:
        if key not in names:
            raise InputError(f"{where}: has an unknown key {key!r}; it takes {', '.join(names)}")
    for name in names:
        if name not in plain:
            raise InputError(f"{where}: has no {name}")
