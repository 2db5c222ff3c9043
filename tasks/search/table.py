"""A latency table: how long the pieces of a network take on one device in one runtime.

The file is JSON with a line for every piece, so that it can be read and brought along from another device.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from backbone.disk import whole_file
from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tasks.search.pieces import Piece

FORMAT = "trident-latency-1"
ABOUT = ("machine", "runtime", "precision", "threads", "versions")
TIMES = ("fast", "median", "low", "high", "passes")
MAX_BYTES = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Milliseconds of a pass.

    Attributes:
        fast: mean of the fastest tenth, which is what counts: what else the machine does only adds to a pass, and more
            to a long one.
        median, low, high: of all passes, with the quartiles; how far they are from `fast` tells how quiet it was.
        passes: how many were timed.
    """

    fast: float
    median: float
    low: float
    high: float
    passes: int


class LatencyTable:
    """Timings by piece, measured when they are first asked for and kept in a file.

    Args:
        path: of the file; what is in it is used, and what is measured is added.
        about: the device and how it is used: machine, runtime, precision, threads, versions.
        measure: times a piece here.
    Raises:
        InputError: the file is no table, or one of another runtime, precision or number of threads.
    Attributes:
        measured: pieces that were timed by this object.
        is_elsewhere: whether the file tells of another machine: then nothing is measured.
    """

    def __init__(self, path: Path, about: dict[str, Any], measure: Callable[[Piece], Timing]) -> None:
        self.path = path
        self.about = about
        self.measured = 0
        self.is_elsewhere = False
        self._measure = measure
        self._times: dict[str, Timing] = {}
        if path.exists():
            self._read()

    def __len__(self) -> int:
        return len(self._times)

    def timing(self, piece: Piece) -> Timing:
        """How long a piece takes.

        Raises:
            InputError: it is not in a table of another machine.
        """
        if piece.key not in self._times:
            if self.is_elsewhere:
                raise InputError(
                    f"latency.table={self.path}: was measured on {self.about['machine']} and does not have"
                    f" '{piece.key}'; it cannot be measured here: run the same command there, and bring the table along"
                )
            self._times[piece.key] = _rounded(self._measure(piece))
            self.measured += 1
            self._write()
        return self._times[piece.key]

    def milliseconds(self, piece: Piece) -> float:
        """How long a piece takes. See `timing`."""
        return self.timing(piece).fast

    def total(self, pieces: Iterable[Piece]) -> float:
        """Milliseconds of all pieces together."""
        return sum(map(self.milliseconds, pieces))

    def _read(self) -> None:
        what = f"latency.table={self.path}"
        try:
            if self.path.stat().st_size > MAX_BYTES:
                raise ValueError("it is too large")
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if not isinstance(found, dict) or found.get("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            about = {name: found[name] for name in ABOUT}
            self._times = {str(key): _timing(times) for key, times in found["pieces"].items()}
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise InputError(
                f"{what}: is no latency table ({str(error).splitlines()[0]}); name another file"
            ) from error
        for name in ("runtime", "precision", "threads"):
            if about[name] != self.about[name]:
                raise InputError(
                    f"{what}: was measured with {name}={about[name]}, and the command says {self.about[name]}; say the"
                    " same, or name another file"
                )
        self.is_elsewhere = about["machine"] != self.about["machine"]
        self.about = about if self.is_elsewhere else self.about

    def _write(self) -> None:
        head = ",\n".join(
            f'  "{name}": {json.dumps(value)}' for name, value in {"format": FORMAT, **self.about}.items()
        )
        rows = ",\n".join(
            f"    {json.dumps(key)}: {json.dumps(asdict(times))}" for key, times in sorted(self._times.items())
        )
        with whole_file(self.path) as part:
            part.write_text(f'{{\n{head},\n  "pieces": {{\n{rows}\n  }}\n}}\n', encoding="utf-8")


def _rounded(timing: Timing) -> Timing:
    """To hundredths of a microsecond, as in the file: a table that is read again says the same."""
    return Timing(**{name: round(value, 5) for name, value in asdict(timing).items()})


def _timing(times: Any) -> Timing:
    fast, median, low, high, passes = (float(times[name]) for name in TIMES)
    if not all(math.isfinite(value) and value > 0 for value in (fast, median, low, high, passes)):
        raise ValueError(f"a time is not positive: {times}")
    return Timing(fast=fast, median=median, low=low, high=high, passes=int(passes))
