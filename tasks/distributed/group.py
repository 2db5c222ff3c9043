"""The processes of a run, once they have found each other. Without a group, every function is that of one process."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore
from torch.distributed.rendezvous import rendezvous

from backbone.errors import InputError
from tasks.distributed.world import PeerLostError, World, decide_who_speaks
from tasks.runs import folder as run_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor, nn

    from tasks.config.training import TrainerConfig

Value = TypeVar("Value")

RUN_DIR = "trident run_dir"
"""Key in the store of torchrun's agent, which outlives the processes that it starts."""
LONG = timedelta(days=7)
"""For what takes as long as it takes: a download, or the drawing of a data set."""
_place = World(rank=0, world_size=1, local_rank=0, local_world_size=1, address="", port=0, started_by="")
_store: Store | None = None
_turns = 0


def place() -> World:
    """This process among all."""
    return _place


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return _place.rank == 0


@contextmanager
def joined(world: World, trainer: TrainerConfig) -> Iterator[None]:
    """Meet the other processes, and part from them at the end. What is no tensor goes over the CPU, also with GPUs.

    Raises:
        InputError: there are fewer GPUs than processes on this machine.
        PeerLostError: another process ended or did not come.
    """
    global _place, _store
    on_gpu = trainer.accelerator in ("gpu", "cuda") or (trainer.accelerator == "auto" and torch.cuda.is_available())
    if on_gpu and world.local_world_size > torch.cuda.device_count():
        raise InputError(
            f"trainer.accelerator={trainer.accelerator}: {world.started_by} started {world.local_world_size} processes,"
            f" there are {torch.cuda.device_count()} GPUs; start one for each, or say trainer.accelerator=cpu"
        )
    os.environ.update(
        MASTER_ADDR=world.address, MASTER_PORT=str(world.port), RANK=str(world.rank), WORLD_SIZE=str(world.world_size)
    )
    if on_gpu:
        trainer.check_gpus(torch.cuda.device_count())
        torch.cuda.set_device((trainer.named_gpus or range(world.local_world_size))[world.local_rank])
    timeout = timedelta(seconds=trainer.timeout)
    with _lost_peers_named(world):
        store, _, _ = next(iter(rendezvous("env://", world.rank, world.world_size, timeout=timeout)))
        # The store of torchrun's agent outlives a start: what the processes of the last one wrote is not for these.
        store = PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        dist.init_process_group(
            backend, store=PrefixStore("group", store), rank=world.rank, world_size=world.world_size, timeout=timeout
        )
        _place, _store = world, PrefixStore("run", store)
        store.set_timeout(timeout)
        decide_who_speaks(_is_first_to_speak)
        try:
            yield
        finally:
            _place = World(rank=0, world_size=1, local_rank=0, local_world_size=1, address="", port=0, started_by="")
        decide_who_speaks(None)
        dist.destroy_process_group()


def _is_first_to_speak() -> bool:
    """The first that asks says why the run ends. Where rank 0 is gone, which keeps the answer, it has spoken, or what
    started it says how it ended."""
    assert _store is not None
    me = os.environ["RANK"]
    try:
        return bool(_store.compare_set("speaks", "", me) == me.encode())
    except (RuntimeError, ValueError):
        return False


@contextmanager
def _lost_peers_named(world: World) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        if "imeout" in str(error) or "imed out" in str(error):
            what = "does not answer (trainer.timeout)"
        else:
            what = "has ended"
        raise PeerLostError(
            f"process {world.rank} of {world.world_size}: another process of this run {what}, so this one ends too"
        ) from error


def broadcast(decide: Callable[[], Value]) -> Value:
    """What `decide` gives to the first process, in all of them; what it raises for the user, too."""
    if _place.world_size == 1:
        return decide()
    found: list[Any] = [None, None]
    if is_first():
        try:
            found[0] = decide()
        except InputError as error:
            found[1] = str(error)
    dist.broadcast_object_list(found, src=0)
    if found[1] is not None:
        raise InputError(found[1])
    value: Value = found[0]
    return value


def remembered(run_dir: str | None, task: str, *, training: bool = False) -> Path:
    """The folder of the run. Of a job that torchrun started anew, that of its first start, though none was named.

    Raises:
        InputError: see `run_folder.choose`.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return run_folder.choose(run_dir, task, training=training)
    agent = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    if run_dir is None and agent.check([RUN_DIR]):
        run_dir = agent.get(RUN_DIR).decode()
    folder = run_folder.choose(run_dir, task, training=training)
    agent.set(RUN_DIR, str(folder.absolute()))
    return folder


@contextmanager
def first_here() -> Iterator[None]:
    """What the first process of every machine does before the others on it: what leaves files that they then find."""
    global _turns
    if _place.world_size == 1:
        yield
        return
    assert _store is not None
    _turns += 1
    done = f"turn {_turns} of machine {_place.rank // _place.local_world_size}"
    if _place.local_rank:
        _store.wait([done], LONG)
    try:
        yield
    finally:
        if not _place.local_rank:
            _store.set(done, "1")


def gather(value: Value) -> list[Value]:
    """The values of all processes in their order, in the first one; an empty list in the others."""
    if _place.world_size == 1:
        return [value]
    values: list[Any] | None = [None] * _place.world_size if is_first() else None
    dist.gather_object(value, values)
    return values or []


def all_gather(value: Value) -> list[Value]:
    """The values of all processes in their order, in all of them."""
    if _place.world_size == 1:
        return [value]
    values: list[Any] = [None] * _place.world_size
    dist.all_gather_object(values, value)
    return values


def any_has(flag: bool) -> bool:
    """Whether `flag` is set in one of the processes. Goes over the CPU: no GPU is waited for."""
    if _place.world_size == 1:
        return flag
    flags = torch.tensor([int(flag)])
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return bool(flags)


def total(values: Tensor) -> Tensor:
    """The sum over all processes, on the device of `values`; no gradient flows through it."""
    values = values.detach().clone()
    if _place.world_size > 1:
        dist.all_reduce(values)
    return values


def mean(values: Tensor) -> Tensor:
    """The mean over all processes; see `total`."""
    return total(values) / _place.world_size if _place.world_size > 1 else values.detach()


def share_weights(model: nn.Module) -> None:
    """Give all processes the first one's weights and statistics."""
    if _place.world_size == 1:
        return
    for tensor in model.state_dict().values():
        sent = tensor.contiguous()
        dist.broadcast(sent, src=0)
        tensor.copy_(sent)
