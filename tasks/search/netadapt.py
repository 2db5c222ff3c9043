"""NetAdapt: remove channels step by step until a budget is met. Reference: arXiv:1804.03230; MobileNetV3, section 4.2.

Differs from its authors' code: proposals are compared on images that were held out, and layers whose outputs are
summed keep one set of channels.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from backbone.errors import InputError
from backbone.units import Unit, explicit, units, with_unit
from tasks.config.search import Choice
from tasks.search.progress import Iteration, Proposal, SearchState

if TYPE_CHECKING:
    from collections.abc import Callable

    from backbone.architecture import Architecture
    from tasks.config.search import NetAdaptConfig

log = logging.getLogger(__name__)

MAX_HALVINGS = 8
"""Most times that a step is halved which no single unit can take."""


class Ground(Protocol):
    """What a search stands on: the cost of a network, and how good a narrower one becomes."""

    def cost(self, architecture: Architecture) -> float:
        """Milliseconds, or millions of multiply-adds."""
        ...

    def start(self, state: SearchState) -> float:
        """Take up the network of a state, new or resumed; gives its metric."""
        ...

    def propose(self, architecture: Architecture, iteration: int) -> float:
        """Narrow the current network, fine-tune it shortly, and give its metric; it may be kept next."""
        ...

    def keep(self) -> None:
        """Remember what was proposed last as the best of this iteration, on disk."""
        ...

    def advance(self, architecture: Architecture) -> None:
        """Make what was kept, a network of this architecture, the current one."""
        ...


@dataclass(frozen=True, slots=True)
class Reduction:
    """Proposal for one unit: the network, its channels, its cost."""

    unit: Unit
    channels: int
    architecture: Architecture
    cost: float


def smallest(architecture: Architecture, divisor: int) -> Architecture:
    """Every unit at the fewest channels that a search goes to."""
    for unit in units(explicit(architecture)):
        if unit.channels > divisor:
            architecture = with_unit(architecture, unit.name, divisor)
    return explicit(architecture)


def reduction(
    architecture: Architecture, unit: Unit, limit: float, divisor: int, cost: Callable[[Architecture], float]
) -> Reduction | None:
    """The fewest removed channels of one unit with which the cost is at most `limit`; None: no number of them does.

    Removes 1, 2, 4 .. groups of `divisor` until that is enough, and halves the distance to the last that was not: few
    costs are asked for, as each may have to be measured.
    """
    most = -(-unit.channels // divisor) - 1
    tried: dict[int, Reduction] = {}

    def is_enough(groups: int) -> bool:
        channels = divisor * (-(-unit.channels // divisor) - groups)
        narrower = with_unit(architecture, unit.name, channels)
        tried[groups] = Reduction(unit, channels, narrower, cost(narrower))
        return tried[groups].cost <= limit

    if most < 1:
        return None
    low, high = 0, 1
    while not is_enough(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return tried[high]


def chosen(proposals: list[Proposal], *, metric: float, cost: float, choice: Choice) -> Proposal:
    """The proposal to go on with; of equal ones that of the lowest cost, of those the first.

    Args:
        metric, cost: of the network that they come from.
    """
    if choice is Choice.best:
        return max(proposals, key=lambda one: (one.metric, -one.cost))
    return max(proposals, key=lambda one: ((one.metric - metric) / (cost - one.cost), -one.cost))


def search(config: NetAdaptConfig, budget: float, state: SearchState, ground: Ground) -> Architecture:
    """Go on from a state until the cost is at most `budget`.

    What was proposed already in an iteration is not proposed again: a search that was killed goes on with the same
    candidates.

    Returns:
        The network; its weights are what `ground` kept.
    Raises:
        InputError: the budget is below what is possible; the message says the smallest that is.
    """
    metric = ground.start(state)
    cost = ground.cost(state.architecture)
    if not state.iterations:
        state.begin(metric=metric, cost=cost)
    least = ground.cost(smallest(state.architecture, config.divisor))
    if least > budget:
        raise InputError(
            f"a budget of {budget:g} cannot be reached: with {config.divisor} channels everywhere the cost is"
            f" {least:.4g}; the starting network's is {state.iterations[0].cost:.4g}"
        )
    started, first = time.monotonic(), state.iterations[-1].cost
    while (before := state.iterations[-1]).cost > budget:
        number = len(state.iterations)
        step = config.first_step * config.step_decay ** (number - 1) * state.iterations[0].cost
        _propose(config, step, budget, number, state, ground)
        best = chosen(state.proposals, metric=before.metric, cost=before.cost, choice=config.choice)
        state.architecture = with_unit(state.architecture, best.unit, best.channels)
        ground.advance(state.architecture)
        state.advance(Iteration(unit=best.unit, channels=best.channels, cost=best.cost, metric=best.metric))
        done = (first - best.cost) / max(first - budget, 1e-12)
        left = (time.monotonic() - started) * (1 - done) / max(done, 1e-12) if done < 1 else 0.0
        log.info(
            "iteration %d: %s to %d channels, metric %.4f, cost %.4g of %.4g, about %d min left",
            number, best.unit, best.channels, best.metric, best.cost, budget, round(left / 60),
        )  # fmt: skip
    return state.architecture


def candidates(
    architecture: Architecture, before: float, step: float, budget: float, divisor: int, ground: Ground
) -> list[Reduction]:
    """Find for every unit the fewest removed channels that lower the cost by `step`, or to the budget.

    Where no unit can, half the step is tried, and so on.

    Raises:
        InputError: no removed channel lowers the cost.
    """
    for halvings in range(MAX_HALVINGS):
        limit = max(before - step / 2**halvings, budget)
        found = [reduction(architecture, unit, limit, divisor, ground.cost) for unit in units(architecture)]
        able = [one for one in found if one is not None and one.cost < before]
        if able:
            return able
    raise InputError(
        f"no unit with fewer channels lowers the cost of {before:.4g}, which is the smallest reachable; lower"
        " search.divisor"
    )


def _propose(
    config: NetAdaptConfig, step: float, budget: float, number: int, state: SearchState, ground: Ground
) -> None:
    """Fine-tune and score every candidate; those that were tried before are left."""
    before = state.iterations[-1]
    done = {proposal.unit for proposal in state.proposals}
    for found in candidates(state.architecture, before.cost, step, budget, config.divisor, ground):
        if found.unit.name in done:
            continue
        metric = ground.propose(found.architecture, number)
        proposal = Proposal(unit=found.unit.name, channels=found.channels, cost=found.cost, metric=metric)
        others = [*state.proposals, proposal]
        if chosen(others, metric=before.metric, cost=before.cost, choice=config.choice) == proposal:
            ground.keep()
        state.add(proposal)
        log.debug("  %s to %d: metric %.4f, cost %.4g", proposal.unit, found.channels, metric, found.cost)
