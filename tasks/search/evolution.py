"""Candidates of a search over blocks: their reward, evolution, chance, and the Pareto front.

Reference: MnasNet, arXiv:1807.11626, section 3. Differs: evolution instead of reinforcement learning, and candidates
have shared weights instead of five epochs each.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from backbone.disk import write_whole
from backbone.errors import InputError
from tasks.search.progress import check_words
from tasks.search.space import from_lists, to_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from tasks.config.search import BlocksConfig
    from tasks.search.space import Genome, Space

log = logging.getLogger(__name__)

TRIES = 100
"""To find a candidate that was not scored yet; a small space may have no more."""
TOLD_EVERY = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One network of the space.

    Attributes:
        cost: milliseconds, or millions of multiply-adds.
        metric: on the images held out, with shared weights.
    """

    genome: Genome
    cost: float
    metric: float


@dataclass(slots=True, kw_only=True)
class BlocksState:
    """Where a search over blocks is, behind the training of its shared weights.

    Attributes:
        path: of the file that it is kept in.
        words: what the search is, as plain data: another one is not gone on with.
        evolved, by_chance: scored so far.
        ranked: metrics of the first ones by chance, trained from scratch.
        scale: of the costs (see `ground.Costs`); 0: not measured yet.
    """

    path: Path
    words: dict[str, Any]
    evolved: list[Candidate] = field(default_factory=list)
    by_chance: list[Candidate] = field(default_factory=list)
    ranked: list[float] = field(default_factory=list)
    scale: float = 0.0

    @classmethod
    def opened(cls, path: Path, words: dict[str, Any]) -> BlocksState:
        """What a file holds, or the beginning.

        Raises:
            InputError: it cannot be read, or is of a search with other words.
        """
        if not path.exists():
            return cls(path=path, words=words)
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            known = plain["words"]
            state = cls(
                path=path, words=words,
                evolved=[_candidate(one) for one in plain["evolved"]],
                by_chance=[_candidate(one) for one in plain["by_chance"]],
                ranked=[float(metric) for metric in plain["ranked"]],
                scale=float(plain["scale"]),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, InputError) as error:
            raise InputError(f"{path}: is damaged ({str(error).splitlines()[0]}); say another run_dir") from error
        check_words(path, known, words)
        return state

    def write(self) -> None:
        plain = {
            "words": self.words,
            "scale": self.scale,
            "evolved": [_plain(one) for one in self.evolved],
            "by_chance": [_plain(one) for one in self.by_chance],
            "ranked": self.ranked,
        }
        write_whole(self.path, json.dumps(plain, indent=1), durable=True)


def reward(metric: float, cost: float, budget: float, exponent: float) -> float:
    """`metric` x (`cost` / `budget`) ^ `exponent`: MnasNet's equation 2 with alpha = beta."""
    return metric * float((cost / budget) ** exponent)


def best(candidates: Sequence[Candidate], budget: float, exponent: float) -> Candidate:
    """The largest reward of those within the budget; of all, where none is."""
    within = [one for one in candidates if one.cost <= budget]
    return max(within or candidates, key=lambda one: reward(one.metric, one.cost, budget, exponent))


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other one beats in cost and metric, the cheapest first."""
    found: list[Candidate] = []
    for one in sorted(candidates, key=lambda one: (one.cost, -one.metric)):
        if not found or one.metric > found[-1].metric:
            found.append(one)
    return found


def score_all(
    space: Space,
    config: BlocksConfig,
    budget: float,
    state: BlocksState,
    cost: Callable[[Genome], float],
    score: Callable[[Genome], float],
    seed: int,
) -> None:
    """Score candidates by evolution, and as many by chance; what was scored is not scored again.

    All are within the budget: choices of one that costs more become the next smaller, drawn uniformly, until it is.

    Args:
        score: metric of a genome.
    """
    started, begun = time.monotonic(), len(state.evolved) + len(state.by_chance)
    total = 2 * config.candidates
    for scored, stream in ((state.evolved, 1), (state.by_chance, 2)):
        while len(scored) < config.candidates:
            rng = np.random.default_rng([seed, stream, len(scored)])
            evolves = stream == 1 and len(scored) >= config.population
            genome = _next(space, config, budget, scored, cost, rng, evolves=evolves)
            scored.append(Candidate(genome=genome, cost=cost(genome), metric=score(genome)))
            state.write()
            done = len(state.evolved) + len(state.by_chance)
            if done % TOLD_EVERY == 0 or done == total:
                left = (time.monotonic() - started) * (total - done) / (done - begun)
                found = best(scored, budget, config.exponent)
                log.info(
                    "candidate %d of %d (%s): best metric %.4f at a cost of %.4g, about %d min left",
                    done, total, "evolution" if stream == 1 else "chance", found.metric, found.cost, round(left / 60),
                )  # fmt: skip


def _next(
    space: Space,
    config: BlocksConfig,
    budget: float,
    scored: Sequence[Candidate],
    cost: Callable[[Genome], float],
    rng: np.random.Generator,
    *,
    evolves: bool,
) -> Genome:
    """One that was not scored yet, if any of some tries gives one."""
    known = {one.genome for one in scored}
    order = sorted(scored, key=lambda one: -reward(one.metric, one.cost, budget, config.exponent))
    parents = [one.genome for one in order[: config.parents]]
    genome = space.smallest
    for _ in range(TRIES):
        if evolves and parents:
            first, second = (parents[int(rng.integers(len(parents)))] for _ in range(2))
            crossed = space.crossed(first, second, rng) if rng.random() < 0.5 else first
            genome = space.mutated(crossed, config.mutation, rng)
        else:
            genome = space.random(rng)
        while cost(genome) > budget and genome != space.smallest:
            genome = space.lowered(genome, rng)
        if genome not in known:
            break
    return genome


def _plain(one: Candidate) -> dict[str, Any]:
    return {"genome": to_lists(one.genome), "cost": one.cost, "metric": one.metric}


def _candidate(plain: dict[str, Any]) -> Candidate:
    return Candidate(genome=from_lists(plain["genome"]), cost=float(plain["cost"]), metric=float(plain["metric"]))
