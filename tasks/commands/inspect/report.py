"""mode=inspect: reads a data set, says what it found, and writes `inspect.json` and `inspect.html`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from backbone.errors import InputError
from heads.ssdlite.config import SSDLiteConfig
from tasks.commands.inspect.console import print_findings, print_splits
from tasks.commands.inspect.counts import count, report_boxes, report_classes, report_shapes
from tasks.commands.inspect.coverage import coverage, report_coverage
from tasks.commands.inspect.duplicates import find_groups, report_groups
from tasks.commands.inspect.findings import Severity, from_faults, ordered
from tasks.commands.inspect.inspection import Inspection
from tasks.commands.inspect.page import write_page
from tasks.commands.inspect.reading import Reading
from tasks.commands.inspect.samples import DrawnImage, draw_files, draw_samples
from tasks.config.run import Task
from tasks.data.faults import collected
from tasks.data.loading.workers import default_workers
from tasks.data.splits import DataSplits
from tasks.data.transforms.build import train_transform
from tasks.data.transforms.whole import MIN_SIDE_PX
from tasks.drawing.contact_sheet import spread
from tasks.runs import folder as run_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.progress import Task as ProgressTask

    from tasks.build import Builder
    from tasks.commands.inspect.duplicates import Place
    from tasks.commands.job import Job
    from tasks.config.inspect import InspectConfig
    from tasks.config.training import TrainerConfig
    from tasks.data.faults import Fault
    from tasks.data.labels import LabelMap
    from tasks.data.splits import DetectionData

log = logging.getLogger(__name__)

MAX_GROUPS_SHOWN = 6
MAX_SHOWN_OF_GROUP = 4


def inspect(job: Job, section: InspectConfig, trainer: TrainerConfig, *, seed: int) -> Inspection:
    """Look at every split, print what was found, and write it into the run folder.

    Ctrl-C ends the reading; what was read until then is reported.

    Raises:
        InputError: there is no data to look at, or it is in no layout that can be read.
    """
    builder = job.builder
    with collected() as faults:
        splits = _build(builder, faults)
    job.begin()
    readings = _readings(splits, section.images)
    missing = {case for fault in faults if fault.unread for case in fault.cases}
    interrupted = _read(readings, missing, builder.data.workers, progress_bar=trainer.progress_bar)
    groups = find_groups(readings)
    found = Inspection(
        f"{builder.task.value}, data={job.command.choices.get('data')}, {getattr(builder.data, 'root', None) or ''}",
        {split: count(reading, splits.labels) for split, reading in readings.items()},
        [*from_faults(faults), *(f for split, reading in readings.items() for f in reading.findings(split))],
        groups=_draw_groups(groups, readings),
        interrupted=interrupted,
    )
    found.findings += report_groups(groups, readings)
    _judge(builder, found, readings)
    _draw_samples(builder, found, readings, splits.labels, section.samples, seed)
    found.findings = ordered(found.findings)
    _show(found, job.folder)
    return found


def _build(builder: Builder, faults: list[Fault]) -> DataSplits:
    try:
        splits = builder.splits()
        assert isinstance(splits, DataSplits)  # the configuration allows no other
        return splits
    except InputError:
        for fault in faults:  # found before the one that ends it
            log.error("%s", fault.text)
        raise


def _readings(splits: DataSplits, limit: int | None) -> dict[str, Reading]:
    """A reading for every split that has images."""
    there = {"train": splits.train, "val": splits.val, "test": splits.test}
    return {
        name: Reading(split, spread(len(split), limit or len(split)))
        for name, split in there.items()
        if split is not None and len(split)
    }


def _read(readings: Mapping[str, Reading], missing: set[str], workers: int | None, *, progress_bar: bool) -> bool:
    """Read all splits; whether Ctrl-C ended it."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    threads = default_workers() + 1 if workers is None else max(1, workers)
    shown = progress_bar and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        bar = progress.add_task("reading", total=sum(len(reading.positions) for reading in readings.values()))
        try:
            for reading in readings.values():
                reading.read(missing, threads, lambda done: progress.advance(bar, done))
        except KeyboardInterrupt:
            return True
    return False


class _Rate(ProgressColumn):
    """Images per second."""

    def render(self, task: ProgressTask) -> Text:
        return Text(f"{task.speed:.0f} images/s" if task.speed else "")


def _judge(builder: Builder, found: Inspection, readings: Mapping[str, Reading]) -> None:
    """What follows from the counts, the boxes and the default boxes."""
    found.findings += report_classes(found.counts)
    size = builder.transform.image_size
    for split, reading in readings.items():
        found.findings += report_shapes(reading, split)
        if builder.task is Task.detection:
            found.findings += report_boxes(reading, split, size, MIN_SIDE_PX)
    head = builder.heads[builder.task.value].head
    if builder.task is Task.detection and isinstance(head, SSDLiteConfig):
        boxes = cast("DetectionData", _trained_on(readings).data)
        found.coverage = coverage(boxes, head, builder.backbone.specs, size)
        if found.coverage is not None:
            found.findings += report_coverage(found.coverage)


def _trained_on(readings: Mapping[str, Reading]) -> Reading:
    """The training split; val, where there is none."""
    return next(iter(readings.values()))


def _draw_samples(
    builder: Builder, found: Inspection, readings: Mapping[str, Reading], labels: LabelMap, count: int, seed: int
) -> None:
    train = _trained_on(readings)
    good = train.positions[np.flatnonzero(train.good)]
    transform = train_transform(builder.transform)
    found.samples, found.legend = draw_samples(train.data, good, transform, labels, count, seed)


def _draw_groups(groups: list[list[Place]], readings: Mapping[str, Reading]) -> list[list[DrawnImage]]:
    """Draw the first groups, those that reach over two splits before others."""
    widest = sorted(groups, key=lambda group: -len({place.split for place in group}))[:MAX_GROUPS_SHOWN]
    drawn = []
    for group in widest:
        first = [next(place for place in group if place.split == split) for split in readings
                 if any(place.split == split for place in group)]  # fmt: skip
        shown = [*first, *(place for place in group if place not in first)][:MAX_SHOWN_OF_GROUP]
        drawn.append(draw_files([readings[place.split].data.path(place.position) for place in shown]))
    return [images for images in drawn if images]


def _show(found: Inspection, folder: Path) -> None:
    console = Console()
    run_folder.write_inspection(folder, found.plain())
    write_page(folder / "inspect.html", found)
    print_splits(found.counts, found.coverage, console)
    print_findings(found.findings, console)
    if found.interrupted:
        log.info("interrupted: this is what was read until then")
    warned = any(finding.severity is Severity.warning for finding in found.findings)
    sound = "sound, if the warnings above are as you want it" if warned else "sound"
    log.info("training on this data would be %s", sound if found.sound else "spoiled by the errors above")
    log.info("everything is in %s", folder)
