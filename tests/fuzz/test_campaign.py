"""A campaign of hostile inputs: some hundred for each surface, and ten thousand where there is time (-m slow).

`TRIDENT_FUZZ_SEED` and `TRIDENT_FUZZ_COUNT` (of the slow one, in all) try others. Surfaces that libraries other than
Python's read are tried in one process of their own, which forks another for each.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from backbone.errors import InputError
from tests.fuzz.campaign import FAILURES, Outcome, Surface, WrongError, run, run_isolated
from tests.fuzz.surfaces import SURFACES

if TYPE_CHECKING:
    import random

COUNT = 100
SEED = int(os.environ.get("TRIDENT_FUZZ_SEED", "15"))
MANY = int(os.environ.get("TRIDENT_FUZZ_COUNT", "10000"))
PURE = [surface for surface in SURFACES.values() if not surface.native]
NATIVE = [surface.name for surface in SURFACES.values() if surface.native]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and time are Linux's")


def campaign(count: int, *surfaces: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tests.fuzz.campaign", str(count), str(SEED), *surfaces]
    return subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)


@pytest.mark.parametrize("surface", PURE, ids=lambda surface: surface.name)
def test_read_by_python(surface: Surface) -> None:
    outcome = run(surface, max(1, COUNT // surface.slow), SEED)
    assert not outcome.failures, f"seed {SEED}: {outcome.failures[:5]}"
    assert outcome.counts["accepted"], "nothing is accepted: the inputs are too hostile to show much"
    assert outcome.counts["refused"] or surface.name == "metrics.csv", "nothing is refused"


def test_read_by_other_libraries() -> None:
    done = campaign(COUNT, *NATIVE)
    assert done.returncode == 0, done.stdout
    assert len(done.stdout.splitlines()) == len(NATIVE) + 1


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_ten_thousand() -> None:
    shares = sum(1 / surface.slow for surface in SURFACES.values())
    done = campaign(round(MANY / shares))
    print(done.stdout)  # noqa: T201
    assert done.returncode == 0, done.stdout


def misbehaving(rng: random.Random, folder: Path, valid: Any) -> None:
    """Does everything that a reader must not."""
    kind = rng.randrange(7)
    if kind == 0:
        raise InputError("one line")
    if kind == 1:
        raise InputError("two\nlines" * 1000)
    if kind == 2:
        raise KeyError("x")
    if kind == 3:
        raise WrongError("2 is not 3")
    if kind == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == 5:
        raise TimeoutError("more than 10 s")


def test_what_a_campaign_finds() -> None:
    surface = Surface("bad", lambda folder: None, misbehaving)
    outcome: Outcome = run_isolated(surface, 60, 1)
    assert outcome.counts.keys() == {"accepted", "refused", *FAILURES}
    assert outcome.counts.total() == 60
    assert len(outcome.failures) == sum(outcome.counts[verdict] for verdict in FAILURES)
    assert run_isolated(surface, 60, 1) == outcome, "the same seed is another campaign"
    assert Counter(run_isolated(surface, 60, 2).counts) != outcome.counts
