"""The loss of 8 bits by layer, as a table and as a file."""

from __future__ import annotations

import json
import math
from itertools import accumulate
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

MOST = 8
"""Layers that are printed at most."""


def tell_layers(
    folder: Path,
    tools: Any,
    made: Sequence[tuple[Path, Any]],
    names: Sequence[str],
    images: Sequence[NDArray[np.uint8]],
) -> list[LayerLoss]:
    """Compare the fp32 file with the one in 8 bits, print where most is lost, write all to `layers.json`.

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
    """The layers that lower the ratio most below the lowest of those before them, in order."""
    shown = Table(title="signal to noise in 8 bits, layers where most is lost", box=None, pad_edge=False)
    for column in ("layer", "dB", "lower by"):
        shown.add_column(column, justify="left" if column == "layer" else "right")
    lowest = list(accumulate((one.decibels for one in losses), min))
    falls = {place: lowest[place - 1] - lowest[place] for place in range(1, len(losses))}
    most = sorted(falls, key=lambda place: -falls[place])[:MOST]
    for place in sorted(place for place in most if falls[place] > 0):
        shown.add_row(losses[place].name, f"{losses[place].decibels:.1f}", f"{falls[place]:.1f}")
    return shown
