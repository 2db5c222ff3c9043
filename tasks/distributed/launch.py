"""Starts the processes of a run on this machine, and ends with all of them. Imports nothing heavy, and no torch.

Every process runs the same command again; what they are told by environment variables is what torchrun tells. They are
no part of the terminal's process group: Ctrl-C reaches this process alone, which hands it on once.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError
from tasks.config.training import Strategy
from tasks.distributed.world import started, trains_or_evaluates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.config.run import RunConfig

LIFELINE = "TRIDENT_LIFELINE"
"""Number of a pipe's end: at its end of file the process that started this one is gone."""
FAILED = 1
GRACE_S = 10.0
"""In which the others end by themselves once one has failed."""
POLL_S = 0.05


def processes(config: RunConfig) -> int:
    """How many processes to start here; 1: none, this one does it.

    Raises:
        InputError: several for what works in one, or more than there are GPUs.
    """
    trainer = config.trainer
    several = trainer.strategy is Strategy.ddp
    if started() is not None or not ((trainer.devices or 1) > 1 or several):
        return 1
    if (trainer.devices or 1) > 1 and not trains_or_evaluates(config):
        raise InputError(
            f"trainer.devices={trainer.devices}: mode={config.mode.value} works in one process; leave it out"
        )
    if not trains_or_evaluates(config):
        return 1
    if trainer.accelerator == "cpu":
        return trainer.devices or 1
    import torch

    gpus = torch.cuda.device_count()
    if not gpus and trainer.accelerator == "auto":
        return trainer.devices or 1
    if not gpus:
        raise InputError(
            f"trainer.accelerator={trainer.accelerator}: there is no GPU for several processes; say trainer=ddp_cpu"
        )
    if (trainer.devices or 1) > gpus:
        raise InputError(
            f"trainer.devices={trainer.devices}: there {'is' if gpus == 1 else 'are'} {gpus} on this machine"
        )
    return trainer.devices or gpus


def launch(count: int, words: Sequence[str]) -> int:
    """Run the command in `count` processes.

    Args:
        words: of the command line.
    Returns:
        The exit code: of the first that failed, or 0.
    """
    children: list[subprocess.Popen[bytes]] = []
    watched, held = os.pipe()
    shared = os.environ | {
        "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()), LIFELINE: str(watched),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }  # fmt: skip
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shared.setdefault("OMP_NUM_THREADS", str(max(1, cores // count)))
    signals: list[int] = []

    def hand_on(number: int, frame: Any) -> None:
        signals.append(number)
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for rank in range(count):
            own = shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            command = [sys.executable, "-P", "-m", "tasks.run", *words]
            children.append(subprocess.Popen(command, env=own, pass_fds=(watched,), start_new_session=True))
        return _wait(children, signals)
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()
        os.close(watched)
        os.close(held)
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(children: list[subprocess.Popen[bytes]], signals: list[int]) -> int:
    """Until all have ended; those that are left behind by a failed one are ended after a while."""
    failed: tuple[int, int] | None = None
    deadline = float("inf")
    while None in [child.poll() for child in children]:
        for rank, child in enumerate(children):
            if failed is None and child.returncode:
                failed = rank, child.returncode
                deadline = monotonic() + GRACE_S
        if monotonic() > deadline:
            for child in children:
                if child.poll() is None:
                    child.kill()
        sleep(POLL_S)
    if failed is None:
        failed = next(((rank, child.returncode) for rank, child in enumerate(children) if child.returncode), None)
    if failed is None:
        return 0
    rank, code = failed
    if code < 0 and not signals:
        sys.stdout.flush()
        sys.stderr.write(
            f"trident: process {rank} of {len(children)} was ended by {signal.Signals(-code).name}"
            f"{' (too little memory?)' if -code == signal.SIGKILL else ''}, and the others with it\n"
        )
    return FAILED if code < 0 else code


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


def end_with_parent() -> None:
    """End this process when the one that started it is gone, even by kill -9, so that nothing is left behind."""
    number = os.environ.pop(LIFELINE, None)
    if number is None:
        return

    def watch(end: int) -> None:
        while os.read(end, 1):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, args=(int(number),), daemon=True, name="lifeline").start()
