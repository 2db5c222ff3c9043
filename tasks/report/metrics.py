"""Metrics on the page: tiles, bars for every class, a confusion matrix. Each number carries the one in metrics.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.report.html import Html, number_of, tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.papers.references import Reference
    from tasks.report.html import Child

OPEN_ROWS = 30
"""A longer list of classes is folded."""
MATRIX_CLASSES = 40
"""A confusion matrix of more is too large to read; the pairs most often confused are listed alone."""
NUMBERED_CLASSES = 14
"""A matrix of more has no numbers in its cells, only under the pointer."""
CONFUSED = 12


@dataclass(frozen=True, slots=True)
class Row:
    """One class. `value` is in 0 .. 1, None where there is nothing to score; `key` is its name in metrics.json."""

    name: str
    value: float | None
    amount: int
    key: str | None = None


def value(number: float | None, key: str | None = None, digits: int = 3) -> Html:
    """A figure with a few digits, and all of them in the markup; a dash where there is none.

    Args:
        key: its name in metrics.json, if it stands there.
    """
    if number is None:
        return tag("span", "–", class_="none", data_metric=key)
    return tag("data", f"{number:.{digits}f}", value=repr(number), data_metric=key)


def tiles(metrics: Sequence[tuple[str, str, float | None]], references: Sequence[Reference] = ()) -> Html:
    """Large metrics.

    Args:
        metrics: name in words, key in metrics.json, value; the first is the main one.
        references: published figures, by that key.
    """
    boxes = []
    for place, (words, key, number) in enumerate(metrics):
        beside = [
            tag("small", f"{one.source}: ", tag("b", f"{one.value:.3f}"), f"{one.caveat}", class_="reference")
            for one in references
            if one.metric == key
        ]
        boxes.append(
            tag(
                "div",
                tag("span", words),
                tag("strong", value(number, key)),
                beside,
                class_="tile main" if not place else "tile",
            )
        )
    return tag("div", boxes, class_="tiles")


def class_bars(rows: Sequence[Row], *, title: str, counted: str) -> Html:
    """A bar for every class that occurs, the best first; how many do not is said.

    Args:
        counted: what `amount` counts.
    """
    there = sorted((row for row in rows if row.value is not None), key=lambda row: (-(row.value or 0), row.name))
    lines = [
        tag(
            "tr",
            tag("th", row.name, scope="row"),
            tag("td", tag("i", style=f"--v:{row.value:.4f}"), class_="bar"),
            tag("td", value(row.value, row.key)),
            tag("td", f"{row.amount:,}", class_="soft"),
        )
        for row in there
    ]
    head = tag("tr", tag("th", "class"), tag("th"), tag("th", title), tag("th", counted), class_="head")
    table = tag("table", tag("thead", head), tag("tbody", lines), class_="bars")
    left_out = len(rows) - len(there)
    note = f"{len(there)} classes" + (f"; {left_out} do not occur" if left_out else "")
    return folded(f"{title} by class", note, table, opened=len(there) <= OPEN_ROWS)


def amounts(rows: Sequence[tuple[str, str, float, str]], *, title: str, note: str, heads: Sequence[str]) -> Html:
    """Bars of any length: name, what it means, size, what is said at its end."""
    longest = max((size for _, _, size, _ in rows), default=0) or 1
    lines = [
        tag(
            "tr",
            tag("th", name, tag("small", meaning), scope="row"),
            tag("td", tag("i", style=f"--v:{size / longest:.4f}"), class_="bar warm"),
            [tag("td", part) for part in said.split("|")],
        )
        for name, meaning, size, said in rows
    ]
    head = tag("tr", [tag("th", word) for word in heads], class_="head")
    caption = tag("figcaption", tag("b", title), tag("span", note, class_="note"))
    return tag("figure", caption, tag("table", tag("thead", head), tag("tbody", lines), class_="bars"), class_="card")


def confusion(
    names: Sequence[str], counts: Sequence[Sequence[int]], *, counted: str, file: str = "", last: str = ""
) -> Html:
    """What was taken for what: the matrix, if it can be read, and the pairs most often confused.

    Args:
        counts: true class by predicted class.
        counted: images, pixels or objects.
        file: that has the whole matrix, for the note.
        last: what the last column says where it is not what the last row is; empty: it is.
    """
    columns = [*names[:-1], last] if last else names
    totals = [sum(row) for row in counts]
    there = [index for index in range(len(names)) if totals[index] or any(row[index] for row in counts)]
    pairs = sorted(
        ((counts[t][p], t, p) for t in there for p in there if t != p and counts[t][p]),
        key=lambda pair: (-pair[0], pair[1:]),
    )[:CONFUSED]
    listed = [
        tag(
            "li",
            tag("b", names[t]),
            " " if last and p == len(names) - 1 else " taken for ",
            tag("b", columns[p]),
            tag("span", f"{number_of(count, counted)}, {count / totals[t]:.1%}"),
        )
        for count, t, p in pairs
    ]
    caption = tag("figcaption", tag("b", "Most often confused"), tag("span", "share of the true class", class_="note"))
    worst = tag(
        "figure", caption, tag("ol", listed) if listed else tag("p", "nothing was confused"), class_="card confused"
    )
    if len(there) > MATRIX_CLASSES:
        note = tag("p", f"{len(there)} classes are too many to draw as a matrix. {file}", class_="note")
        return tag("div", worst, note)
    some = [[counts[t][p] for p in there] for t in there]
    return tag(
        "div",
        _matrix([names[i] for i in there], [columns[i] for i in there], some, counted),
        worst,
        class_="grid",
    )


def _matrix(names: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]], counted: str) -> Html:
    numbered = len(names) <= NUMBERED_CLASSES
    rows = []
    for t, row in enumerate(counts):
        total = sum(row)
        cells = []
        for p, count in enumerate(row):
            share = count / total if total else 0
            said = f"{names[t]} taken for {columns[p]}: {number_of(count, counted)}, {share:.1%}"
            strong = " strong" if share > 0.55 else ""
            shown = f"{100 * share:.0f}" if numbered and count else ""
            cells.append(
                tag("td", shown, title=said, style=f"--v:{share:.3f}", class_=("hit" if t == p else "miss") + strong)
            )
        rows.append(tag("tr", tag("th", names[t], scope="row"), cells))
    head = tag("tr", tag("td"), [tag("th", tag("span", name), scope="col") for name in columns])
    caption = tag(
        "figcaption",
        tag("b", "Confusion"),
        tag("span", "true class by row, predicted by column, % of the row", class_="note"),
    )
    table = tag("table", tag("thead", head), tag("tbody", rows), class_="matrix")
    return tag("figure", caption, tag("div", table, class_="scroll"), class_="card")


def folded(title: str, note: str, content: Child, *, opened: bool = False) -> Html:
    """Something that opens at a click, without a script."""
    summary = tag("summary", tag("b", title), tag("span", note, class_="note"))
    return tag("details", summary, content, open=opened, class_="card")
