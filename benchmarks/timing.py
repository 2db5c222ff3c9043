"""What the benchmarks share: candidates that take turns, their medians, the command line, what goes into a file."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence


class Compared(NamedTuple):
    """One measurement beside that of a peer: a row of the table of `benchmarks.all`.

    Attributes:
        peer: name of the peer.
        unit: of both figures.
        ratio: above 1, ours is better, whether a large figure is good or a small one.
    """

    what: str
    ours: float
    peer: str
    theirs: float
    unit: str
    ratio: float


def medians_ms(
    candidates: list[Callable[[], Any]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Median time of each candidate; they take turns, after one round that is not counted.

    Args:
        clock: seconds; `time.process_time` is of the CPU, which other processes disturb less.
    """
    times: list[list[float]] = [[] for _ in candidates]
    for _ in range(repeats + 1):
        for candidate, spent in zip(candidates, times, strict=True):
            start = clock()
            candidate()
            spent.append(clock() - start)
    return [1000 * median(spent[1:]) for spent in times]


def common_options(description: str | None, *, repeats: int) -> argparse.ArgumentParser:
    """A parser with `repeats` and `json`, for a benchmark that adds its own.

    Args:
        description: docstring of the benchmark; its first line is shown.
        repeats: unless told otherwise.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=repeats, help="counted repetitions of each candidate")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser


def options(description: str | None, *, repeats: int, parts: Collection[str]) -> argparse.Namespace:
    """`repeats`, `threads`, `only` and `json` from the command line.

    Args:
        description, repeats: see `common_options`.
        parts: of the benchmark; all are run unless told otherwise.
    """
    parser = common_options(description, repeats=repeats)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts), help="parts to run")
    return parser.parse_args()


def write_json(path: Path | None, figures: dict[str, Any], compared: Sequence[Compared] = ()) -> None:
    """Keep the figures, and under `compared` those that have a peer, where a file is named."""
    if path is not None:
        path.write_text(json.dumps(figures | {"compared": [row._asdict() for row in compared]}, indent=2) + "\n")
