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
from tasks.commands.profile import table, tradeoff
from tasks.commands.profile.comparison import comparison
from tasks.commands.profile.models import Measured, WithHeads
from tasks.commands.profile.strides import choices, choices_table
from tasks.config.run import Task
from tasks.runs import folder as run_folder
from tasks.timing.latency import Latency, latency, machine, thread_counts

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.config.run import RunConfig
    from tasks.runs.log import RunLog

log = logging.getLogger(__name__)


def profile(config: RunConfig, folder: Path, lines: RunLog) -> None:
    """Print what the configured model costs, or a table of the paper if `config.profile.table` names one.

    A table is written to the run folder only where `run_dir` names one.

    Raises:
        InputError: the model cannot be built or traced, or a sweep is asked of a backbone that is not ours.
    """
    console = Console()
    if config.profile.table is not None:
        shown, found = comparison(config.profile.table, config.profile.paper)
        console.print(shown)
        if config.run_dir is not None:
            run_folder.make(folder)
            run_folder.write_profile(folder, found)
        return
    if config.profile.sweep and not isinstance(config.backbone, MobileNetConfig):
        raise InputError("profile.sweep=true: needs a MobileNet, whose width it varies; leave it out")
    model = _build(config)
    run_folder.make(folder)
    lines.attach(folder)
    found = _costs(config, model, console)
    found["strides"] = _stride_choices(config, console)
    found["latency"] = _latencies(config, model, console)
    found["machine"] = machine()
    if config.profile.sweep:
        points = tradeoff.sweep(config.backbone, config.profile.widths, config.profile.sizes, config.profile.passes)
        tradeoff.draw(points, folder / "tradeoff.png", found["machine"])
        found["sweep"] = tradeoff.plain(points)
        log.info("trade-off of %d widths and sizes: %s", len(points), folder / "tradeoff.png")
    run_folder.write_profile(folder, found)
    log.info("everything is in %s", folder)


def _build(config: RunConfig) -> WithHeads:
    many = config.task is Task.multitask
    model = WithHeads.build(
        config.backbone,
        {name if many else "head": one.head for name, one in config.named_heads().items()},
        num_classes=config.profile.num_classes,
        image_size=config.transform.image_size,
    )
    return model.to(memory_format=torch.channels_last) if config.trainer.channels_last else model


def _stride_choices(config: RunConfig, console: Console) -> list[dict[str, Any]]:
    """What every way to share the backbone costs, where there are several heads."""
    if config.task is not Task.multitask or not isinstance(config.backbone, MobileNetConfig):
        return []
    rows = choices(
        config.backbone,
        {name: one.head for name, one in config.named_heads().items()},
        num_classes=config.profile.num_classes,
        image_size=config.transform.image_size,
    )
    console.print()
    console.print(choices_table(rows))
    return [row._asdict() for row in rows]


def _costs(config: RunConfig, model: WithHeads, console: Console) -> dict[str, Any]:
    size, num_classes = config.transform.image_size, config.profile.num_classes
    found = cost(model, (1, 3, size, size))
    rows = table.parts(model, found)
    console.print(f"One image of {size} px, {num_classes} classes:", highlight=False)
    console.print(table.stage_table(rows, found))
    published = list(
        table.beside(
            config.backbone,
            config.head,
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


def _latencies(config: RunConfig, model: WithHeads, console: Console) -> dict[str, list[dict[str, Any]]]:
    """Of the backbone alone and with the head, in one and in all threads."""
    images = torch.rand(1, 3, config.transform.image_size, config.transform.image_size)
    if config.trainer.channels_last:
        images = images.to(memory_format=torch.channels_last)
    shown = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    shown.add_column("latency, ms")
    for heading in ("threads", "median", "fastest", "slowest"):
        shown.add_column(heading, justify="right")
    found: dict[str, list[Latency]] = {}
    for name, module in (("backbone", model.backbone), (f"backbone and head{'s' * (len(model.names) > 1)}", model)):
        for threads in thread_counts():
            timing = latency(module, images, threads=threads, passes=config.profile.passes)
            found.setdefault(name, []).append(timing)
            times = (f"{ms:.1f}" for ms in (timing.median_ms, timing.fastest_ms, timing.slowest_ms))
            shown.add_row(name, str(threads), *times)
    note = (
        f"One image at 32 bit on {machine()}; {config.profile.passes} passes each, up to the head's raw outputs. "
        "Timings are noisy: whatever else runs on this machine is in them."
    )
    console.print()
    console.print(shown)
    console.print(Text(note, "dim"))
    return {name: [asdict(timing) for timing in timings] for name, timings in found.items()}
