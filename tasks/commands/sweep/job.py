"""One run of a sweep, in a process of its own: what kills it, kills neither the sweep nor the other runs.

Started by any of Hydra's launchers, here or on another machine.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from rich.console import Console

from tasks.commands.sweep.record import Place, Record, Status, is_done, read_record, write_record
from tasks.commands.sweep.results import show, write_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omegaconf import DictConfig

    from tasks.commands.sweep.plan import Job

CHILD = (sys.executable, "-m", "tasks.commands.sweep.child")
"""Runs one job; its words follow."""


@dataclass(slots=True)
class JobRunner:
    """Does the job whose configuration it is called with; never raises for what happens in it.

    Args:
        sweep: folder of the whole sweep, absolute.
        jobs: of the whole sweep.
        cwd: where the jobs run.
        aloud: let the jobs write to the console; else each writes to a file of its own.
        child: the command of a job, before the path of its record and its words.
    """

    sweep: Path
    jobs: Sequence[Job]
    cwd: str
    aloud: bool
    child: Sequence[str] = field(default_factory=lambda: CHILD)

    def __call__(self, composed: DictConfig) -> Any:
        place = Place(self.sweep, Path(str(composed.run_dir)).name)
        record = read_record(place.record)
        assert record is not None, "the sweep writes the records before its jobs"
        if not is_done(place, record):
            self._run(place, record, list(HydraConfig.get().overrides.task))
            self._tell()

    def _run(self, place: Place, record: Record, words: Sequence[str]) -> None:
        record.status, record.reason = Status.running, ""
        write_record(place.record, record)
        if self.aloud:
            names = [job.name for job in self.jobs]
            rule = f"sweep: job {names.index(place.name) + 1} of {len(names)}, {place.name}"
            Console().print(f"\n{rule}", style="bold", highlight=False)
        start = time.monotonic()
        code, interrupted = _start(
            [*self.child, str(place.record), *words], self.cwd, None if self.aloud else place.log
        )
        record = read_record(place.record) or record  # the job writes what it found, and why it failed
        record.seconds = time.monotonic() - start
        record.status = Status.failed if code or interrupted else Status.done
        record.reason = "interrupted" if interrupted else _reason(code, record.reason)
        write_record(place.record, record)
        if interrupted:
            raise KeyboardInterrupt

    def _tell(self) -> None:
        """What there is so far: a sweep that is killed later has it."""
        rows = write_results(self.sweep, self.jobs)
        if self.aloud:
            show(rows, Console())


def _start(command: Sequence[str], cwd: str, log: Path | None) -> tuple[int, bool]:
    """Run a process; its exit code, and whether Ctrl-C came here meanwhile.

    The process is no member of the terminal's foreground group, so that one Ctrl-C reaches it once: from here.
    """
    output = None if log is None else log.open("ab")
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            process_group=0,
        )
        interrupted = False
        while True:
            try:
                return process.wait(), interrupted
            except KeyboardInterrupt:
                interrupted = True
                process.send_signal(signal.SIGINT)
    finally:
        if output is not None:
            output.close()


def _reason(code: int, told: str) -> str:
    """Why a process ended with this code, in words."""
    if code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        return f"killed by {name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
    return (told or f"ended with exit code {code}") if code else ""
