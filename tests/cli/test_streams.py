"""What a command does when its lines find no reader, no room or no letters, and when it is interrupted at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and signals of POSIX")
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
from tasks.cli.streams import enduring_streams, lost
with enduring_streams() as files:
    for number in range(20_000):
        sys.stdout.write(f"line {number} \\u00e9\\n")
    sys.stdout.flush()
    sys.stderr.write(f"done \\u00e9: {lost(files)}")
"""


def start(*words: str, **streams: object) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    return subprocess.Popen(words, env=environment, **streams)  # type: ignore[call-overload,no-any-return]


@posix
def test_a_reader_that_leaves_ends_nothing() -> None:
    process = start(sys.executable, "-c", SCRIPT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line 0 \\xe9\n"
        process.stdout.close()
        assert process.stderr.read() == b"done \\xe9: None"
    assert process.returncode == 0


@full
def test_a_full_disk_is_said_at_the_end() -> None:
    with Path("/dev/full").open("wb") as nowhere:
        process = start(sys.executable, "-c", SCRIPT, stdout=nowhere, stderr=subprocess.PIPE)
    _, said = process.communicate()
    assert process.returncode == 0
    assert said.startswith(rb"done \xe9: standard output cannot be written (No space left on device)")


@full
def test_help_to_a_full_disk_is_an_error_in_one_line() -> None:
    with Path("/dev/full").open("wb") as nowhere:
        process = start(sys.executable, "-m", "tasks.run", "--help", stdout=nowhere, stderr=subprocess.PIPE)
    _, said = process.communicate()
    assert process.returncode == 2
    assert said.decode().splitlines() == [
        "trident: standard output cannot be written (No space left on device); what was to be read there is lost"
    ]


@posix
def test_closed_streams() -> None:
    line = f"{sys.executable} -m tasks.run --help >&- 2>&-"
    assert start("sh", "-c", line).wait() == 0


@posix
@pytest.mark.parametrize("delay_s", [0.05, 0.1])
def test_interrupted_while_it_starts(delay_s: float) -> None:
    process = start(
        sys.executable, "-c", "from tasks.run import main; print('begun', flush=True); main()", "--help",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert (said, process.returncode) == (b"trident: interrupted\n", 130)
