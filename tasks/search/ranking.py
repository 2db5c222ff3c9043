"""Whether cheap metrics order networks as expensive ones do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How alike shared weights and training from scratch order networks.

    Attributes:
        shared, scratch: metrics on the images held out, a network after the other.
        spearman, kendall: correlations of the orders, -1 .. 1; None: one of the two has all metrics equal.
    """

    shared: list[float]
    scratch: list[float]
    spearman: float | None
    kendall: float | None


def ranking_of(shared: Sequence[float], scratch: Sequence[float]) -> Ranking:
    """Rank correlations of two metrics of the same networks, ties counted (Kendall's tau-b)."""
    from scipy.stats import kendalltau, spearmanr

    spearman = kendall = None
    if min(len(set(shared)), len(set(scratch))) > 1:
        spearman, kendall = (float(of(shared, scratch).statistic) for of in (spearmanr, kendalltau))
    return Ranking(shared=list(shared), scratch=list(scratch), spearman=spearman, kendall=kendall)
