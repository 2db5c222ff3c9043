"""Metrics of other runs beside those of this one: what a shared backbone costs each of its heads, for instance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from backbone.errors import InputError
from tasks.checkpoints.model_file import read_header
from tasks.config.run import Task
from tasks.report.facts import OWN_WEIGHTS, TIME
from tasks.report.html import Html, tag
from tasks.report.metrics import value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.evaluators.base import Evaluator

SPLIT = "val"


class OtherRun(NamedTuple):
    """A run that was.

    Attributes:
        name: of its folder.
        task: a word of `Task`.
        metrics: of its validation split, as in metrics.json.
        images: seen in its training; None if that is not known.
    """

    name: str
    task: str
    metrics: dict[str, float | None]
    images: int | None

    def metric(self, head: str, kind: str, name: str) -> float | None:
        """Value for the head of that name; in a run of a single task, for its only head if that is of the same kind."""
        if self.task == Task.multitask.value:
            return self.metrics.get(f"{head}/{name}")
        return self.metrics.get(name) if self.task == kind else None


def read_runs(folders: Sequence[str]) -> list[OtherRun]:
    """What `evaluation.beside` names.

    Raises:
        InputError: a folder is not that of a training, or its files are broken.
    """
    return [_read(Path(folder)) for folder in folders]


def images_seen(folder: Path) -> int | None:
    """In the training in `folder`; None if its time was not kept."""
    try:
        return int(json.loads((folder / TIME).read_text(encoding="utf-8"))["images"])
    except (OSError, KeyError, TypeError, ValueError):
        return None


def beside_section(
    runs: Sequence[OtherRun],
    evaluators: Mapping[str, Evaluator[Any]],
    kinds: Mapping[str, str],
    seen: int | None,
) -> Html | None:
    """A row for the main figure of every head; None if there is nothing to compare.

    Args:
        evaluators: by head, having seen the validation split.
        kinds: of the heads.
        seen: images, in the training of this run.
    """
    rows = []
    for name, evaluator in evaluators.items():
        key = evaluator.main_metric
        here = evaluator.metrics().get(key)
        for run in runs:
            there = run.metric(name, kinds.get(name, ""), key)
            if there is not None:
                share = f"{here / there:.1%}" if here is not None and there else "–"
                rows.append(
                    [
                        tag("th", name, tag("small", key), scope="row"),
                        tag("td", value(here, f"{evaluator.prefix}{key}")),
                        tag("td", value(there)),
                        tag("td", share),
                        tag("td", run.name, tag("small", _seen(run.images))),
                    ]
                )
    if not rows:
        return None
    words = ("head", "here", "there", "here / there", "run")
    head = tag("tr", [tag("th", word, scope="col") for word in words], class_="head")
    table = tag("table", tag("thead", head), tag("tbody", [tag("tr", row) for row in rows]), class_="bars")
    caption = tag(
        "figcaption",
        tag("b", "Beside other runs"),
        tag("span", "; ".join(filter(None, [f"on {SPLIT}", _seen(seen)])), class_="note"),
    )
    return tag("figure", caption, tag("div", table, class_="scroll"), class_="card", id="beside")


def _read(folder: Path) -> OtherRun:
    said = f"evaluation.beside={folder}"
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))[SPLIT]
    except OSError as error:
        raise InputError(f"{said}: {error.filename} cannot be read ({error.strerror}); name a run's folder") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{said}: its metrics.json is not as a run writes it; name a run's folder") from error
    header = read_header(str(folder / OWN_WEIGHTS))
    return OtherRun(folder.resolve().name, header.choices["task"], metrics, images_seen(folder))


def _seen(images: int | None) -> str:
    return "" if images is None else f"{images:,} images seen"
