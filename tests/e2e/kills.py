"""Trainings that are stopped at some moment and started again with the same words, and what is left of them.

As a command: `python -m tests.e2e.kills TASK RUNS KILLS FOLDER` trains TASK undisturbed once, then RUNS times with
KILLS signals at random moments each, and compares what is left. A line for each; it leaves with 1 if anything differs.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file

import tasks.commands.train  # noqa: F401  # heavy, and imported once here instead of in every process
from tasks.cli.leaving import INTERRUPTED
from tasks.run import main
from tasks.training.resume.file import read

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = (
    "backbone.width=0.35",
    "transform.image_size=64",
    "data.scene_size=64",
    "data.train_scenes=26",
    "data.val_scenes=4",
    "data.batch_size=4",
    "data.workers=1",
    "evaluation.drawn_images=1",
    "logger.every_steps=1",
    "logger.tensorboard=false",
    "trainer.accelerator=cpu",
)
STEPS = 20
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
LATEST_S = 240.0


def start(words: Sequence[str], log: Path) -> int:
    """Run the command line in a process that is forked off this one, which has imported everything already.

    Args:
        log: is appended to.
    Returns:
        The number of the process.
    """
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.argv = ["tasks.run", *words]
        main()
        code = 0
    except SystemExit as left:
        code = int(left.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


def finish(words: Sequence[str], log: Path) -> None:
    """Run it to its end."""
    code = os.waitstatus_to_exitcode(os.waitpid(start(words, log), 0)[1])
    assert code == 0, log.read_text(encoding="utf-8")


def stop(words: Sequence[str], number: signal.Signals, step: int | None, delay_s: float, log: Path) -> int:
    """Start it and send a signal.

    Args:
        step: after which checkpoint the delay begins; None: with the process.
        delay_s: of the signal.
        log: is appended to.
    Returns:
        The exit code; negative, if it ended by a signal.
    """
    folder = Path(words[-1].removeprefix("run_dir="))
    process = start(words, log)
    deadline = time.monotonic() + LATEST_S
    while step is not None and _last(folder) < step:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.002)
    time.sleep(delay_s)
    os.kill(process, number)  # the training process alone: its workers find out themselves
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _last(folder: Path) -> int:
    """The step of the newest checkpoint."""
    found = [int(path.stem.rpartition("_")[2]) for path in (folder / "checkpoints").glob("step_*.ckpt")]
    return max(found, default=0)


def fingerprint(folder: Path) -> dict[str, str]:
    """SHA-256 of the best and the last weights, of the last checkpoint (weights, average, optimiser, generators), of
    the table of losses, and of the figures."""
    last = max((folder / "checkpoints").glob("step_*.ckpt"), key=lambda path: int(path.stem.rpartition("_")[2]))
    content = read(last)
    del content["state"]["callbacks"]  # has the time that was spent
    return {
        "model": digest(load_file(folder / "model.safetensors")),
        "last": digest(content),
        "last weights": digest(load_file(folder / "last.safetensors")),
        "log": hashlib.sha256((folder / "csv" / "metrics.csv").read_bytes()).hexdigest(),
        "figures": hashlib.sha256((folder / "metrics.json").read_bytes()).hexdigest(),
    }


def digest(content: Any) -> str:
    """SHA-256 of plain data, arrays and tensors."""
    found = hashlib.sha256()
    _feed(found, content)
    return found.hexdigest()


def _feed(found: Any, content: Any) -> None:
    if isinstance(content, dict):
        for key in sorted(content, key=str):
            found.update(f"{key}:".encode())
            _feed(found, content[key])
    elif isinstance(content, list | tuple):
        for part in content:
            _feed(found, part)
    elif hasattr(content, "shape"):
        array = np.ascontiguousarray(content)
        found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    else:
        found.update(repr(content).encode())


def compare(task: str, runs: int, kills: int, root: Path) -> bool:
    """Whether all runs that were stopped leave what the undisturbed one leaves."""
    root.mkdir(parents=True, exist_ok=True)
    words = (
        *WORDS, f"task={task}", f"data.root={root / 'scenes'}", f"trainer.max_steps={STEPS}",
        "trainer.checkpoint_every=1",
    )  # fmt: skip
    began = time.monotonic()
    finish([*words, f"run_dir={root / 'undisturbed'}"], root / "undisturbed.log")
    seconds = time.monotonic() - began
    wanted = fingerprint(root / "undisturbed")
    _say(f"{task}: undisturbed in {seconds:.0f} s: {_short(wanted)}")
    rng = np.random.default_rng([len(task), runs, kills])
    same = True
    for run in range(runs):
        folder, log, ends = root / f"run_{run}", root / f"run_{run}.log", []
        for kill in range(kills):
            last = _last(folder)
            number = SIGNALS[kill % len(SIGNALS)]
            early = number == signal.SIGKILL and rng.random() < 0.2
            step = None if early else last + 1 + int(rng.integers(max(1, (STEPS - 2 - last) // (kills - kill))))
            code = stop([*words, f"run_dir={folder}"], number, step, rng.uniform(0, 2.0 if early else 0.2), log)
            ends.append(f"{number.name} at step {_last(folder)} (left with {code})")
            assert code in (-signal.SIGKILL, -signal.SIGTERM, INTERRUPTED), f"it ended before the signal came: {ends}"
        finish([*words, f"run_dir={folder}"], log)
        found = fingerprint(folder)
        same &= found == wanted
        verdict = (
            "the same" if found == wanted else f"DIFFERS in {[key for key in wanted if found[key] != wanted[key]]}"
        )
        _say(f"{task}, run {run}: {', '.join(ends)}: {verdict}: {_short(found)}")
    return same


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _short(found: dict[str, str]) -> str:
    return " ".join(f"{name} {digest[:16]}" for name, digest in found.items())


if __name__ == "__main__":
    _, which, how_many, signals, where = sys.argv
    sys.exit(0 if compare(which, int(how_many), int(signals), Path(where)) else 1)
