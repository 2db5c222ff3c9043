"""Which of how many processes this one is. Imports nothing heavy: the command line asks before torch is loaded.

Processes are started by `torchrun`, by `srun`, or by `tasks.distributed.launch`, which says it as torchrun does.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tasks.config.training import TrainerConfig

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
SLURM = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_NODELIST", "SLURM_STEP_NUM_NODES")
"""What srun tells each process of a step; a script that sbatch runs by itself has only some of it."""
FIRST_PORT, PORTS = 15_000, 20_000
"""From which the ports of SLURM's jobs are numbered, and how many there are."""


class PeerLostError(Exception):
    """Another process of the run has ended, so this one cannot go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """This process among all, on all machines.

    Attributes:
        rank, world_size: 0 .. world_size - 1, over all machines.
        local_rank, local_world_size: on this machine.
        address, port: where the first process listens.
        started_by: for messages.
    """

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    address: str
    port: int
    started_by: str

    @property
    def nodes(self) -> int:
        """Machines, all with as many processes."""
        return self.world_size // self.local_world_size


def started(environment: Mapping[str, str] = os.environ) -> World | None:
    """What torchrun or srun said; None where this process was started alone.

    Raises:
        InputError: a number is none, or the machines have not all as many processes.
    """
    by = "torchrun" if all(name in environment for name in TORCHRUN) else "SLURM"
    if by == "SLURM" and not all(name in environment for name in SLURM):
        return None

    def number(name: str) -> int:
        if not environment[name].isdecimal():
            raise InputError(f"{name}={environment[name]}: must be a number; {by} sets it for every process")
        return int(environment[name])

    if by == "torchrun":
        rank, world_size, local_rank, local_world_size, port = (number(name) for name in (*TORCHRUN[:4], TORCHRUN[5]))
        address = environment["MASTER_ADDR"]
    else:
        rank, world_size, local_rank, nodes = (number(name) for name in (*SLURM[:3], SLURM[4]))
        if world_size % nodes:
            raise InputError(
                f"SLURM_STEP_NUM_TASKS={world_size}: does not divide over {nodes} machines; start as many processes on"
                " each, by srun --ntasks-per-node"
            )
        local_world_size = world_size // nodes
        address = environment.get("MASTER_ADDR") or first_node(environment["SLURM_STEP_NODELIST"])
        job = int(environment.get("SLURM_JOB_ID", "0")) + int(environment.get("SLURM_STEP_ID", "0"))
        port = int(environment.get("MASTER_PORT") or FIRST_PORT + job % PORTS)
    if world_size == 1:
        return None
    if world_size % local_world_size:
        raise InputError(
            f"WORLD_SIZE={world_size}, LOCAL_WORLD_SIZE={local_world_size}: every machine must have as many processes;"
            " start"
            " torchrun with one --nproc-per-node everywhere"
        )
    return World(
        rank=rank, world_size=world_size, local_rank=local_rank, local_world_size=local_world_size,
        address=address, port=port,
        started_by=by,
    )  # fmt: skip


def first_node(nodes: str) -> str:
    """First of SLURM's list: `gpu[03-04,7],cpu1` is gpu03."""
    match = re.match(r"([^\[,]+)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
    if match is None:
        raise InputError(f"SLURM_STEP_NODELIST={nodes}: names no machine; set MASTER_ADDR to that of the first process")
    return "".join(part or "" for part in match.groups())


def check(trainer: TrainerConfig, world: World | None, *, mode: str, can_share: bool) -> None:
    """Whether the configuration and the processes that were started fit.

    Args:
        mode: its name, for the message.
        can_share: whether it works in several processes.
    Raises:
        InputError: they do not.
    """
    if world is None:
        if (trainer.num_nodes or 1) > 1:
            raise InputError(
                f"trainer.num_nodes={trainer.num_nodes}: start the command on every machine, by torchrun --nnodes"
                f" {trainer.num_nodes} --nproc-per-node N --rdzv-endpoint HOST:PORT -m tasks.run .., or by srun"
            )
        return
    if not can_share:
        raise InputError(
            f"mode={mode}: {world.started_by} started {world.world_size} processes, this works in one; start it alone"
        )
    counts = ("devices", trainer.processes, world.local_world_size), ("num_nodes", trainer.num_nodes, world.nodes)
    for name, given, there in counts:
        if given is not None and given != there:
            told = getattr(trainer, name)
            raise InputError(
                f"trainer.{name}={told}: {world.started_by} started {there}; say trainer.{name}={there} or null"
            )


_first_to_speak: Callable[[], bool] | None = None


def speaks() -> bool:
    """Whether this process is the one that says why the run ends."""
    if _first_to_speak is not None:
        return _first_to_speak()
    try:
        world = started()
    except InputError:
        return True
    return world is None or world.rank == 0


def decide_who_speaks(how: Callable[[], bool] | None) -> None:
    """Let `speaks` ask `how`; None: the process of rank 0 does."""
    global _first_to_speak
    _first_to_speak = how
