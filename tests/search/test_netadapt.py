"""The loop of NetAdapt on networks without weights, whose costs and metrics are said by hand."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from backbone.errors import InputError
from backbone.families.mobilenet_v2 import mobilenet_v2
from backbone.units import explicit, units
from tasks.config.search import Choice, NetAdaptConfig
from tasks.search.ground import uniform
from tasks.search.netadapt import chosen, reduction, search, smallest
from tasks.search.progress import Proposal, SearchState

if TYPE_CHECKING:
    from pathlib import Path

    from backbone.architecture import Architecture

START = explicit(mobilenet_v2(0.35))


def channels_in_all(architecture: Architecture) -> float:
    return float(sum(unit.channels for unit in units(architecture)))


class Paper:
    """A ground without weights: the cost is the sum of the channels, the metric a weighted one."""

    def __init__(self, *, dies_after: int | None = None) -> None:
        self.proposed: list[tuple[int, str]] = []
        self.kept: list[str] = []
        self.dies_after = dies_after

    def cost(self, architecture: Architecture) -> float:
        return channels_in_all(architecture)

    def metric(self, architecture: Architecture) -> float:
        worth = {"stage6": 3.0, "stage7": 0.1}
        return sum(unit.channels * worth.get(unit.name.split(".")[0], 1.0) for unit in units(architecture)) / 1000

    def start(self, state: SearchState) -> float:
        return self.metric(state.architecture)

    def propose(self, architecture: Architecture, iteration: int) -> float:
        if self.dies_after is not None and len(self.proposed) == self.dies_after:
            raise KeyboardInterrupt
        self.proposed.append((iteration, repr(architecture)))
        return self.metric(architecture)

    def keep(self) -> None:
        self.kept.append(self.proposed[-1][1])

    def advance(self, architecture: Architecture) -> None:
        assert self.kept[-1] == repr(architecture), "the weights kept are those of the network chosen"


def config(**options: object) -> NetAdaptConfig:
    return NetAdaptConfig(multiply_adds=1.0, first_step=0.02, **options)  # type: ignore[arg-type]


def state_in(folder: Path) -> SearchState:
    return SearchState.opened(folder / "search.json", {"budget": 1}, START)


def test_the_budget_is_reached_by_whole_groups_and_the_cheapest_unit_goes_first(tmp_path: Path) -> None:
    state, ground = state_in(tmp_path), Paper()
    budget = 0.9 * channels_in_all(START)
    found = search(config(), budget, state, ground)
    assert channels_in_all(found) <= budget
    costs = [one.cost for one in state.iterations]
    assert costs == sorted(costs, reverse=True)
    assert costs[-2] > budget
    # A channel of stage 7 is worth a tenth of any other: the ratio takes it first.
    assert state.iterations[1].unit.startswith("stage7")
    # 2 % of the cost are needed first: the fewest groups of eight that do.
    removed = costs[0] - costs[1]
    assert 0.02 * costs[0] <= removed < 0.02 * costs[0] + 8


def test_a_search_that_was_killed_goes_on_with_the_same_candidates(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole, state = Paper(), state_in(tmp_path / "whole")
    budget = 0.95 * channels_in_all(START)
    wanted = search(config(), budget, state, whole)
    parts: list[tuple[int, str]] = []
    kept: list[str] = []
    for dies_after in (0, 1, 30, None):
        ground = Paper(dies_after=dies_after)
        ground.kept = kept
        resumed = state_in(tmp_path / "parts")
        if dies_after is None:
            assert search(config(), budget, resumed, ground) == wanted
        else:
            with pytest.raises(KeyboardInterrupt):
                search(config(), budget, resumed, ground)
        parts += ground.proposed
    assert parts == whole.proposed
    assert resumed.iterations == state.iterations


def test_the_choice_is_by_ratio_or_by_metric() -> None:
    """Losses of 0.02 for 10 and 0.01 for 2: 0.002 and 0.005 for each; the second has the better metric."""
    large = Proposal(unit="a", channels=8, cost=90, metric=0.68)
    small = Proposal(unit="b", channels=8, cost=98, metric=0.69)
    assert chosen([large, small], metric=0.7, cost=100, choice=Choice.ratio) == large
    assert chosen([large, small], metric=0.7, cost=100, choice=Choice.best) == small
    assert chosen([small, small], metric=0.7, cost=100, choice=Choice.best) is small
    cheaper = Proposal(unit="c", channels=8, cost=95, metric=0.7)
    dearer = Proposal(unit="d", channels=8, cost=98, metric=0.7)
    assert chosen([dearer, cheaper], metric=0.7, cost=100, choice=Choice.ratio) == cheaper


def test_the_fewest_channels_are_removed_and_few_costs_are_asked_for() -> None:
    unit = next(unit for unit in units(START) if unit.name == "stage6.1.expanded")
    asked: list[float] = []

    def cost(architecture: Architecture) -> float:
        asked.append(channels_in_all(architecture))
        return asked[-1]

    whole = channels_in_all(START)
    found = reduction(START, unit, whole - 81, 8, cost)
    assert found is not None
    assert (found.channels, found.cost) == (unit.channels - 88, whole - 88)
    assert len(asked) <= 8
    assert reduction(START, unit, whole - unit.channels, 8, cost) is None


def test_a_budget_below_what_is_possible_says_what_is(tmp_path: Path) -> None:
    least = channels_in_all(smallest(START, 8))
    with pytest.raises(InputError, match=rf"cannot be reached.* the cost is {least:.4g}"):
        search(config(), least - 1, state_in(tmp_path), Paper())


def test_a_step_that_no_unit_can_take_is_halved(tmp_path: Path) -> None:
    """Half of all channels is more than any unit has."""
    whole = channels_in_all(START)
    state = state_in(tmp_path)
    found = search(NetAdaptConfig(first_step=0.5, step_decay=1.0), 0.9 * whole, state, Paper())
    assert channels_in_all(found) <= 0.9 * whole
    largest = max(unit.channels for unit in units(START))
    assert whole / 2 > largest >= whole - state.iterations[1].cost > (largest - 8) / 2

    class Flat(Paper):
        def cost(self, architecture: Architecture) -> float:
            return whole if architecture != smallest(START, 8) else 0.0

    state = SearchState.opened(tmp_path / "flat.json", {}, START)
    with pytest.raises(InputError, match="no unit with fewer channels lowers the cost"):
        search(config(), 0.9 * whole, state, Flat())


def test_another_search_is_not_gone_on_with(tmp_path: Path) -> None:
    state = state_in(tmp_path)
    state.begin(cost=1.0, metric=0.5)
    assert state_in(tmp_path).iterations == state.iterations
    with pytest.raises(InputError, match="belongs to a search with budget=1, and the command says budget=2"):
        SearchState.opened(tmp_path / "search.json", {"budget": 2}, START)
    (tmp_path / "search.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="is damaged"):
        state_in(tmp_path)


def test_the_control_narrows_all_units_alike() -> None:
    found = uniform(START, 0.7 * channels_in_all(START), 8, channels_in_all)
    assert 0.62 < channels_in_all(found) / channels_in_all(START) <= 0.7
    for before, after in zip(units(START), units(found), strict=True):
        assert after.channels <= before.channels
        assert abs(after.channels - 0.68 * before.channels) <= 8 or after.channels == 8
    with pytest.raises(InputError, match="cannot be reached"):
        uniform(START, 1.0, 8, channels_in_all)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"latency": 0.0}, r"search\.latency=0\.0: must be positive"),
        ({"first_step": 0.0}, r"search\.first_step=0\.0: must be above 0 and at most 0\.5"),
        ({"step_decay": 1.5}, r"search\.step_decay=1\.5: must be above 0 and at most 1"),
        ({"gradient_clip": 0.0}, r"search\.gradient_clip=0\.0: must be positive, or null"),
        ({"divisor": 0}, r"search\.divisor=0: must be at least 1"),
        ({"short_steps": -1}, r"search\.short_steps=-1: must not be negative"),
        ({"momentum": 1.0}, r"search\.momentum=1\.0: must be below 1"),
        ({"learning_rate": 0.0}, r"search\.learning_rate=0\.0: must be positive"),
    ],
)
def test_options_out_of_range(options: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        NetAdaptConfig(**options)  # type: ignore[arg-type]


def test_one_budget_must_be_given() -> None:
    for options in ({}, {"latency": 1.0, "multiply_adds": 1.0}):
        with pytest.raises(InputError, match="give one of them, in milliseconds or in millions"):
            NetAdaptConfig(**options).check_budget()


def test_progress_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    search(config(), 0.97 * channels_in_all(START), state_in(tmp_path), Paper())
    assert "iteration 1: stage7" in caplog.text
    assert "min left" in caplog.text
