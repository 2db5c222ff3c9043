"""`jobs/NAME.json` of a sweep: how far a run is, and what its model is and costs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from backbone.disk import write_whole
from backbone.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.commands.sweep.plan import Job

FOLDER = "jobs"
SPLIT = "val"
STATUSES = ("waiting", "running", "done", "failed")


@dataclass(slots=True, kw_only=True)
class Row:
    """How far a job is, and what its model is and costs.

    Attributes:
        status: one of `STATUSES`.
        reason: why it failed; empty where it did not.
        seconds: that the last attempt took.
        metrics: of the validation images; empty unless it is done.
        metric: the mean of its heads' main metrics; None unless it is done.
        image_size: in pixels; this and the rest are known once the sweep is at its end.
        parameters, multiply_adds: of one image, up to the heads' raw outputs.
        latency_ms: of one image in one thread, median, on `machine`.
        published: for this very model and data, as fractions with their sources.
        imagenet: whether the published classifiers are comparable.
    """

    name: str
    varied: dict[str, str]
    status: str = "waiting"
    reason: str = ""
    seconds: float | None = None
    metric: float | None = None
    image_size: int | None = None
    parameters: int | None = None
    multiply_adds: int | None = None
    latency_ms: float | None = None
    machine: str | None = None
    published: list[dict[str, Any]] = field(default_factory=list)
    imagenet: bool = False
    metrics: dict[str, float | None] = field(default_factory=dict)

    def finish(self, job: Job, folder: Path) -> None:
        """Take over what the run in `folder` came to.

        Raises:
            InputError: its `metrics.json` is damaged.
        """
        path = folder / "metrics.json"
        try:
            self.metrics = json.loads(path.read_text(encoding="utf-8"))[SPLIT]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: is damaged ({error}); remove the run's folder, and it is done again") from error
        values = [value for name in job.metrics if (value := self.metrics.get(name)) is not None]
        self.metric = sum(values) / len(values) if len(values) == len(job.metrics) else None
        self.status, self.reason = "done", ""

    def write(self, sweep: Path) -> None:
        """`jobs/NAME.json`, whole or not at all.

        Raises:
            InputError: the disk is full, or the folder cannot be written.
        """
        write_whole(sweep / FOLDER / f"{self.name}.json", json.dumps(asdict(self), indent=2))


def read_row(sweep: Path, job: Job) -> Row:
    """The row of a job; one of a job that waits, if there is none yet.

    Raises:
        InputError: the file is damaged.
    """
    path = sweep / FOLDER / f"{job.name}.json"
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain["status"] not in STATUSES:
            raise ValueError(f"status {plain['status']}")
        plain = _today(plain)
        known = {key: plain[key] for key in Row.__slots__ if key in plain}  # version 0.1 wrote others besides
        row = Row(**known | {"name": job.name, "varied": job.varied})
    except FileNotFoundError:
        return Row(name=job.name, varied=job.varied)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: is damaged ({error}); remove it, and say the same words") from error
    return row


def _today(plain: dict[str, Any]) -> dict[str, Any]:
    """A row whose main metric was called its figure, in today's words."""
    published = [{"metric" if key == "figure" else key: one[key] for key in one} for one in plain.get("published", [])]
    return {"metric": plain.get("figure"), **plain, "published": published}
