"""`report.html`: everything that a training or an evaluation came to, in one file that needs nothing else."""

from __future__ import annotations

import functools
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from backbone.disk import write_whole
from tasks.config.run import Task
from tasks.evaluators.classification import ClassificationEvaluator
from tasks.evaluators.detection import DetectionEvaluator
from tasks.evaluators.segmentation import SegmentationEvaluator
from tasks.report.beside import beside_section, images_seen, read_runs
from tasks.report.classification import classification_body
from tasks.report.curves import curves
from tasks.report.detection import detection_body, results_body
from tasks.report.facts import RunFacts, collect, run_section
from tasks.report.html import Html, number_of, tag
from tasks.report.metrics import tiles
from tasks.report.segmentation import segmentation_body
from tasks.runs.log import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tasks.evaluators.base import Evaluator
    from tasks.metrics.coco_map import CocoScores
    from tasks.papers.references import Reference

NAME = "report.html"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The browser itself refuses a script, and anything that is not in the file."""
MARK = (
    "M12 22V3M12 3l-2.2 3.4M12 3l2.2 3.4M4.5 5v6.5a7.5 5.5 0 0 0 15 0V5"
    "M4.5 5L2.8 8M4.5 5l1.7 3M19.5 5l-1.7 3M19.5 5l1.7 3"
)
"""The path of a trident."""
VERBS = {Task.classification: "Classification", Task.detection: "Detection", Task.segmentation: "Segmentation",
         Task.multitask: "Multi-task"}  # fmt: skip


class Report:
    """Collects what every head came to on every split, and writes the page.

    Args:
        folder: of the run; weights, log and times are looked for in it.
        facts: of the run.
        beside: folders of other runs to stand beside this one.
        references: what was published, by the head's name and the number of images.
    """

    def __init__(
        self,
        folder: Path,
        facts: RunFacts,
        *,
        beside: Sequence[str] = (),
        references: Callable[[str, int], list[Reference]] = lambda head, images: [],
    ) -> None:
        self.folder = folder
        self._facts = facts
        self._references = references
        self._runs = read_runs(beside)
        self._beside: Html | None = None
        self._sections: list[tuple[str, str, Html]] = []
        self._sizes: dict[str, int] = {}
        self._clock = monotonic()

    def add(self, split: str, evaluators: Mapping[str, Evaluator[Any]]) -> None:
        """Add a section for every head, of evaluators that have seen the split. Images are drawn here."""
        spent = duration(monotonic() - self._clock)
        for name, evaluator in evaluators.items():
            images = self._sizes[split] = len(evaluator.data)
            beside = self._references(name, images) if split == "val" else []
            note = f"{number_of(images, 'images')}, evaluated and written in {spent}"
            self._add(name, split, note, _body(evaluator, beside))
        if split == "val" and self._runs:
            trained_in = self.folder if self._facts.checkpoint is None else Path(self._facts.checkpoint).parent
            self._beside = beside_section(self._runs, evaluators, self._facts.kinds, images_seen(trained_in))
        self._clock = monotonic()

    def add_results(
        self, name: str, ground_truth: dict[str, Any], results: list[dict[str, Any]], scores: CocoScores
    ) -> None:
        """Add a section of anybody's detections.

        Args:
            name: of the file.
        """
        counts = {"images": scores.images, "objects": scores.objects, "detections": scores.detections}
        note = ", ".join(number_of(count, what) for what, count in counts.items())
        self._add(name, "val", note, results_body(ground_truth, results, scores))

    def write(self) -> Path:
        """Write `report.html`, whole or not at all.

        Raises:
            UnwritableError: the file cannot be written.
        """
        path = self.folder / NAME
        write_whole(path, self.html())
        return path

    def html(self) -> str:
        """The page."""
        title = f"{self.folder.resolve().name} · Trident"
        drawn = curves(self.folder / "csv" / "metrics.csv")
        weights = collect(self.folder, self._facts.checkpoint)
        training = tag("section", tag("h2", "Training"), drawn, id="training") if drawn else None
        links = [(f"part{number}", name) for number, (name, _, _) in enumerate(self._sections)]
        links += [("training", "training")] * (training is not None) + [("run", "the run")]
        sections = [tag("section", body, id=f"part{n}") for n, (_, _, body) in enumerate(self._sections)]
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", title),
            tag("style", _style()),
        )
        top = tag(
            "header",
            tag("svg", _mark(), viewBox="0 0 24 24", class_="mark", aria_hidden="true"),
            tag("h1", self._title()),
            tag("p", f"{self.folder.resolve().name} · {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}", class_="lead"),
            tag("nav", [tag("a", name, href=f"#{place}") for place, name in links]),
            class_="top",
        )
        run = run_section(weights, self._facts, self.folder, self._sizes)
        end = tag("footer", "Figures are those of metrics.json. This file needs no network and runs no script.")
        body = tag("body", top, tag("main", self._beside, sections, training, run), end)
        return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"

    def _add(self, name: str, split: str, note: str, body: Html) -> None:
        heading = tag("h2", f"{name} · {split}", tag("small", note))
        section = tag("div", heading, body, data_head=name, data_split=split)
        self._sections.append((f"{name} · {split}", split, section))

    def _title(self) -> str:
        done = "training" if self._facts.checkpoint is None and self._facts.predictions is None else "evaluation"
        return f"{VERBS[self._facts.task]} {done}"


def _body(evaluator: Evaluator[Any], beside: list[Reference]) -> Html:
    """What there is to say of a head, by its kind; of anybody else's, its metrics."""
    match evaluator:
        case DetectionEvaluator():
            return detection_body(evaluator, beside)
        case ClassificationEvaluator():
            return classification_body(evaluator, beside)
        case SegmentationEvaluator():
            return segmentation_body(evaluator, beside)
        case _:
            return tiles([(name, name, number) for name, number in evaluator.metrics().items()])


def _mark() -> Html:
    return tag(
        "path",
        d=MARK,
        fill="none",
        stroke="currentColor",
        stroke_width="1.8",
        stroke_linecap="round",
        stroke_linejoin="round",
    )


@functools.cache
def _style() -> Html:
    """Our own sheet, which is no input."""
    return Html(files("tasks.report").joinpath("style.css").read_text(encoding="utf-8"))
