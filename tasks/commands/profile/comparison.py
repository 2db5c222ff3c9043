"""The papers' tables with our measured column and the deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from rich.console import Group
from rich.table import Table
from rich.text import Text

from backbone.cost import cost
from backbone.families.mobilenet_v2 import MobileNetV2Config
from tasks.commands.profile.family_models import MODELS as FAMILY_MODELS
from tasks.commands.profile.models import MODELS, classifier, classifier_cost
from tasks.config.profile import Paper
from tasks.papers import tables_v1, tables_v3
from tasks.papers.tables import CHECKPOINTS, TABLE_3, TABLE_3_MAXIMA, TABLE_3_NOTES, TABLE_3_TITLE, TABLES, PaperTable

if TYPE_CHECKING:
    from rich.console import RenderableType

SIZE = 224
ALL_MODELS = MODELS | FAMILY_MODELS
OTHERS = {Paper.v1: tables_v1.TABLES, Paper.v3: tables_v3.TABLES}
NOT_MEASURED = "–"


def comparison(number: int, paper: Paper = Paper.v2) -> tuple[RenderableType, dict[str, Any]]:
    """A table of a paper, for the console and for `profile.json`."""
    if paper is not Paper.v2:
        shown, rows = _models(OTHERS[paper][number])
        return shown, {"paper": paper.value, "table": number, "rows": rows}
    if number == 3:
        return _memory()
    shown, rows = _models(TABLES[number])
    if number != 4:
        return shown, {"table": number, "rows": rows}
    checkpoints, found = _checkpoints()
    return Group(shown, "", checkpoints), {"table": number, "rows": rows, "checkpoints": found}


def _models(paper: PaperTable) -> tuple[RenderableType, list[dict[str, Any]]]:
    table = _empty()
    table.add_column("counts in M")
    headings = ([paper.score] if paper.score else []) + [
        "para-\nmeters",
        "\nours",
        "\noff",
        "multiply-\nadds",
        "\nours",
        "\noff",
    ]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    rows, notes = [], list(paper.notes)
    for row in paper.rows:
        ours = ALL_MODELS[row.ours]() if row.ours else None
        counts = (ours.parameters / 1e6, ours.multiply_adds / 1e6) if ours else (None, None)
        off = [_off(count, said) for count, said in zip(counts, (row.parameters, row.multiply_adds), strict=True)]
        cells = [f"{row.score}"] if row.score is not None else []
        if ours:
            cells += [_number(row.parameters), f"{counts[0]:.3f}", _percent(off[0])]
            cells += [_number(row.multiply_adds), f"{counts[1]:.1f}", _percent(off[1])]
        else:
            cells += [_number(row.parameters), NOT_MEASURED, "", _number(row.multiply_adds), NOT_MEASURED, ""]
        table.add_row(row.model + (" *" if row.note else ""), *cells, style="bold" if ours else "")
        notes += [f"* {row.model}: {row.note}."] if row.note else []
        rows.append(
            {
                "model": row.model,
                "score": row.score,
                "published": {"parameters": row.parameters, "multiply_adds": row.multiply_adds},
                "measured": {"parameters": counts[0], "multiply_adds": counts[1]} if ours else None,
                "deviation": {"parameters": off[0], "multiply_adds": off[1]} if ours else None,
                "note": row.note,
            }
        )
    if any(row.ours is None for row in paper.rows):
        notes.append(f"{NOT_MEASURED}: not built here, so not measured.")
    return Group(Text(paper.title), table, *(Text(note, "dim") for note in notes)), rows


def _checkpoints() -> tuple[RenderableType, list[dict[str, Any]]]:
    title = "The reference's checkpoints: multiply-adds in M, published (cut, not rounded) and ours"
    table = _empty()
    for heading in ("width", "px", "top-1", "published", "ours", "parameters, M"):
        table.add_column(heading, justify="right")
    rows = []
    for width, sizes in CHECKPOINTS.items():
        for size, known in sizes.items():
            ours = classifier_cost(MobileNetV2Config(width=width), size)
            multiply_adds, parameters = ours.multiply_adds / 1e6, ours.parameters / 1e6
            table.add_row(
                str(width), str(size), f"{known.top_1}", str(known.multiply_adds), f"{multiply_adds:.1f}",
                f"{parameters:.3f}",
            )  # fmt: skip
            rows.append(
                {
                    "width": width,
                    "image_size": size,
                    "top_1": known.top_1,
                    "published_multiply_adds": known.multiply_adds,
                    "multiply_adds": multiply_adds,
                    "parameters": parameters,
                }
            )
    return Group(Text(title), table), rows


def _memory() -> tuple[RenderableType, dict[str, Any]]:
    """Table 3: what lies between two bottlenecks, from a trace at 16 bit."""
    config = MobileNetV2Config()
    real = _maps_between_bottlenecks(config)
    table = _empty()
    table.add_column("map")
    for heading in ("V1", "ShuffleNet 2x", "V2", "V2 as print-\ned, ours", "V2, mea-\nsured", "off"):
        table.add_column(heading, justify="right")
    rows = []
    for row in TABLE_3:
        channels = config.specs[row.stage].channels
        paired = channels * row.side**2 * 2 / 1000
        measured = real[row.side]
        exists = measured[0] == row.v2[0]
        off = _off(measured[1], row.v2[1])
        table.add_row(
            f"{row.side}²" + ("" if exists else " *"),
            _pair(row.v1), _pair(row.shufflenet), _pair(row.v2), _pair((channels, paired)), _pair(measured),
            _percent(off),
        )  # fmt: skip
        rows.append(
            {
                "side": row.side,
                "published": {"channels": row.v2[0], "kb": row.v2[1]},
                "as_printed": {"channels": channels, "kb": paired},
                "measured": {"channels": measured[0], "kb": measured[1]},
                "deviation": off,
                "printed_map_exists": exists,
            }
        )
    largest = max(size for _, size in real.values())
    v1, v2, shufflenet = TABLE_3_MAXIMA
    off = _off(largest, v2)
    table.add_row("max", str(v1), str(shufflenet), str(v2), "", f"{largest:.0f}", _percent(off), style="bold")
    notes = [Text(note, "dim") for note in (*TABLE_3_NOTES, "* the printed map of V2 does not exist.")]
    found = {"table": 3, "rows": rows, "maximum": {"published": v2, "measured": largest, "deviation": off}}
    return Group(Text(TABLE_3_TITLE), table, *notes), found


def _maps_between_bottlenecks(config: MobileNetV2Config) -> dict[int, tuple[int, float]]:
    """Channels and kB of the largest map at each resolution; 1: what the pooling leaves."""
    found = cost(classifier(config), (1, 3, SIZE, SIZE), dtype=torch.float16)
    largest: dict[int, tuple[int, float]] = {}
    for layer in found.layers:
        if layer.name.endswith("project.norm"):
            _, channels, side, _ = layer.output_shape
            largest[side] = max(largest.get(side, (0, 0.0)), (channels, layer.output_bytes / 1000))
    pooled = next(layer for layer in found.layers if layer.name == "classifier.classifier")
    return largest | {1: (config.specs["last"].channels, pooled.input_bytes / 1000)}


def _empty() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _off(ours: float | None, published: float | None) -> float | None:
    """The deviation as a fraction of what is published."""
    return None if ours is None or published is None else ours / published - 1


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _pair(pair: tuple[int, float]) -> str:
    channels, size = pair
    return f"{channels}/{size:.0f}" if size >= 10 or size == int(size) else f"{channels}/{size:.1f}"
