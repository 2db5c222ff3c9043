"""mode=search: a network for a budget, found by NetAdapt or by a search over blocks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from backbone.architecture_file import write as write_architecture
from backbone.units import explicit
from tasks.commands.search.blocks import blocks
from tasks.commands.search.page import write_page
from tasks.commands.search.work import STATE, Search
from tasks.config.search import BlocksConfig, NetAdaptConfig
from tasks.runs import folder as run_folder
from tasks.search.ground import TrainedGround, uniform
from tasks.search.netadapt import search as netadapt
from tasks.search.progress import SearchState

if TYPE_CHECKING:
    from backbone.architecture import Architecture
    from tasks.commands.job import Job
    from tasks.config.latency import LatencyConfig
    from tasks.config.search import SearchConfig
    from tasks.model import VisionModel
    from tasks.search.progress import Outcome

log = logging.getLogger(__name__)


def search(job: Job, section: SearchConfig, latency: LatencyConfig, *, checkpoint: str | None, seed: int) -> bool:
    """Search, train what was found and the control, and report both.

    Args:
        checkpoint: of the starting network of NetAdapt.
    Returns:
        Whether Ctrl-C ended it: then the best network so far is there as `architecture.yaml` and `model.safetensors`,
        and the same words go on.
    """
    work = Search(job, section, latency, checkpoint=checkpoint, seed=seed)
    if isinstance(section, BlocksConfig):
        outcomes = blocks(work, section)
    else:
        assert isinstance(section, NetAdaptConfig)
        outcomes = _netadapt(work, section)
    if outcomes is None:
        log.warning("the same words go on with the search")
        return True
    for one in outcomes:
        whole = "" if one.measured_ms is None else f", {one.measured_ms:.3f} ms measured"
        log.info("%-16s %s %.4f, %.4g %s%s", one.name, "metric", one.metric, one.cost, work.unit, whole)
    found = next(one for one in outcomes if one.name == "searched")
    run_folder.write_metrics(work.folder, {"val": found.metrics})
    log.info("everything is in %s", work.folder)
    return False


def _netadapt(work: Search, section: NetAdaptConfig) -> list[Outcome] | None:
    """What it ended with; None: Ctrl-C."""
    first = explicit(work.first)
    state = SearchState.opened(work.folder / STATE, work.words, first)
    if not state.iterations:
        state.scale = work.scale()
    work.costs.scale = state.scale
    data, evaluators = work.data()
    ground = TrainedGround(
        work.folder, section, work.build, work.start, data, evaluators, work.costs, seed=work.seed,
        weights=work.weights,
    )  # fmt: skip
    try:
        found = netadapt(section, work.budget, state, ground)
        ends = [work.ended("start", first, work.start, lambda: None)]

        def end(
            name: str, architecture: Architecture, model: VisionModel, steps: int, rate: float | None = None
        ) -> None:
            def train() -> None:
                work.learn(name, model, steps, data, ground.teacher, learning_rate=rate)

            ends.append(work.ended(name, architecture, model, train))

        networks = {"searched": found}
        end("searched", found, ground.model, section.long_steps)
        if section.control:
            networks["uniform"] = control = uniform(first, work.costs(found), section.divisor, work.costs)
            # As much learning as the searched network had.
            steps = section.long_steps + section.short_steps * (len(state.iterations) - 1)
            end("uniform", control, ground.narrowed(work.start, control), steps)
        for name, architecture in networks.items() if section.scratch_steps else ():
            rate = section.scratch_learning_rate
            end(f"{name}_scratch", architecture, work.fresh(architecture), section.scratch_steps, rate)
        outcomes = work.time(ends)
    except KeyboardInterrupt:
        if len(state.iterations) > 1 and not work.has_ended("searched"):
            write_architecture(work.folder / "architecture.yaml", state.architecture)
            work.save(work.folder / "model.safetensors", ground.model, state.architecture)
            last = state.iterations[-1]
            log.warning(
                "stopped at a cost of %.4g and a metric of %.4f; the network so far is in %s",
                last.cost, last.metric, work.folder,
            )  # fmt: skip
        return None
    write_page(work.folder, state, outcomes, work.budget, work.unit)
    return outcomes
