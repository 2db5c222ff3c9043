"""`report.html` of a search over blocks: the front, the rank correlation, and what was found, trained from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.commands.search.page import outcome_table, plot, table, write_sections
from tasks.report.html import tag
from tasks.search.evolution import front

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tasks.search.evolution import BlocksState, Candidate
    from tasks.search.progress import Outcome
    from tasks.search.ranking import Ranking
    from tasks.search.space import Stage


def write_blocks_page(
    folder: Path, state: BlocksState, ranking: Ranking, outcomes: Sequence[Outcome], budget: float, unit: str
) -> None:
    """Write the page.

    Args:
        unit: of the costs.
    """
    best = front([*state.evolved, *state.by_chance])
    correlation = "there is none: all metrics of one kind are equal"
    if ranking.spearman is not None and ranking.kendall is not None:
        correlation = f"Spearman {ranking.spearman:.3f}, Kendall {ranking.kendall:.3f}"
    write_sections(
        folder,
        f"Search over blocks to {budget:g} {unit}",
        [
            tag("p", "Metric on the validation split, all trained from scratch with as many steps. 'searched' was found"
                     " by evolution, 'random' by as many candidates by chance, 'uniform' is the configured network,"
                     " narrowed alike everywhere to the cost of the first where it costs more."),
            outcome_table(outcomes, unit),
            tag("h2", "Candidates"),
            tag("p", "Metric on images held out of the training split, with shared weights."),
            plot(
                {"evolution": _points(state.evolved), "chance": _points(state.by_chance), "front": _points(best)},
                f"cost, {unit}",
            ),
            table(
                (f"cost, {unit}", "metric", "stages: kernel, expansion, squeeze (s), width, depth"),
                [(f"{one.cost:.4g}", f"{one.metric:.4f}", ", ".join(map(_words, one.genome))) for one in best],
            ),
            tag("h2", "Can the shared weights be trusted?"),
            tag("p", f"Rank correlation with training from scratch, {len(ranking.shared)} networks by chance:"
                     f" {correlation}."),
            plot(
                {"networks": list(zip(ranking.shared, ranking.scratch, strict=True))}, "metric with shared weights",
                "metric from scratch",
            ),
        ],
    )  # fmt: skip


def _points(candidates: Sequence[Candidate]) -> list[tuple[float, float]]:
    return [(one.cost, one.metric) for one in candidates]


def _words(stage: Stage) -> str:
    kernel = "" if stage.kernel is None else f"k{stage.kernel} "
    expansion = "" if stage.expansion is None else f"e{stage.expansion} "
    return f"{kernel}{expansion}{'s ' * stage.squeeze}w{stage.width:g} d{stage.depth}"
