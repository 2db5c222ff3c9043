"""`best_scores.json`: the least score of every class that an evaluation found best, for `predict.score=best`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from backbone.disk import write_whole
from backbone.errors import InputError
from tasks.config.predict import BEST, SCORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

STEM = "best_scores"


def write(folder: Path, suffix: str, scores: Mapping[str, float]) -> None:
    """Write the file of an evaluation."""
    write_whole(folder / f"{STEM}{suffix}.json", json.dumps(dict(scores), indent=2))


def read(path: Path) -> dict[str, float]:
    """The scores of a file, by class.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"predict.score: {path} cannot be read ({error}); mode=evaluate writes it") from None
    if not isinstance(content, dict) or not all(
        type(score) in (int, float) and 0 <= score <= 1 for score in content.values()
    ):
        raise InputError(f"predict.score: {path} is no table of scores by class; mode=evaluate writes one")
    return {str(name): float(score) for name, score in content.items()}


def resolve(
    told: float | str | Mapping[str, float], beside: str, detectors: Sequence[str], classes: Iterable[str]
) -> float | dict[str, float]:
    """What `predict.score` comes to.

    Args:
        beside: file of the model, beside which `best` looks.
        detectors: names of the heads that detect.
        classes: that they know.
    Raises:
        InputError: there is no such file or class.
    """
    if isinstance(told, int | float):
        return float(told)
    if not isinstance(told, str):
        known = list(classes)
        if unknown := [name for name in told if name not in known]:
            raise InputError(f"predict.score.{unknown[0]}: there is no such class; there are {', '.join(known)}")
        return {name: float(score) for name, score in told.items()}
    if told != BEST:
        return read(Path(told))
    folder = Path(beside).parent
    names = [STEM, *(f"{STEM}_{head}" for head in detectors)]
    there = [path for name in names if (path := folder / f"{name}.json").is_file()]
    if not there:
        raise InputError(
            f"predict.score={BEST}: {folder} has no {STEM}.json; evaluate with mode=evaluate, and give the file that is"
            f" in its folder, predict.score=FOLDER/{STEM}.json, or a number such as {SCORE}"
        )
    return {name: score for path in there for name, score in read(path).items()}
