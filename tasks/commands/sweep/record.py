"""`jobs/NAME.json` of a sweep: what one run was told, how it ended, and what was measured of it.

Written whole or not at all, by one process at a time: that which runs the job, and the job itself while it runs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - NamedTuple looks at it
from typing import Any, NamedTuple

from backbone.disk import write_whole
from backbone.errors import InputError

FOLDER = "jobs"
METRICS = "metrics.json"


class Status(StrEnum):
    """How far a job is."""

    waiting = "waiting"
    running = "running"
    done = "done"
    failed = "failed"


@dataclass(slots=True, kw_only=True)
class Measured:
    """What a trained model is and costs.

    Attributes:
        figures: names in `metrics.json` of the main figure of every head.
        image_size: in pixels.
        parameters, multiply_adds: of one image, up to the heads' raw outputs.
        latency_ms: of one image in one thread, median; None: not measured.
        machine: where that was.
        references: what was published for this very model and data, as fractions with their sources.
        imagenet: whether the published classifiers are comparable.
    """

    figures: list[str]
    image_size: int
    parameters: int
    multiply_adds: int
    latency_ms: float | None = None
    machine: str = ""
    references: list[dict[str, Any]] = field(default_factory=list)
    imagenet: bool = False


@dataclass(slots=True, kw_only=True)
class Record:
    """See the module.

    Attributes:
        config: the whole configuration, resolved, as plain data.
        reason: why it failed; empty where it did not.
        seconds: that the last attempt took.
    """

    words: list[str]
    config: dict[str, Any]
    status: Status = Status.waiting
    reason: str = ""
    seconds: float | None = None
    measured: Measured | None = None


class Place(NamedTuple):
    """Where a job of a sweep keeps its things."""

    sweep: Path
    name: str

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.sweep / self.name

    @property
    def record(self) -> Path:
        return self.sweep / FOLDER / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """What the run says, where several run side by side."""
        return self.sweep / FOLDER / f"{self.name}.log"


def place_of(record: Path) -> Place:
    """The place whose record this file is."""
    return Place(record.parent.parent, record.name.removesuffix(".json"))


def read_record(path: Path) -> Record | None:
    """None where there is none yet.

    Raises:
        InputError: the file is damaged.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        measured = plain.pop("measured")
        status = Status(plain.pop("status"))
        return Record(**plain, status=status, measured=None if measured is None else Measured(**measured))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: is damaged ({error}); remove it, and its job is done again") from error


def write_record(path: Path, record: Record) -> None:
    """Whole or not at all.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    write_json(path, asdict(record))


def write_json(path: Path, content: Any) -> None:
    """As `write_record`; any number of processes may write the same file."""
    write_whole(path, json.dumps(content, indent=2), durable=True)


def is_done(place: Place, record: Record | None) -> bool:
    """Whether the run ended by itself and its figures are there."""
    return record is not None and record.status is Status.done and (place.folder / METRICS).is_file()
