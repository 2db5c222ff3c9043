"""Starts the processes of a run on this machine, by the part of torch's elastic launcher that starts and watches them.

Every process runs the same command again; what they are told by environment variables is what torchrun tells. They are
no part of the terminal's process group: Ctrl-C reaches this process alone, which hands it on once. torchrun's agent,
the other part, is for several machines; it gives processes that are asked to stop 30 seconds and forgets their exit
codes, where ours evaluate and save.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

from backbone.errors import InputError
from tasks.config.training import Strategy
from tasks.distributed import starter
from tasks.distributed.world import started

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.config.training import TrainerConfig

FAILED = 1
PATIENCE_S = 7 * 24 * 3600
"""For processes that were asked to stop: they evaluate and save what there is. A second Ctrl-C ends them at once."""
POLL_S = 0.05


def processes(trainer: TrainerConfig, *, mode: str, can_share: bool) -> int:
    """How many processes to start here; 1: none, this one does it.

    Args:
        mode, can_share: see `tasks.distributed.world.check`.
    Raises:
        InputError: several for what works in one, more than there are GPUs, or one that is not there.
    """
    several = trainer.strategy is Strategy.ddp
    if started() is not None or not ((trainer.processes or 1) > 1 or several):
        return 1
    if not can_share:
        if (trainer.processes or 1) > 1:
            raise InputError(f"trainer.devices={trainer.devices}: mode={mode} works in one process; leave it out")
        return 1
    if trainer.accelerator == "cpu":
        return trainer.processes or 1
    import torch

    gpus = torch.cuda.device_count()
    trainer.check_gpus(gpus)
    if not gpus and trainer.accelerator == "auto":
        return trainer.processes or 1
    if not gpus:
        raise InputError(
            f"trainer.accelerator={trainer.accelerator}: there is no GPU for several processes; say trainer=ddp_cpu"
        )
    if (trainer.processes or 1) > gpus:
        raise InputError(
            f"trainer.devices={trainer.devices}: there {'is' if gpus == 1 else 'are'} {gpus} on this machine"
        )
    return trainer.processes or gpus


def launch(count: int, command: Sequence[str]) -> int:
    """Run a command in `count` processes, and say in one line if one was killed.

    Returns:
        The exit code: of the first that failed, or 0.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, start_processes

    quiet = logging.getLogger("torch.distributed.elastic")
    quiet.propagate = False
    quiet.addHandler(logging.NullHandler())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shared = starter.environment() | {
        "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores // count))),
    }  # fmt: skip
    ranks = {rank: shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)}
    arguments = dict.fromkeys(ranks, tuple(command[1:]))
    running = start_processes("trident", command[0], arguments, ranks, DefaultLogsSpecs(log_dir=os.devnull))
    asked_to_stop: signal.Signals | None = None
    result = None
    while result is None:
        try:
            if asked_to_stop is not None:
                running.close(asked_to_stop, timeout=PATIENCE_S)
            result = running.wait(period=POLL_S)
        except SignalException as received:
            asked_to_stop = received.sigval
    if not result.failures:
        return 0
    first = next(iter(result.failures.values()))  # in the order in which they failed
    if first.exitcode < 0 and asked_to_stop is None:
        sys.stdout.flush()
        sys.stderr.write(
            f"trident: process {first.local_rank} of {count} was ended by {first.signal_name()}"
            f"{' (too little memory?)' if -first.exitcode == signal.SIGKILL else ''}, and the others with it\n"
        )
    return FAILED if first.exitcode < 0 else first.exitcode


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port
