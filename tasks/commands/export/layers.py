"""The loss of 8 bits by layer, as a table and as a file."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.table import Table

from backbone.disk import write_whole
from tasks.deploy.layers import layer_losses

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tasks.deploy.layers import LayerLoss, Probe

WORST = 8
"""Layers that are printed."""


def tell_layers(
    folder: Path,
    tools: Any,
    made: Sequence[tuple[Path, Any]],
    names: Sequence[str],
    images: Sequence[NDArray[np.uint8]],
) -> list[LayerLoss]:
    """Compare the fp32 file with the one in 8 bits, print the layers that lose most, write all to `layers.json`.

    Args:
        tools: the module of the format, a `Probe`.
        made: the two files, fp32 first.
        names: of the layers, in order.
        images: views (H, W, 3).
    """
    plain, rounded = (path.read_bytes() for path, _ in made)
    losses = layer_losses(cast("Probe", tools), plain, rounded, names, images)
    told = [{"layer": one.name, "decibels": one.decibels if math.isfinite(one.decibels) else None} for one in losses]
    write_whole(folder / "layers.json", json.dumps(told, indent=2))
    Console().print(table(losses))
    return losses


def table(losses: Sequence[LayerLoss]) -> Table:
    """The layers with the least signal-to-noise ratio, and how much each has less than the layer before it."""
    shown = Table(title="signal to noise of the layers in 8 bits, the lowest", box=None, pad_edge=False)
    for column in ("layer", "dB", "change"):
        shown.add_column(column, justify="left" if column == "layer" else "right")
    places = sorted(range(len(losses)), key=lambda place: losses[place].decibels)[:WORST]
    for place in sorted(places):
        one = losses[place]
        change = one.decibels - losses[place - 1].decibels if place else math.nan
        shown.add_row(
            one.name, f"{one.decibels:.1f}", f"{change:+.1f}" if math.isfinite(change) else "–"
        )  # fmt: skip
    return shown
