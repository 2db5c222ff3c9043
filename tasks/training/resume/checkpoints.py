"""The checkpoints of a run: the last two to go on from, and the best weights so far.

`step_000120.ckpt` holds the whole training as it was before its 121st step; `best_000100.ckpt` the weights that were
best at an evaluation. Weights that a checkpoint calls the best stay as long as it does.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeGuard

from torch import Tensor

from backbone.errors import InputError
from tasks.training.resume.file import DamagedFileError, read, read_notes, write
from tasks.training.resume.place import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

KEPT = 2


@dataclass(frozen=True, slots=True)
class Best:
    """The best evaluation so far.

    Attributes:
        step: after which it was.
        metric: larger is better.
    """

    step: int
    metric: float

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Best:
        """As `to_plain` gave it."""
        return cls(plain["step"], plain["figure"])

    def to_plain(self) -> dict[str, Any]:
        """For the file, under the names that it has always had."""
        return {"step": self.step, "figure": self.metric}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint, read and verified.

    Attributes:
        state: of the trainer, as Lightning writes it, without its loops.
        facts: of the data and the training that must be the same to go on.
        rows: of the CSV log by then.
        rng: of every process, by rank.
    """

    path: Path
    place: Position
    best: Best | None
    state: dict[str, Any]
    facts: dict[str, Any]
    rows: int
    rng: list[dict[str, Any]]


class Checkpoints:
    """The checkpoints in a folder.

    Args:
        folder: is made when it is first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paths(self) -> list[Path]:
        """To go on from, the oldest first."""
        return sorted(self.folder.glob("step_*.ckpt"), key=_step)

    def newest(self) -> Checkpoint | None:
        """The newest whole one whose best weights are whole, too. A damaged one is named in one line.

        Returns:
            None where there is none yet.
        Raises:
            InputError: all are damaged.
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                found = self._read(path)
            except DamagedFileError as error:
                log.warning("checkpoint %s; going on from the one before", error)
            else:
                return found
        if paths:
            raise InputError(
                f"{self.folder}: none of its {len(paths)} checkpoints is whole; put one back from a backup, or"
                " train again in another run_dir"
            )
        return None

    def _read(self, path: Path) -> Checkpoint:
        try:
            content = read(path)
            _check(content)
        except DamagedFileError as error:
            raise DamagedFileError(f"{path.name} {error}") from error
        best = Best.from_plain(content["best"]) if content["best"] else None
        if best is not None:
            try:
                _check_best(read(self.best_path(best)), content["state"]["state_dict"])
            except DamagedFileError as error:
                raise DamagedFileError(f"{path.name} needs {self.best_path(best).name}, which {error}") from error
        return Checkpoint(
            path,
            Position(**content["place"]),
            best,
            content["state"],
            content["facts"],
            content["rows"],
            content["rng"],
        )

    def write(self, content: Checkpoint) -> int:
        """Write one to go on from, and let go of what is older than the one before.

        Returns:
            The size in bytes.
        Raises:
            OSError: the disk is full, or the like; all that was there stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        best = None if content.best is None else content.best.to_plain()
        plain = {
            "place": content.place.to_plain(),
            "best": best,
            "state": content.state,
            "facts": content.facts,
            "rows": content.rows,
            "rng": content.rng,
        }
        size = write(content.path, plain, {"step": content.place.step, "best": best})
        self._let_go(content.best)
        return size

    def path(self, place: Position) -> Path:
        """File of the checkpoint to resume from there."""
        return self.folder / f"step_{place.step:06d}.ckpt"

    def best_path(self, best: Best) -> Path:
        """File of the best weights."""
        return self.folder / f"best_{best.step:06d}.ckpt"

    def write_best(self, best: Best, weights: Mapping[str, Tensor]) -> None:
        """Keep weights as the best.

        Raises:
            OSError: the disk is full, or the like.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.best_path(best), {"state_dict": dict(weights)}, {"figure": best.metric})

    def read_best(self, best: Best) -> dict[str, Any]:
        """The weights.

        Raises:
            InputError: the file is damaged.
        """
        path = self.best_path(best)
        try:
            content = read(path)
            _check_best(content)
        except DamagedFileError as error:
            raise InputError(f"{path}: {error}; copy it from a backup, or train again in another run_dir") from error
        weights: dict[str, Any] = content["state_dict"]
        return weights

    def _let_go(self, best: Best | None) -> None:
        """Delete old checkpoints, best weights that only they named, and what a killed process left half-written."""
        paths = self.paths()
        for path in paths[:-KEPT]:
            path.unlink()
        named = [read_notes(path).get("best", ...) for path in paths[-KEPT:]]
        if ... in named:
            return  # notes that cannot be read may name any
        kept = {self.best_path(Best.from_plain(one)) for one in named if one} | (
            {self.best_path(best)} if best else set()
        )
        for path in self.folder.glob("best_*.ckpt"):
            if path not in kept:
                path.unlink()
        for path in self.folder.glob("*.part"):
            path.unlink()


def _check(content: Mapping[str, Any]) -> None:
    """That a checkpoint has all its parts, each of its kind, which its checksum does not say.

    Raises:
        DamagedFileError: it has not.
    """
    place, best, state = content.get("place"), content.get("best"), content.get("state")
    generators = content.get("rng")
    fits = {
        "place": _has(place, {field.name: _is_count for field in fields(Position)}),
        "best": ("best" in content and best is None) or _has(best, {"step": _is_count, "figure": _is_number}),
        "state": isinstance(state, dict) and _are_tensors(state.get("state_dict")),
        "facts": isinstance(content.get("facts"), dict),
        "rows": _is_count(content.get("rows")),
        "rng": isinstance(generators, list) and all(isinstance(one, dict) for one in generators),
    }
    wrong = [name for name, fit in fits.items() if not fit]
    if wrong:
        raise DamagedFileError(f"is damaged or of another version: it has no {wrong[0]} that this one reads")


def _check_best(content: Mapping[str, Any], like: Mapping[str, Tensor] | None = None) -> None:
    """That a file holds weights, and those of the same model as `like`.

    Raises:
        DamagedFileError: it does not.
    """
    weights = content.get("state_dict")
    if not _are_tensors(weights):
        raise DamagedFileError("holds no weights")
    if like is not None and {name: w.shape for name, w in weights.items()} != {
        name: w.shape for name, w in like.items()
    }:
        raise DamagedFileError("holds the weights of another model")


def _has(part: Any, kinds: Mapping[str, Callable[[Any], bool]]) -> bool:
    """Whether a part is a table of these keys and no others, each of its kind."""
    return isinstance(part, dict) and part.keys() == kinds.keys() and all(kinds[key](part[key]) for key in kinds)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, float) and not math.isnan(value)


def _are_tensors(part: Any) -> TypeGuard[dict[str, Tensor]]:
    return isinstance(part, dict) and all(isinstance(key, str) and isinstance(part[key], Tensor) for key in part)


def _step(path: Path) -> int:
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else -1
