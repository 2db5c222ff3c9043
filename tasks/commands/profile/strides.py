"""What the output stride of a shared backbone costs: each way to serve heads that want different ones.

A dilated network has the cells of the strided one among its own: the finer feature of one pass, every second cell of
it, is the coarser one, to the last bit but for rounding (DeepLabv3, arXiv:1706.05587, section 3.1; a test holds it). So
the backbone runs once at the finest stride that a head wants, and `backbone.last_stride` gives the others theirs, for
no more than the dilated stages 6 and 7 cost. Running those stages twice, once strided and once dilated, costs that and
the strided stages besides. What differs is training alone: batch statistics are of all cells.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from rich.table import Table

from backbone.architecture import OUTPUT_STRIDES
from backbone.build import build_backbone
from backbone.cost import cost
from tasks.commands.profile.models import WithHeads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbone.config import MobileNetConfig

COARSEST = max(OUTPUT_STRIDES)


class Choice(NamedTuple):
    """Multiply-adds and bytes of activations of an image through the model; None: it is not there to be traced."""

    what: str
    multiply_adds: int
    peak_activation_bytes: int | None
    chosen: bool


def choices(config: MobileNetConfig, heads: Mapping[str, Any], *, num_classes: int, image_size: int) -> list[Choice]:
    """Every output stride with `last` at the same stride or at 32, and the tails run apart.

    Args:
        heads: configurations by name.
    """
    found = []
    shape = (1, 3, image_size, image_size)
    fresh = replace(config, weights=None)
    for stride in sorted(OUTPUT_STRIDES, reverse=True):
        for last in dict.fromkeys((stride, COARSEST)):
            tried = replace(fresh, output_stride=stride, last_stride=last)
            with torch.device("meta"):  # shapes without data, which take no time to fill
                model = WithHeads.build(tried, heads, num_classes=num_classes, image_size=image_size)
            spent = cost(model, shape)
            what = f"output stride {stride}" + (f", last {last}" if last != stride else "")
            chosen = (config.finest_stride, config.last_stride or config.finest_stride) == (stride, last)
            found.append(Choice(what, spent.multiply_adds, spent.peak_activation_bytes, chosen))
            if last == COARSEST != stride:
                strided = replace(tried, output_stride=COARSEST, last_stride=None).built
                first, *others = [name for name, of in tried.built.stages.items() if of != strided.stages[name]]
                again = _spent_again(fresh, first, others, shape)
                what = f"output strides {stride} and {COARSEST}, from {first} on run twice"
                found.append(Choice(what, spent.multiply_adds + again, None, False))
    return found


def _spent_again(config: MobileNetConfig, first: str, others: list[str], shape: tuple[int, ...]) -> int:
    """Multiply-adds of the strided stages beside the dilated ones, which share the first expansion."""
    with torch.device("meta"):
        model = build_backbone(replace(config, output_stride=COARSEST, last_stride=None), ["last"])
    strided = cost(model, shape)
    again = sum(strided.part(part)[1] for part in (first, *others))
    shared = f"{first}.expand" in config.specs
    return again - strided.part(f"{first}.0.expand")[1] if shared else again


def choices_table(rows: list[Choice]) -> Table:
    """For the console."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("one pass for all heads")
    table.add_column("multiply-\nadds, M", justify="right")
    table.add_column("alive, kB", justify="right")
    for row in rows:
        alive = "–" if row.peak_activation_bytes is None else f"{row.peak_activation_bytes / 1000:,.0f}"
        figures = f"{row.multiply_adds / 1e6:,.1f}", alive
        table.add_row(f"{row.what}{' (this one)' * row.chosen}", *figures, style="bold" if row.chosen else None)
    return table
