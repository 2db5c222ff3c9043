"""One run of a sweep, in a process of its own: what kills it, kills neither the sweep nor the other runs.

Started by any of Hydra's launchers, here or on another machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from backbone.errors import InputError
from tasks.commands.sweep.results import show, write_results
from tasks.commands.sweep.row import FOLDER, Row
from tasks.distributed import starter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omegaconf import DictConfig

    from tasks.commands.sweep.plan import Job

COMMAND = (sys.executable, "-m", "tasks.run")


@dataclass(slots=True)
class JobRunner:
    """Does the job whose configuration it is called with; never raises for what happens in it.

    Args:
        sweep: folder of the whole sweep, absolute.
        jobs: of the whole sweep.
        cwd: where the jobs run.
        aloud: let the jobs write to the console; else each writes to `jobs/NAME.log`.
        command: does a run, before its words.
    """

    sweep: Path
    jobs: Sequence[Job]
    cwd: str
    aloud: bool = False
    command: Sequence[str] = field(default_factory=lambda: COMMAND)

    def __call__(self, composed: DictConfig) -> Any:
        names = [job.name for job in self.jobs]
        number, console = names.index(Path(str(composed.run_dir)).name), Console()
        job = self.jobs[number]
        row = Row(name=job.name, varied=job.varied, status="running")
        row.write(self.sweep)
        if self.aloud:
            rule = f"\nsweep: job {number + 1} of {len(names)}, {job.name}"
            console.print(rule, style="bold", highlight=False)
        start = time.monotonic()
        row.reason, interrupted = self._run(job)
        row.seconds = time.monotonic() - start
        row.status = "failed"
        if not row.reason:
            try:
                row.finish(job, self.sweep / job.name)
            except InputError as error:
                row.reason = str(error)
        row.write(self.sweep)
        if interrupted:
            raise KeyboardInterrupt
        rows = write_results(self.sweep, self.jobs)  # of what there is so far: a sweep that is killed later has it
        if self.aloud:
            show(rows, self.jobs, console)

    def _run(self, job: Job) -> tuple[str, bool]:
        """Why a run failed, empty if it did not, and whether Ctrl-C came here meanwhile.

        The process is no member of the terminal's foreground group, so that one Ctrl-C reaches it once: from here.
        """
        own = self.sweep / FOLDER / job.name
        reason = own.with_name(f"{own.name}.reason")
        reason.unlink(missing_ok=True)
        with nullcontext() if self.aloud else own.with_name(f"{own.name}.log").open("ab") as output:
            process = subprocess.Popen(
                [*self.command, *job.words], cwd=self.cwd, env=os.environ | starter.environment(reason),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0,
            )  # fmt: skip
            interrupted = False
            while True:
                try:
                    code = process.wait()
                    break
                except KeyboardInterrupt:
                    interrupted = True
                    process.send_signal(signal.SIGINT)
        if interrupted or not code:
            return "interrupted" * interrupted, interrupted
        if code < 0:
            name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
            return f"killed by {name}{' (out of memory?)' * (code == -signal.SIGKILL)}", False
        return reason.read_text(encoding="utf-8") if reason.is_file() else f"ended with exit code {code}", False
