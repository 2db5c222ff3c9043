"""Hostile inputs for every surface on which the software meets files and words of others.

As a command: `python -m tests.fuzz.campaign COUNT SEED [SURFACE ..]` tries COUNT inputs on each surface (or on those
named) in processes of their own and prints a line for each: how many were accepted with the right values, how many
refused in one line, and every failure with the input's number. It leaves with 1 if there was any. `SURFACE:NUMBER`
tries that input alone, in this process, with its traceback.

The rule: an input is accepted with the right values, or `InputError` says why not in one line, within `MAX_S` seconds
and `MAX_BYTES` of memory. Anything else is a failure: a traceback, a process that dies, a hang, a wrong value.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError
from tasks.cli.leaving import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Attempt = Callable[[random.Random, Path, Any], None]

MAX_S = 10.0
"""Of one input; ordinary ones take milliseconds."""
MAX_BYTES = 3 << 30
"""Address space beyond what the process had before its first input."""
ACCEPTED, REFUSED = "accepted", "refused"
FAILURES = ("traceback", "wrong value", "message", "slow", "dead")


class WrongError(Exception):
    """An input was accepted, and what was read is not what it says."""


@dataclass(frozen=True)
class Surface:
    """A reader and the inputs that it may meet.

    Attributes:
        prepare: once for each process: what is valid, in a folder; what it gives, `attempt` gets.
        attempt: make an input of the generator given and read it; raises InputError where it is refused, and
            `WrongError` where what was read is not what the input says.
        native: whether a library that is not Python reads it, which may end the process.
        slow: how many times fewer inputs are tried in the same time.
    """

    name: str
    prepare: Callable[[Path], Any]
    attempt: Attempt
    native: bool = False
    slow: int = 1


@dataclass
class Outcome:
    """What became of the inputs of a surface."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, number: int, verdict: str, what: str = "") -> None:
        self.counts[verdict] += 1
        if verdict in FAILURES:
            self.failures.append(f"{number} {verdict}: {what}")


def check(right: bool, what: object) -> None:
    """That a value which was read is right."""
    if not right:
        raise WrongError(str(what)[:300])


def generator(surface: Surface, seed: int, number: int) -> random.Random:
    """Of one input, which can be made again alone."""
    return random.Random(f"{surface.name}/{seed}/{number}")


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Raises TimeoutError where Python code takes too long."""

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {MAX_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, MAX_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judge(surface: Surface, seed: int, number: int, folder: Path, valid: Any) -> tuple[str, str]:
    """Try one input. Returns the verdict, and what shows it."""
    try:
        with time_limit():
            surface.attempt(generator(surface, seed, number), folder, valid)
    except InputError as error:
        line = str(error)
        bad = "\n" in line or not line or len(line) > 3 * LONGEST or "\x1b" in line
        return ("message", repr(line[:300])) if bad else (REFUSED, line)
    except WrongError as error:
        return "wrong value", str(error)
    except TimeoutError as error:
        return "slow", str(error)
    except Exception as error:
        ours = [one for one in traceback.extract_tb(error.__traceback__) if "/tests/" not in one.filename]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        return "traceback", f"{type(error).__name__}: {str(error)[:200]} at {place}"
    return ACCEPTED, ""


def run(surface: Surface, count: int, seed: int) -> Outcome:
    """Try inputs in this process."""
    outcome = Outcome()
    with quiet(), tempfile.TemporaryDirectory() as name:
        valid = surface.prepare(Path(name))
        for number in range(count):
            outcome.add(number, *judge(surface, seed, number, Path(name), valid))
    return outcome


def run_isolated(surface: Surface, count: int, seed: int) -> Outcome:
    """Try inputs in processes forked off this one, another after each that dies."""
    outcome, number = Outcome(), 0
    while number < count:
        reader, writer = os.pipe()
        process = os.fork()
        if not process:
            _child(surface, seed, number, count, writer)
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                outcome.add(number, *line.rstrip("\n").split("\t", 1))
                number += 1
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if number < count:
            outcome.add(number, "dead", f"the process ended with {status}")
            number += 1
    return outcome


def _child(surface: Surface, seed: int, first: int, count: int, writer: int) -> None:
    """Write a line for every input; never returns."""
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the process lives
        with quiet(), tempfile.TemporaryDirectory() as name:
            valid = surface.prepare(Path(name))
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MAX_BYTES,) * 2)
            for number in range(first, count):
                began = time.monotonic()
                verdict, what = judge(surface, seed, number, Path(name), valid)
                if time.monotonic() - began > MAX_S:
                    verdict = "slow"
                line = f"{verdict}\t{what}".replace("\n", " ")
                os.write(writer, f"{line}\n".encode(errors="backslashreplace"))
        code = 0
    finally:
        os._exit(code)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without log lines, of which hostile files cause many."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def main(words: list[str]) -> int:
    """See the top of the file."""
    from tests.fuzz.surfaces import SURFACES

    count, seed, chosen = int(words[0]), int(words[1]), words[2:]
    if chosen and ":" in chosen[0]:
        name, number = chosen[0].split(":")
        with tempfile.TemporaryDirectory() as folder, time_limit():
            surface = SURFACES[name]
            surface.attempt(generator(surface, seed, int(number)), Path(folder), surface.prepare(Path(folder)))
        return 0
    total: Counter[str] = Counter()
    for name, surface in SURFACES.items():
        if chosen and name not in chosen:
            continue
        began = time.monotonic()
        outcome = run_isolated(surface, max(1, count // surface.slow), seed)
        total.update(outcome.counts)
        print(f"{name:22} {_told(outcome.counts)}  in {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201
        for failure in outcome.failures[:20]:
            print(f"    {failure}", flush=True)  # noqa: T201
    print(f"{'all':22} {_told(total)}, seed {seed}")  # noqa: T201
    return 1 if any(total[verdict] for verdict in FAILURES) else 0


def _told(counts: Counter[str]) -> str:
    failures = "  ".join(f"{verdict} {counts[verdict]}" for verdict in FAILURES)
    return f"{counts.total():6} inputs: accepted {counts[ACCEPTED]}  refused {counts[REFUSED]}  {failures}"


if __name__ == "__main__":
    from tests.fuzz import campaign  # the module that the surfaces know, which this one is not

    sys.exit(campaign.main(sys.argv[1:]))
