"""The table by stage of a configured model, and its totals beside the row that a paper has."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text
from torch import nn

from heads.ssdlite.config import SSDLiteConfig
from tasks.commands.profile.models import CLASSES, Measured, classifier_cost
from tasks.papers.references import is_reference
from tasks.papers.tables import CHECKPOINTS, TABLE_6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from backbone.cost import Cost, LayerCost


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stage of the backbone or a part of the head.

    Attributes:
        output: shapes without the batch: of its last layer; of the first and the last where layers run apart.
        activation_bytes: input and output of its largest operation together.
    """

    name: str
    output: str
    parameters: int
    multiply_adds: int
    activation_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Totals of ours beside a published row; both in millions."""

    what: str
    source: str
    parameters: float
    multiply_adds: float
    published_parameters: float | None
    published_multiply_adds: float


def parts(model: nn.Module, found: Cost) -> list[Part]:
    """Every direct part of the backbone and of the head, in the order of computation."""
    by_name: dict[str, list[LayerCost]] = {}
    for layer in found.layers:
        by_name.setdefault(".".join(layer.name.split(".")[:2]), []).append(layer)
    return [
        Part(
            name=name.removeprefix("backbone."),
            output=_output(model.get_submodule(name), name, layers),
            parameters=sum(layer.parameters for layer in layers),
            multiply_adds=sum(layer.multiply_adds for layer in layers),
            activation_bytes=max(layer.activation_bytes for layer in layers),
        )
        for name, layers in by_name.items()
    ]


def _output(part: nn.Module, name: str, layers: list[LayerCost]) -> str:
    ran = [layer for layer in layers if layer.output_shape]
    if not ran:
        return "–"
    if not isinstance(part, nn.ModuleList):
        return _shape(ran[-1])
    first = [layer for layer in ran if layer.name.startswith(f"{name}.0.") or layer.name == f"{name}.0"]
    ends = [_shape((first or ran)[-1]), _shape(ran[-1])]
    return " .. ".join(dict.fromkeys(ends))


def _shape(layer: LayerCost) -> str:
    return "×".join(str(size) for size in layer.output_shape[1:])


def stage_table(rows: list[Part], found: Cost) -> RenderableType:
    """For the console."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("part", no_wrap=True)
    table.add_column("output C × H × W", justify="right")
    for heading in ("parameters", "multiply-\nadds, M", "share", "in + out,\nkB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            row.output,
            f"{row.parameters:,}",
            f"{row.multiply_adds / 1e6:.2f}",
            f"{row.multiply_adds / max(found.multiply_adds, 1):.1%}",
            f"{row.activation_bytes / 1000:,.0f}",
        )
    totals = (f"{found.parameters:,}", f"{found.multiply_adds / 1e6:.2f}", "", f"{_largest(rows) / 1000:,.0f}")
    table.add_row("all", "", *totals, style="bold")
    note = (
        f"Activations at 32 bit, kB of 1000 bytes: input and output of a part's largest operation; at most "
        f"{found.peak_activation_bytes / 1000:,.0f} kB are alive at a time, the input image apart."
    )
    return Group(table, Text(note, "dim"))


def _largest(rows: list[Part]) -> int:
    return max(row.activation_bytes for row in rows)


def beside(config: Any, head: Any, *, num_classes: int, image_size: int, totals: Measured) -> Iterator[Beside]:
    """The published rows that this configuration is the model of; none for most.

    Args:
        config: of the backbone, of any kind; `head`: likewise.
        totals: of both together.
    """
    if not is_reference(config):
        return
    known = CHECKPOINTS.get(config.width, {}).get(image_size)
    if known is not None:
        ours = classifier_cost(config, image_size)
        yield Beside(
            what=f"the backbone as a classifier of {CLASSES}",
            source=f"reference checkpoint {config.width} at {image_size} px, top-1 {known.top_1}",
            parameters=ours.parameters / 1e6,
            multiply_adds=ours.multiply_adds / 1e6,
            published_parameters=3.4 if config.width == 1.0 else None,
            published_multiply_adds=known.multiply_adds,
        )
    is_paper_head = isinstance(head, SSDLiteConfig) and _same_layers(head) and (num_classes, image_size) == (80, 320)
    if is_paper_head and config.width == 1.0:
        row = next(row for row in TABLE_6.rows if row.ours == "ssdlite")
        assert row.multiply_adds is not None
        yield Beside(
            what="backbone and head",
            source=f"MobileNetV2, Table 6: {row.model}, mAP {row.score}",
            parameters=totals.parameters / 1e6,
            multiply_adds=totals.multiply_adds / 1e6,
            published_parameters=row.parameters,
            published_multiply_adds=row.multiply_adds,
        )


def _same_layers(head: SSDLiteConfig) -> bool:
    paper = SSDLiteConfig()
    return all(getattr(head, name) == getattr(paper, name) for name in ("taps", "extra_channels", "extra_width"))


def beside_table(rows: list[Beside]) -> Table:
    """For the console."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("totals, M")
    for heading in ("para-\nmeters", "pub-\nlished", "multiply-\nadds", "pub-\nlished"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("source")
    for row in rows:
        published = "–" if row.published_parameters is None else f"{row.published_parameters:g}"
        table.add_row(
            row.what,
            f"{row.parameters:.3f}",
            published,
            f"{row.multiply_adds:.1f}",
            f"{row.published_multiply_adds:g}",
            row.source,
        )
    return table


def plain(rows: list[Part] | list[Beside]) -> list[dict[str, Any]]:
    """For `profile.json`."""
    return [asdict(row) for row in rows]
