"""`python -m tasks.commands.sweep.child RECORD WORDS`: the run of these words, and what the model costs.

It is `python -m tasks.run WORDS`, but that it ends when the sweep does, and that it writes what came of it into the
record of its job.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from tasks.cli.leaving import CommandFailed
from tasks.commands.sweep.record import place_of, read_record, write_record
from tasks.run import main

PR_SET_PDEATHSIG = 1
"""Linux's name for prctl: the signal that this process gets when its parent dies."""


def run(file: Path, words: list[str]) -> None:
    """Run, and complete the record.

    Raises:
        SystemExit: as the command line; the reason is in the record then.
    """
    sys.argv = ["tasks.run", *words]
    record = read_record(file)
    assert record is not None
    try:
        main()
    except CommandFailed as left:
        record.reason = left.reason
        write_record(file, record)
        raise
    from tasks.commands.sweep.measuring import measure

    record.measured = measure(place_of(file).folder, words)
    write_record(file, record)


def _end_with_the_sweep() -> None:
    """A sweep that is killed does not leave a training behind that nobody waits for; it saves what it has."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == 1:  # already dead; a sweep that is process 1 itself takes its whole machine with it
            sys.exit(1)


if __name__ == "__main__":
    _end_with_the_sweep()
    run(Path(sys.argv[1]), sys.argv[2:])
