"""What Lightning is told of the processes of a run; they have met before it starts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy

from tasks.distributed import group

if TYPE_CHECKING:
    import lightning as L
    import torch

    from tasks.distributed.world import World


class Environment(ClusterEnvironment):
    """Ranks as `World` has them; nothing is started by Lightning."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return self._world.address

    @property
    def main_port(self) -> int:
        return self._world.port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._world.world_size

    def set_world_size(self, size: int) -> None:
        """It is known."""

    def global_rank(self) -> int:
        return self._world.rank

    def set_global_rank(self, rank: int) -> None:
        """It is known."""

    def local_rank(self) -> int:
        return self._world.local_rank

    def node_rank(self) -> int:
        return self._world.rank // self._world.local_world_size


def devices_and_strategy(
    device: torch.device, named_gpus: list[int] | None, timeout_s: int, *, find_unused: bool
) -> dict[str, Any]:
    """Arguments of Lightning's trainer. Buffers are not broadcast: `VisionTask` averages batch statistics.

    Args:
        device: of this process.
        named_gpus: of all processes on this machine, in their order; None: the first ones.
        timeout_s: seconds that a process waits for the others.
        find_unused: whether parameters may have no gradient in a step.
    """
    world = group.place()
    if world.world_size == 1:
        return {"devices": 1 if device.index is None else [device.index]}
    strategy = DDPStrategy(
        cluster_environment=Environment(world),
        timeout=timedelta(seconds=timeout_s),
        broadcast_buffers=False,
        find_unused_parameters=find_unused,
    )
    return {"devices": named_gpus or world.local_world_size, "num_nodes": world.nodes, "strategy": strategy}


def without_signals(trainer: L.Trainer) -> None:
    """Keep Lightning's handler of SIGTERM away: it ends the process in the middle of things, with exit code 0, and of
    several processes it broadcasts while the others are somewhere else.

    `GracefulStop` and `CheckpointCallback` let all processes stop at one step.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
