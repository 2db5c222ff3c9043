"""search=blocks: shared weights, evolution and chance, rank correlation, and what both found trained from scratch."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from backbone.architecture_file import write as write_architecture
from backbone.disk import write_whole
from backbone.errors import InputError
from backbone.units import explicit
from tasks.commands.search.blocks_page import write_blocks_page
from tasks.commands.search.work import STATE
from tasks.search.evolution import BlocksState, best, front, score_all
from tasks.search.ground import uniform
from tasks.search.ranking import Ranking, ranking_of
from tasks.search.space import Space, to_lists
from tasks.search.supernet import Supernet
from tasks.search.tuning import recalibrate, scored

if TYPE_CHECKING:
    from backbone.architecture import Architecture
    from tasks.commands.search.work import Search
    from tasks.config.search import BlocksConfig
    from tasks.model import VisionModel
    from tasks.search.progress import Outcome
    from tasks.search.space import Genome

log = logging.getLogger(__name__)

WEIGHTS = "supernet.safetensors"


def blocks(work: Search, section: BlocksConfig) -> list[Outcome] | None:
    """Search over blocks.

    Returns:
        What it ended with; None: Ctrl-C.
    Raises:
        InputError: the budget is below what is possible; the message says the smallest that is.
    """
    run = BlockSearch(work, section)
    try:
        run.train()
        score_all(run.space, section, work.budget, run.state, run.cost, run.score, work.seed)
        ranking = run.ranking()
        outcomes = run.outcomes()
    except KeyboardInterrupt:
        run.leave()
        return None
    candidates = [*run.state.evolved, *run.state.by_chance]
    plain = [{"genome": to_lists(one.genome), "cost": one.cost, "metric": one.metric} for one in front(candidates)]
    write_whole(work.folder / "front.json", json.dumps(plain, indent=1))
    write_whole(work.folder / "ranking.json", json.dumps(asdict(ranking), indent=1))
    write_blocks_page(work.folder, run.state, ranking, outcomes, work.budget, work.unit)
    return outcomes


class BlockSearch:
    """One search over blocks.

    Args:
        work: its backbone is the configured one, without weights.
    """

    def __init__(self, work: Search, section: BlocksConfig) -> None:
        self.work, self.section = work, section
        self.space = Space(work.first, section)
        self.state = BlocksState.opened(work.folder / STATE, work.words)
        if not self.state.scale:
            self.state.scale = work.scale()
            self.state.write()
        work.costs.scale = self.state.scale
        least, most = self.cost(self.space.smallest), self.cost(self.space.largest)
        if least > work.budget:
            raise InputError(
                f"a budget of {work.budget:g} cannot be reached: the smallest network of the space costs {least:.4g},"
                f" the largest {most:.4g}"
            )
        log.info("%.3g networks, of %.4g to %.4g %s", self.space.size, least, most, work.unit)
        self.data, self.evaluators = work.data()
        self.supernet = Supernet(
            work.build, self.space, section, seed=work.seed, device=work.builder.device, weights=work.weights
        )

    def train(self) -> None:
        """Train the shared weights, from the last state that was saved."""
        path = self.work.folder / WEIGHTS
        self.work.train("shared weights", self.supernet, path, self.section.steps, self.data, self.data.learned)

    def child(self, genome: Genome) -> VisionModel:
        """A network with shared weights and batch statistics of its own."""
        model = self.supernet.child(self.space.architecture(genome))
        recalibrate(model, self.data.training(0, self.section.recalibration))
        return model

    def cost(self, genome: Genome) -> float:
        """Milliseconds, or millions of multiply-adds."""
        return self.work.costs(self.space.architecture(genome))

    def score(self, genome: Genome) -> float:
        """Metric on the images held out, with shared weights."""
        return scored(self.child(genome), self.data.held_out(), self.evaluators)

    def ranking(self) -> Ranking:
        """Train the first networks by chance from scratch, and compare the two orders."""
        section, state = self.section, self.state
        chosen = state.by_chance[: section.ranked]
        for number, one in enumerate(chosen[len(state.ranked) :], len(state.ranked) + 1):
            model = self.work.fresh(self.space.architecture(one.genome))
            name = f"ranked_{number}"
            self.work.learn(name, model, section.ranked_steps, self.data, positions=self.data.learned)
            state.ranked.append(scored(model, self.data.held_out(), self.evaluators))
            state.write()
            self.work.training_file(name).unlink(missing_ok=True)
            log.info(
                "from scratch %d of %d: metric %.4f, with shared weights %.4f",
                number, len(chosen), state.ranked[-1], one.metric,
            )  # fmt: skip
        found = ranking_of([one.metric for one in chosen], state.ranked)
        if found.spearman is None or found.kendall is None:
            log.warning("rank correlation: there is none, as all metrics of one kind are equal")
        else:
            log.info(
                "rank correlation of shared weights with training from scratch, %d networks: Spearman %.3f, Kendall"
                " %.3f", len(chosen), found.spearman, found.kendall,
            )  # fmt: skip
        return found

    def outcomes(self) -> list[Outcome]:
        """Train what evolution found, what chance found, and the control, alike and from scratch."""
        work, section, state = self.work, self.section, self.state
        networks = {
            name: self.space.architecture(best(found, work.budget, section.exponent).genome)
            for name, found in (("searched", state.evolved), ("random", state.by_chance))
        }
        if section.control:
            first = explicit(work.first)
            limit = work.costs(networks["searched"])
            if work.costs(first) > limit:
                networks["uniform"] = uniform(first, limit, section.divisor, work.costs)
            else:
                log.info("the control is the configured network: it costs no more than what was found")
                networks["uniform"] = first
        return work.time([self._ended(name, architecture) for name, architecture in networks.items()])

    def _ended(self, name: str, architecture: Architecture) -> tuple[Outcome, VisionModel]:
        model = self.work.fresh(architecture)
        steps = self.section.long_steps
        return self.work.ended(name, architecture, model, lambda: self.work.learn(name, model, steps, self.data))

    def leave(self) -> None:
        """Save the best candidate that there is by Ctrl-C, unless what was found is trained already."""
        scored_so_far = [*self.state.evolved, *self.state.by_chance]
        if not scored_so_far or self.work.has_ended("searched"):
            return
        found = best(scored_so_far, self.work.budget, self.section.exponent)
        architecture = self.space.architecture(found.genome)
        write_architecture(self.work.folder / "architecture.yaml", architecture)
        self.work.save(self.work.folder / "model.safetensors", self.child(found.genome), architecture)
        log.warning(
            "stopped; the best network so far, at a cost of %.4g with a metric of %.4f, is in %s",
            found.cost, found.metric, self.work.folder,
        )  # fmt: skip
