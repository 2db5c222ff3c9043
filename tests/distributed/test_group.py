"""What several processes do together gives what one process does: gloo on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backbone.errors import InputError
from heads.head import Losses
from heads.structures import Batch
from tasks.config.training import TrainerConfig
from tasks.distributed import group, sharing
from tasks.distributed.norms import GlobalBatchNorm, average_statistics, synchronise
from tasks.distributed.world import PeerLostError, started
from tests.distributed.ranks import in_ranks

if TYPE_CHECKING:
    from collections.abc import Callable


def together(work: Callable[[int], Any], world_size: int, timeout: int = 60) -> list[Any]:
    """What `work` returns to each of several processes that have met."""

    def meet() -> Any:
        world = started()
        assert world is not None
        try:
            with group.joined(world, TrainerConfig(max_steps=1, accelerator="cpu", timeout=timeout)):
                return work(world.rank)
        except (InputError, PeerLostError) as error:
            return f"{type(error).__name__}: {error}"

    return in_ranks(world_size, meet)


def test_without_a_group_everything_is_of_one_process() -> None:
    assert group.place().world_size == 1
    assert group.is_first()
    assert group.broadcast(lambda: 5) == 5
    assert group.gather(1) == group.all_gather(1) == [1]
    assert group.any_has(True)
    with group.first_here():
        assert group.total(torch.ones(2)).tolist() == group.mean(torch.ones(2)).tolist() == [1, 1]


def test_what_processes_tell_each_other() -> None:
    def work(rank: int) -> Any:
        with group.first_here():
            pass
        numbers = torch.tensor([1.0, rank])
        return (
            group.broadcast(lambda: f"of {rank}"), group.gather(rank), group.all_gather(rank),
            group.any_has(rank == 1), group.any_has(False), group.total(numbers).tolist(), group.mean(numbers).tolist(),
        )  # fmt: skip

    common = [True, False, [3.0, 3.0], [1.0, 1.0]]
    assert together(work, 3) == [("of 0", [0, 1, 2] if rank == 0 else [], [0, 1, 2], *common) for rank in range(3)]


def test_what_the_first_refuses_all_refuse() -> None:
    def refuse() -> None:
        raise InputError("run_dir=x: is not empty")

    assert together(lambda _: group.broadcast(refuse), 2) == ["InputError: run_dir=x: is not empty"] * 2


def test_one_process_speaks() -> None:
    def fail(_: int) -> None:
        raise InputError("no")

    def work() -> Any:
        world = started()
        assert world is not None
        try:
            with group.joined(world, TrainerConfig(max_steps=1, accelerator="cpu")):
                group.any_has(False)
                fail(world.rank)
        except InputError:
            from tasks.distributed.world import speaks

            return speaks()

    assert sorted(in_ranks(3, work)) == [False, False, True]


def test_a_process_that_ends_is_named_by_the_others() -> None:
    def work(rank: int) -> Any:
        if rank == 1:
            import os

            os._exit(9)
        return group.any_has(True)

    left, code = together(work, 2)
    assert left == "PeerLostError: process 0 of 2: another process of this run has ended, so this one ends too"
    assert code == 9


def test_a_process_that_hangs_is_not_waited_for_forever() -> None:
    def work(rank: int) -> Any:
        if rank == 1:
            import time

            time.sleep(3)
            return None
        return group.any_has(True)

    assert "does not answer (trainer.timeout)" in together(work, 2, timeout=1)[0]


def test_fewer_gpus_than_processes() -> None:
    if torch.cuda.is_available():
        pytest.skip("there are GPUs")

    def work() -> Any:
        world = started()
        assert world is not None
        with pytest.raises(InputError) as raised, group.joined(world, TrainerConfig(max_steps=1, accelerator="gpu")):
            pass
        return str(raised.value)

    (said,) = set(in_ranks(2, work))
    assert "trainer.accelerator=gpu: torchrun started 2 processes, there are 0 GPUs; start one for each" in said


PARTS = {2: ([0, 1, 2, 3, 4], [5]), 3: ([0, 1], [], [2, 3, 4, 5])}
"""Images of each process: parts of any size, none too."""


@pytest.mark.parametrize("world_size", [2, 3])
def test_batch_normalisation_is_that_of_all_images(world_size: int) -> None:
    torch.manual_seed(0)
    x = 3 + 2 * torch.randn(6, 4, 3, 2, dtype=torch.float64)
    weights = torch.randn(6, 4, 3, 2, dtype=torch.float64)

    def run(norm: nn.BatchNorm2d, mine: list[int]) -> list[Any]:
        part = x[mine].requires_grad_()
        y = norm(part)
        (y * weights[mine]).sum().backward()
        assert part.grad is not None
        assert norm.weight.grad is not None
        assert norm.bias.grad is not None
        numbers = (y, part.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var)
        return [value.detach().tolist() for value in numbers if value is not None]

    def fresh() -> nn.BatchNorm2d:
        norm = nn.BatchNorm2d(4, momentum=0.3).double()
        nn.init.uniform_(norm.weight, generator=torch.Generator().manual_seed(1))
        return norm

    def work(rank: int) -> Any:
        model = nn.Sequential(fresh())
        synchronise(model)
        assert isinstance(model[0], GlobalBatchNorm)
        return run(model[0], PARTS[world_size][rank])

    of_all = run(fresh(), list(range(6)))
    found = together(work, world_size)
    for place in (0, 1):  # outputs, gradients of inputs
        torch.testing.assert_close([image for one in found for image in one[place]], of_all[place])
    for place in (2, 3):  # gradients of parameters add up
        assert torch.tensor([one[place] for one in found]).sum(dim=0).tolist() == pytest.approx(of_all[place])
    for one in found:
        torch.testing.assert_close(one[4:], of_all[4:])


def test_one_value_in_all_processes_is_no_batch() -> None:
    def work(rank: int) -> Any:
        norm = nn.BatchNorm2d(2)
        synchronise(norm)
        y = norm(torch.ones(1 - rank, 2, 1, 1))
        return y.flatten().tolist(), norm.running_mean.tolist()  # type: ignore[union-attr]

    expected = F.batch_norm(torch.ones(1, 2, 1, 1), torch.zeros(2), torch.ones(2)).flatten().tolist()
    assert together(work, 2) == [(expected, [0, 0]), ([], [0, 0])]


def test_running_statistics_become_their_mean_where_they_are_learned() -> None:
    def work(rank: int) -> Any:
        learns, frozen = nn.BatchNorm2d(1), nn.BatchNorm2d(1).eval()
        for norm in (learns, frozen):
            norm.running_mean.fill_(rank)  # type: ignore[union-attr]
        average_statistics([learns, frozen])
        return learns.running_mean.item(), learns.running_var.item(), frozen.running_mean.item()  # type: ignore[union-attr]

    assert together(work, 2) == [(0.5, 1.0, 0.0), (0.5, 1.0, 1.0)]


def batch(images: int, rows: dict[str, list[int]]) -> Batch:
    return Batch(
        torch.zeros(images, 3, 1, 1), {}, torch.ones(images, 2), torch.arange(images),
        {name: torch.tensor(mine, dtype=torch.int64) for name, mine in rows.items()},
    )  # fmt: skip


def test_losses_are_weighted_by_what_they_are_means_over() -> None:
    """Sums 6 over 3 boxes and 5 over none; means 2 over two images and 4 over four; a head in one process alone."""

    def work(rank: int) -> Any:
        over = [3, 0][rank]
        parts: dict[str, Any] = {
            "boxes": Losses({"a": torch.tensor([6.0 / 3, 5.0][rank])}, normalizer=over),
            "images": {"b": torch.tensor([2.0, 4.0][rank])},
        }
        if rank == 0:
            parts["here"] = {"c": torch.tensor(7.0)}
        rows = {"here": [0] if rank == 0 else [], "nowhere": []}
        mine = batch([2, 4][rank], rows)
        names = ["boxes", "images", "here", "nowhere"]
        losses = sharing.weighted(parts, mine, names)
        means = {n: {p: v.item() for p, v in ps.items()} for n, ps in sharing.merged(losses).items()}
        return sorted(losses), means, sharing.labelled(mine, names)

    expected = {"boxes": {"a": 11 / 3}, "images": {"b": (2 * 2 + 4 * 4) / 6}, "here": {"c": 7.0}}
    for names, means, labelled in together(work, 2):
        assert names == ["boxes", "here", "images"]
        for name, parts in expected.items():
            assert means[name] == pytest.approx(parts)
        assert labelled == {"boxes": 6, "images": 6, "here": 1, "nowhere": 0}
