"""What mode=inspect found, as tables for the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from backbone.errors import printable
from tasks.commands.inspect.findings import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from tasks.commands.inspect.counts import Counts, Spread
    from tasks.commands.inspect.coverage import Coverage
    from tasks.commands.inspect.findings import Finding

CASES_SHOWN = 3
CLASSES_SHOWN = 10
STYLES = {Severity.error: "bold red", Severity.warning: "yellow", Severity.note: "dim"}


def print_splits(counts: Mapping[str, Counts], coverage: Coverage | None, console: Console) -> None:
    """The splits side by side, the classes that occur most, and what the default boxes cover."""
    console.print(_table(["", *counts], [[name, *cells] for name, cells in rows_of(counts)]))
    console.print()
    console.print(_table(*class_rows(counts, CLASSES_SHOWN)))
    if coverage is not None:
        console.print()
        console.print(_table(*coverage_rows(coverage)))


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Every finding with its first cases; all cases are in `inspect.json`."""
    console.print()
    if not findings:
        console.print("Nothing is wrong with this data.")
    for finding in findings:
        where = f" in {finding.split}" if finding.split else ""
        head = Text(f"{finding.severity.value}: ", STYLES[finding.severity])
        head.append(f"{finding.kind}{where} ({finding.count})" if finding.cases else f"{finding.kind}{where}", "bold")
        console.print(head, Text(f"  {printable(finding.text)}"), sep="\n", soft_wrap=True)
        shown = [case for case in finding.cases[: CASES_SHOWN + 1] if case not in finding.text][:CASES_SHOWN]
        for case in shown:
            console.print(Text(f"    {printable(case)}", "dim"), soft_wrap=True)


def rows_of(counts: Mapping[str, Counts]) -> list[tuple[str, list[str]]]:
    """A name and a cell for each split, those rows that say something."""
    rows = [
        ("images", [f"{held.images:,}" for held in counts.values()]),
        ("looked at", [f"{held.looked_at:,}" for held in counts.values()]),
        ("unreadable", [f"{held.unreadable:,}" for held in counts.values()]),
        ("objects", [_whole(held.objects) for held in counts.values()]),
        ("crowd regions", [_whole(held.crowds) for held in counts.values()]),
        ("images without objects", [_whole(held.without_objects) for held in counts.values()]),
        ("objects per image", [spread_words(held.objects_per_image) for held in counts.values()]),
        ("width, px", [spread_words(held.width) for held in counts.values()]),
        ("height, px", [spread_words(held.height) for held in counts.values()]),
        ("width / height", [spread_words(held.aspect, 2) for held in counts.values()]),
        ("void pixels", ["" if held.void is None else f"{held.void:.1%}" for held in counts.values()]),
    ]
    return [(name, cells) for name, cells in rows if any(cells)]


def class_rows(counts: Mapping[str, Counts], most: int | None = None) -> tuple[list[str], list[list[str]]]:
    """A heading and rows: how much there is of each class in each split, the most frequent in training first."""
    first = next(iter(counts.values()))
    tables = [{row.name: row for row in held.classes} for held in counts.values()]
    ordered = sorted(first.classes, key=lambda row: -row.amount)
    rows = []
    for one in ordered[:most]:
        cells = [_amount(table[one.name].amount, held) for table, held in zip(tables, counts.values(), strict=True)]
        rows.append([one.name, *cells])
    if len(ordered) > len(rows):
        rows.append([f".. {len(ordered) - len(rows)} more", *("" for _ in counts)])
    unit = "share of the pixels" if first.counted == "pixels" else first.counted
    return [f"class ({unit})", *counts], rows


def coverage_rows(coverage: Coverage) -> tuple[list[str], list[list[str]]]:
    """A heading and rows: what share of the objects of each size meets a default box, now and with what is proposed."""
    settings = [setting for setting in (coverage.now, coverage.better) if setting is not None]
    heading = ["objects that meet a default box", "objects", "as configured", "proposed"][: 2 + len(settings)]
    rows = []
    for size, covered in coverage.now.by_size.items():
        shares = [setting.by_size[size].share for setting in settings]
        rows.append([size, f"{covered.objects:,}", *("–" if share is None else f"{share:.0%}" for share in shares)])
    return heading, rows


def spread_words(spread: Spread | None, digits: int = 0) -> str:
    if spread is None:
        return ""
    if spread.least == spread.most:
        return f"{spread.least:.{digits}f}"
    return f"{spread.least:.{digits}f} .. {spread.median:.{digits}f} .. {spread.most:.{digits}f}"


def _whole(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _amount(amount: int, counts: Counts) -> str:
    if counts.counted != "pixels":
        return f"{amount:,}"
    return f"{amount / max(1, sum(row.amount for row in counts.classes)):.2%}"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for number, name in enumerate(heading):
        table.add_column(Text(name), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
