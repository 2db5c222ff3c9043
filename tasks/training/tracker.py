"""What is logged goes to a service in a thread of its own: a training never waits for a server nor ends with it."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers.logger import Logger

from backbone.disk import write_whole
from backbone.errors import InputError
from tasks.distributed.group import broadcast, is_first
from tasks.runs import folder as run_folder
from tasks.training.services import service_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tasks.training.services import Service

log = logging.getLogger(__name__)

NOTE = "tracker.json"
"""What the services know this run by: a training that goes on does so in the same run."""
PAUSE_S = (1.0, 30.0)
"""Between two tries: the first pause, and the longest, each twice the one before."""
END_S, ABORT_S = 60.0, 5.0
"""That a training waits for what was not sent yet: at its end, and where it fails."""


class Tracker(Logger):
    """Logger of Lightning's interface that hands everything on to a service, in order, until all of it is there.

    Args:
        service: None: nothing is handed on.
        folder: of the run.
        pause_s, end_s: see `PAUSE_S` and `END_S`.
    """

    def __init__(
        self, service: Service | None, folder: Path, *, pause_s: tuple[float, float] = PAUSE_S, end_s: float = END_S
    ) -> None:
        super().__init__()
        self._service = service
        self._folder = folder
        self._pause_s = pause_s
        self._end_s = end_s
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._gives_up = Event()
        self._thread = Thread(target=self._work, name="tracker", daemon=True)
        self._given = self._done = self._step = 0
        self._reason = ""
        self._succeeded = False

    @property
    def loggers(self) -> list[Logger]:
        """For Lightning's trainer."""
        return [self] if self._service is not None else []

    @property
    def name(self) -> str:
        """The service's name, which Lightning asks for."""
        return "" if self._service is None else self._service.name

    @property
    def version(self) -> str:
        """What the service knows the run by."""
        return "" if self._service is None else str(self._service.run)

    def connect(self) -> None:
        """See that the service answers; a run that it knows goes on without.

        Raises:
            InputError: it does not, and this training is new.
        """
        if self._service is None:
            return
        try:
            self._service.connect()
        except InputError as error:
            if self._known() is None:
                raise
            log.warning("%s; the training goes on, and what it logs waits for it", error)

    def begin(self, config: Mapping[str, Any]) -> None:
        """Begin a run of the service, or go on with that of this folder.

        Args:
            config: of the training, as plain data.
        Raises:
            InputError: the service refuses a new run.
        """
        service = self._service
        if service is None:
            return

        def start(known: str | None) -> None:
            service.begin(known, config, self._folder / run_folder.CONFIG)
            write_whole(self._folder / NOTE, json.dumps({**self._notes(), service.name: service.run}), durable=True)
            log.info("logger=%s: %s", service.name, service.address)

        if (known := self._known()) is not None:
            self._give(lambda: start(known))
        else:
            try:
                start(None)
            except Exception as error:
                raise InputError(f"logger={service.name}: cannot begin a run there ({_told(error)})") from error
        self._thread.start()

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """`begin` hands the configuration on."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Metrics after a step."""
        service, values = self._service, {name: float(value) for name, value in metrics.items()}
        if service is not None:
            self._step = at = step or 0
            self._give(lambda: service.log_metrics(values, at))

    def log_results(self, *, is_done: bool) -> None:
        """The best weights' metrics, as `best/SPLIT/METRIC`, and the contact sheets that are in the folder.

        Args:
            is_done: whether the training took all its steps; the run failed otherwise.
        """
        service, at = self._service, self._step
        if service is None:
            return
        metrics = json.loads((self._folder / run_folder.METRICS).read_text(encoding="utf-8"))
        best = {
            f"best/{split}/{name}": float(value)
            for split, values in metrics.items()
            for name, value in values.items()
            if value is not None
        }
        self._give(lambda: service.log_metrics(best, at))
        for sheet in sorted(self._folder.glob("contact_sheet*.png")):
            self._give(lambda sheet=sheet: service.log_image(sheet.stem, sheet, at))  # type: ignore[misc]
        self._succeeded = is_done

    def close(self, end_s: float | None = None) -> None:
        """Wait until all is sent, for a while.

        Args:
            end_s: seconds in place of those of the tracker.
        """
        service = self._service
        if service is None or not self._thread.is_alive():
            return
        self._give(lambda: service.finish(succeeded=self._succeeded))
        self._waiting.put(None)
        self._thread.join(self._end_s if end_s is None else end_s)
        self._gives_up.set()
        if left := self._given - self._done:
            log.warning(
                "logger=%s: %d of %d entries did not get there%s; all metrics are in the run folder",
                service.name, left, self._given, self._reason and f" ({self._reason})",
            )  # fmt: skip

    def _give(self, job: Callable[[], None]) -> None:
        self._given += 1
        self._waiting.put(job)

    def _work(self) -> None:
        """Jobs in their order, each until it is done or refused."""
        while (job := self._waiting.get()) is not None:
            pause, longest = self._pause_s
            while not self._tried(job):
                if self._gives_up.wait(pause):
                    return
                pause = min(2 * pause, longest)

    def _tried(self, job: Callable[[], None]) -> bool:
        """Whether there is no more to do for a job."""
        assert self._service is not None
        try:
            job()
        except Exception as error:
            is_first_time, self._reason = not self._reason, _told(error)
            refused = self._service.refuses(error)
            if is_first_time:
                after = "it is left out" if refused else "what is logged waits until it answers"
                log.warning("logger=%s: failed (%s): the training goes on, %s", self._service.name, self._reason, after)
            return refused
        self._done += 1
        return True

    def _notes(self) -> dict[str, Any]:
        try:
            notes = json.loads((self._folder / NOTE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}

    def _known(self) -> str | None:
        """What the service knows the run of this folder by."""
        known = self._notes().get(self.name)
        return known if isinstance(known, str) else None


@contextmanager
def tracked(config: Any, folder: Path) -> Iterator[Tracker]:
    """A tracker for what `logger` names, in the first of several processes; it is closed however a training ends.

    Raises:
        InputError: see `Tracker.connect`.
    """
    tracker = Tracker(service_of(config, folder) if is_first() else None, folder)
    broadcast(tracker.connect)
    try:
        yield tracker
    except BaseException:
        tracker.close(ABORT_S)
        raise
    tracker.close()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
