"""mode=profile: what is printed, and what is left in the run folder."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backbone.config import MobileNetConfig
from backbone.cost import cost
from backbone.errors import InputError
from backbone.families.known import NETWORKS
from tasks.commands.profile import table, tradeoff
from tasks.commands.profile.comparison import comparison
from tasks.commands.profile.models import Measured, WithHeads
from tasks.commands.profile.strides import choices, choices_table
from tasks.config.run import Task
from tasks.runs import folder as run_folder
from tasks.timing.latency import Latency, latency, machine, thread_counts

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.build import Builder
    from tasks.commands.job import Job
    from tasks.config.profile import ProfileConfig
    from tasks.config.training import TrainerConfig

log = logging.getLogger(__name__)


def profile(job: Job, section: ProfileConfig, trainer: TrainerConfig) -> None:
    """Print what the configured model costs, or a table of the paper if `profile.table` names one.

    A table is written to the run folder only where `run_dir` names one.

    Raises:
        InputError: the model cannot be built or traced, or a sweep is asked of a backbone that is not ours.
    """
    console, builder, folder = Console(), job.builder, job.folder
    if section.table is not None:
        shown, found = comparison(section.table, section.paper)
        console.print(shown)
        if job.is_named:
            run_folder.make(folder)
            run_folder.write_profile(folder, found)
        return
    if section.sweep and not isinstance(builder.backbone, MobileNetConfig):
        raise InputError("profile.sweep=true: needs a MobileNet, whose width it varies; leave it out")
    model = _build(builder, section.num_classes, channels_last=trainer.channels_last)
    run_folder.make(folder)
    job.lines.attach(folder)
    found = _costs(builder, section.num_classes, model, console)
    found["strides"] = _stride_choices(builder, section.num_classes, console)
    size = builder.transform.image_size
    found["latency"] = _latencies(model, size, section.passes, console, channels_last=trainer.channels_last)
    found["machine"] = machine()
    if section.sweep:
        found["sweep"] = _sweep(builder.backbone, section, folder, found["machine"])
    run_folder.write_profile(folder, found)
    log.info("everything is in %s", folder)


def _sweep(backbone: MobileNetConfig, section: ProfileConfig, folder: Path, machine: str) -> list[dict[str, Any]]:
    """Measure and draw the widths and sizes of a backbone, and of other networks."""
    points = tradeoff.sweep(backbone, section.widths, section.sizes, section.passes)
    tradeoff.draw(points, folder / "tradeoff.png", machine)
    log.info("trade-off of %d widths and sizes: %s", len(points), folder / "tradeoff.png")
    for name in (name for name in section.networks if name != backbone.NAME):
        points += tradeoff.sweep(NETWORKS[name](), section.widths, section.sizes, section.passes)
    if section.networks:
        tradeoff.draw_networks(points, folder / "networks.png", machine)
        known = sum(point.published_top_1 is not None for point in points)
        log.info("%d of %d networks have published figures: %s", known, len(points), folder / "networks.png")
    return tradeoff.plain(points)


def _build(builder: Builder, num_classes: int, *, channels_last: bool) -> WithHeads:
    many = builder.task is Task.multitask
    model = WithHeads.build(
        builder.backbone,
        {name if many else "head": one.head for name, one in builder.heads.items()},
        num_classes=num_classes,
        image_size=builder.transform.image_size,
    )
    return model.to(memory_format=torch.channels_last) if channels_last else model


def _stride_choices(builder: Builder, num_classes: int, console: Console) -> list[dict[str, Any]]:
    """What every way to share the backbone costs, where there are several heads."""
    if builder.task is not Task.multitask or not isinstance(builder.backbone, MobileNetConfig):
        return []
    rows = choices(
        builder.backbone,
        {name: one.head for name, one in builder.heads.items()},
        num_classes=num_classes,
        image_size=builder.transform.image_size,
    )
    console.print()
    console.print(choices_table(rows))
    return [row._asdict() for row in rows]


def _costs(builder: Builder, num_classes: int, model: WithHeads, console: Console) -> dict[str, Any]:
    size = builder.transform.image_size
    only = next(iter(builder.heads.values())).head if len(builder.heads) == 1 else None
    found = cost(model, (1, 3, size, size))
    rows = table.parts(model, found)
    console.print(f"One image of {size} px, {num_classes} classes:", highlight=False)
    console.print(table.stage_table(rows, found))
    published = list(
        table.beside(
            builder.backbone,
            only,
            num_classes=num_classes,
            image_size=size,
            totals=Measured(found.parameters, found.multiply_adds),
        )
    )
    if published:
        console.print()
        console.print(table.beside_table(published))
    return {
        "image_size": size,
        "num_classes": num_classes,
        "parameters": found.parameters,
        "multiply_adds": found.multiply_adds,
        "peak_activation_bytes": found.peak_activation_bytes,
        "parts": table.plain(rows),
        "published": table.plain(published),
    }


def _latencies(
    model: WithHeads, size: int, passes: int, console: Console, *, channels_last: bool
) -> dict[str, list[dict[str, Any]]]:
    """Latency of the backbone alone and with the head, in one and in all threads."""
    images = torch.rand(1, 3, size, size)
    if channels_last:
        images = images.to(memory_format=torch.channels_last)
    shown = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    shown.add_column("latency, ms")
    for heading in ("threads", "median", "fastest", "slowest"):
        shown.add_column(heading, justify="right")
    found: dict[str, list[Latency]] = {}
    for name, module in (("backbone", model.backbone), (f"backbone and head{'s' * (len(model.names) > 1)}", model)):
        for threads in thread_counts():
            timing = latency(module, images, threads=threads, passes=passes)
            found.setdefault(name, []).append(timing)
            times = (f"{ms:.1f}" for ms in (timing.median_ms, timing.fastest_ms, timing.slowest_ms))
            shown.add_row(name, str(threads), *times)
    note = (
        f"One image at 32 bit on {machine()}; {passes} passes each, up to the head's raw outputs. "
        "Timings are noisy: whatever else runs on this machine is in them."
    )
    console.print()
    console.print(shown)
    console.print(Text(note, "dim"))
    return {name: [asdict(timing) for timing in timings] for name, timings in found.items()}
