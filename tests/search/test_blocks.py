"""Search over blocks: the space, shared weights, evolution, ranking. Metrics by hand where no weights are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from backbone.errors import InputError
from backbone.families.mobilenet_v2 import mobilenet_v2
from backbone.families.mobilenet_v3 import SMALL, mobilenet_v3
from backbone.units import explicit, with_unit
from tasks.config.search import BlocksConfig
from tasks.search.evolution import BlocksState, Candidate, best, front, reward, score_all
from tasks.search.ranking import ranking_of
from tasks.search.space import Space, Stage, from_lists, to_lists
from tasks.search.supernet import Supernet, part_of
from tasks.search.surgery import transfer
from tests.search.test_surgery import model_of

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.search.space import Genome

BASE = mobilenet_v2(0.35)


def config(**options: Any) -> BlocksConfig:
    return BlocksConfig(multiply_adds=1.0, candidates=20, population=6, parents=3, **options)


def test_the_space_is_counted_by_hand() -> None:
    """Stage 1 does not expand and cannot lose its only block: 2 squeezes, 3 widths, 2 kernels, 2 depths.

    The last stage has one block, too, and expands; the five between have 2 x 2 x 2 x 3 x 3 = 72.
    """
    assert Space(BASE, config()).size == (2 * 2 * 3 * 2) * 72**5 * (2 * 2 * 2 * 3 * 2)


def test_the_configured_network_is_one_of_the_space() -> None:
    space = Space(BASE, config())
    genome = tuple(
        Stage(3, None if number == 0 else 6, False, 1.0, len(blocks))
        for number, blocks in enumerate(BASE.stages.values())
    )
    assert space.architecture(genome) == BASE
    assert from_lists(to_lists(genome)) == genome
    with pytest.raises(InputError, match="no choice of blocks"):
        from_lists([[1, 2]])


def test_a_choice_is_what_it_says() -> None:
    """V2 at 1.0, stage 3: 24 channels come in, 32 x 0.75 = 24 go out, expanded to 72; a quarter of 72 inside is 24."""
    space = Space(mobilenet_v2(1.0), config())
    genome = [Stage(3, 6, False, 1.0, 1) for _ in range(7)]
    genome[2] = Stage(5, 3, True, 0.75, 4)
    blocks = space.architecture(tuple(genome)).stages["stage3"]
    assert [block.stride for block in blocks] == [2, 1, 1, 1]
    assert {(block.kernel, block.expanded, block.squeeze, block.channels) for block in blocks} == {(5, 72, 24, 24)}


def test_a_feature_that_a_level_names_stays() -> None:
    space = Space(mobilenet_v3(SMALL), config())
    for genome in (space.smallest, space.largest):
        architecture = space.architecture(genome)
        assert set(architecture.levels.values()) <= set(architecture.specs)


def test_a_part_is_the_first_channels_and_the_middle_of_the_filters() -> None:
    whole = torch.arange(2 * 3 * 25).reshape(2, 3, 5, 5)
    assert torch.equal(part_of(whole, torch.Size((1, 2, 3, 3))), whole[:1, :2, 1:4, 1:4])
    with pytest.raises(InputError, match="no part of"):
        part_of(whole, torch.Size((3, 3, 5, 5)))


def supernet() -> tuple[Space, Supernet]:
    space = Space(mobilenet_v2(0.1), config(steps=4))
    return space, Supernet(model_of, space, config(steps=4), seed=0, device=torch.device("cpu"))


def test_a_child_computes_with_the_first_channels_alone() -> None:
    """By surgery, an own way to the same network: an expansion's first channels kept."""
    space, net = supernet()
    largest = space.architecture(space.largest)
    narrow = with_unit(explicit(largest), "stage4.1.expanded", 40)
    smaller = model_of(narrow)
    kept = {"stage4.1.expanded": torch.arange(40)}
    inner = narrow.stages["stage4"][1].squeeze
    kept["stage4.1.squeeze"] = torch.arange(inner or 0)
    transfer(net.model, smaller, kept)
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        wanted = smaller(images)["classes"]
        torch.testing.assert_close(net.child(narrow).eval()(images)["classes"], wanted, rtol=0, atol=0)


def test_the_shared_weights_resume_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss on the classes of a batch; the heads' own losses are tested elsewhere."""

    def loss(model: Any, batch: Any, _weights: Any) -> torch.Tensor:
        found: torch.Tensor = (model(batch)["classes"] ** 2).sum()
        return found

    monkeypatch.setattr("tasks.search.supernet.total_loss", loss)
    batches: list[Any] = [torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8) for _ in range(4)]
    whole = supernet()[1]
    for batch in batches:
        whole.learn(batch)
    first = supernet()[1]
    for batch in batches[:2]:
        first.learn(batch)
    first.save(tmp_path / "net.safetensors")
    second = supernet()[1]
    second.load(tmp_path / "net.safetensors")
    assert second.step == 2
    for batch in batches[2:]:
        second.learn(batch)
    mine, wanted = second.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(mine[name], wanted[name]) for name in wanted if "running" not in name)
    assert not torch.equal(wanted["backbone.stem.conv.weight"], first.model.state_dict()["backbone.stem.conv.weight"])
    (tmp_path / "net.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="is damaged"):
        second.load(tmp_path / "net.safetensors")


def test_the_reward_is_the_papers() -> None:
    """MnasNet, section 3: with -0.07, twice the latency for 5 % more accuracy is about an even trade."""
    assert reward(0.5, 80, 80, -0.07) == 0.5
    assert reward(0.5 * 1.05, 160, 80, -0.07) == pytest.approx(0.5, rel=2e-3)


def candidate(cost: float, metric: float) -> Candidate:
    return Candidate(genome=(Stage(3, 6, False, cost, 1),), cost=cost, metric=metric)


def test_the_front_and_the_best() -> None:
    points = [candidate(3, 0.5), candidate(1, 0.2), candidate(2, 0.5), candidate(2, 0.4), candidate(9, 0.9)]
    naive = [
        one for one in points
        if not any(
            other.cost <= one.cost and other.metric >= one.metric and other is not one for other in points
        )
    ]  # fmt: skip
    assert front(points) == sorted(naive, key=lambda one: one.cost)
    assert best(points, 4, -0.07).cost == 2
    assert best(points, 0.5, -0.07).cost == 9  # none is within the budget: the reward decides


def by_hand(genome: Genome) -> float:
    """A cost: blocks, and a little for every squeeze."""
    return sum(stage.depth for stage in genome) + 0.1 * sum(stage.squeeze for stage in genome)


def metric(genome: Genome) -> float:
    """Squeezing is worth more than it costs."""
    return sum(stage.depth for stage in genome) / 40 + 0.05 * sum(stage.squeeze for stage in genome)


def test_evolution_beats_chance_and_goes_on_with_the_same_candidates(tmp_path: Path) -> None:
    space, section = Space(BASE, config(mutation=0.2)), config(mutation=0.2)
    section.candidates = 60
    whole = BlocksState.opened(tmp_path / "whole.json", {})
    score_all(space, section, 16.0, whole, by_hand, metric, 3)
    evolved, by_chance = (best(found, 16.0, -0.07).metric for found in (whole.evolved, whole.by_chance))
    assert evolved > by_chance
    assert len({one.genome for one in whole.evolved}) == len(whole.evolved) == len(whole.by_chance) == 60
    assert max(one.cost for one in (*whole.evolved, *whole.by_chance)) <= 16
    calls = 0

    def dying(genome: Genome) -> float:
        nonlocal calls
        calls += 1
        if calls in (5, 40, 60):
            raise KeyboardInterrupt
        return metric(genome)

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            score_all(space, section, 16.0, BlocksState.opened(tmp_path / "parts.json", {}), by_hand, dying, 3)
    parts = BlocksState.opened(tmp_path / "parts.json", {})
    score_all(space, section, 16.0, parts, by_hand, metric, 3)
    assert (parts.evolved, parts.by_chance) == (whole.evolved, whole.by_chance)
    with pytest.raises(InputError, match="belongs to a search with seed=None, and the command says seed=1"):
        BlocksState.opened(tmp_path / "parts.json", {"seed": 1})
    (tmp_path / "parts.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="is damaged"):
        BlocksState.opened(tmp_path / "parts.json", {})


def test_what_is_lowered_ends_at_the_smallest() -> None:
    space, rng = Space(BASE, config()), np.random.default_rng(0)
    genome = space.largest
    steps = sum(len(values) - 1 for options in space.options for values in options.values())
    for _ in range(steps):
        assert genome != space.smallest
        genome = space.lowered(genome, rng)
    assert genome == space.smallest == space.lowered(genome, rng)


def test_rank_correlations_by_their_definitions() -> None:
    """Spearman: Pearson of the ranks; Kendall: concordant less discordant pairs, ties taken out (tau-b)."""
    shared, scratch = [0.1, 0.4, 0.2, 0.4, 0.6, 0.3, 0.8, 0.7], [0.2, 0.3, 0.3, 0.5, 0.4, 0.1, 0.9, 0.8]
    found = ranking_of(shared, scratch)
    assert found.spearman == pytest.approx(np.corrcoef(rankdata(shared), rankdata(scratch))[0, 1])
    pairs = [
        (np.sign(a - b), np.sign(c - d))
        for i, (a, c) in enumerate(zip(shared, scratch, strict=True))
        for b, d in list(zip(shared, scratch, strict=True))[:i]
    ]
    both = sum(x * y for x, y in pairs)
    tau = both / np.sqrt(sum(x != 0 for x, _ in pairs) * sum(y != 0 for _, y in pairs))
    assert found.kendall == pytest.approx(tau)
    assert ranking_of([0.5] * 8, scratch).spearman is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kernels": [4]}, r"search\.kernels=\[4\]: must be of 3, 5, 7"),
        ({"kernels": []}, r"search\.kernels=\[\]: must be one value or more, each once"),
        ({"widths": [1.0, 1.0]}, "each once"),
        ({"widths": [0.0]}, r"search\.widths=\[0\.0\]: must be above 0 and at most 4"),
        ({"expansions": [11]}, r"search\.expansions=\[11\]: must be 1 \.\. 10"),
        ({"depths": [9]}, r"search\.depths=\[9\]: must be -4 \.\. 4"),
        ({"ranked": 7}, r"search\.ranked=7: must be at least 8"),
        ({"ranked": 21}, r"search\.candidates=20: must be at least search\.ranked=21"),
        ({"mutation": 0.0}, r"search\.mutation=0\.0: must be above 0 and at most 1"),
        ({"exponent": 0.1}, r"search\.exponent=0\.1: must be -10 \.\. 0"),
        ({"steps": 0}, r"search\.steps=0: must be at least 1"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        config(**options)
