"""mode=latency and mode=search through the command line, on built-in data and tiny networks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from backbone.architecture_file import from_plain, read
from tasks.checkpoints.model_file import read_header
from tasks.commands.search.blocks import BlockSearch
from tasks.search.supernet import Supernet
from tasks.search.tuning import Tuning
from tests.e2e.command import TINY, tiny_run, trident

if TYPE_CHECKING:
    from pathlib import Path

SEARCH = (
    "mode=search", "search.multiply_adds=2.7", "search.first_step=0.03", "search.short_steps=1", "search.long_steps=1",
    "search.hold_out=0.3", "search.scratch_steps=1", "data.batch_size=4",
)  # fmt: skip


def outcome(folder: Path) -> list[dict[str, float]]:
    found: list[dict[str, float]] = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    "task",
    [
        "classification",
        *(pytest.param(task, marks=pytest.mark.slow) for task in ("detection", "segmentation", "multitask")),
    ],
)
def test_a_search_ends_in_a_network_that_can_be_evaluated(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tiny_run(monkeypatch, tmp_path, f"task={task}", "trainer.max_steps=1") == 0
    checkpoint, data = tmp_path / "run" / "model.safetensors", f"data.root={tmp_path / 'scenes'}"
    base = ["mode=search", f"checkpoint={checkpoint}", data]
    assert trident(monkeypatch, *base, f"run_dir={tmp_path / 'a'}", "search.multiply_adds=0.001") == 2
    told = capsys.readouterr().err
    assert "cannot be reached: with 8 channels everywhere the cost is" in told
    start = float(told.rpartition("starting network's is ")[2])
    folder = tmp_path / "found"
    words = [*base, *SEARCH[2:], f"search.multiply_adds={0.98 * start}", f"run_dir={folder}"]
    assert trident(monkeypatch, *words) == 0
    by_name = {one["name"]: one for one in outcome(folder)}
    assert by_name["searched"]["cost"] <= 0.98 * start
    assert by_name["uniform"]["cost"] <= by_name["searched"]["cost"]
    assert set(by_name) == {"start", "searched", "uniform", "searched_scratch", "uniform_scratch"}
    assert by_name["searched_scratch"]["cost"] == by_name["searched"]["cost"]
    scratch = load_file(folder / "searched_scratch_model.safetensors")
    tuned = load_file(folder / "model.safetensors")
    assert {name: tensor.shape for name, tensor in scratch.items()} == {n: t.shape for n, t in tuned.items()}
    assert not torch.equal(scratch["backbone.stem.conv.weight"], tuned["backbone.stem.conv.weight"])
    found = from_plain(read(str(folder / "architecture.yaml")))
    saved = read_header(str(folder / "model.safetensors"))
    assert saved.choices["backbone"] == "searched"
    assert from_plain(saved.config["backbone"]["architecture"]) == found
    assert "<table" in (folder / "report.html").read_text(encoding="utf-8")
    evaluated = tmp_path / "evaluated"
    assert trident(
        monkeypatch, "mode=evaluate", f"checkpoint={folder / 'model.safetensors'}", data, f"run_dir={evaluated}"
    ) == 0  # fmt: skip
    metrics = json.loads((evaluated / "metrics.json").read_text(encoding="utf-8"))
    assert metrics == json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def same_results(one: Path, other: Path) -> None:
    """Architectures, outcomes and weights of two searches are equal bit for bit."""
    names = {path.name for path in one.glob("*architecture.yaml")} | {"outcome.json"}
    assert names == {path.name for path in other.glob("*architecture.yaml")} | {"outcome.json"}
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    for path in one.glob("*model.safetensors"):
        mine, its = load_file(path), load_file(other / path.name)
        assert mine.keys() == its.keys()
        assert all(torch.equal(mine[name], its[name]) for name in mine), path.name


def test_a_search_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped among the proposals, and in the long trainings: what was trained before is not trained again."""
    assert tiny_run(monkeypatch, tmp_path, "task=classification", "trainer.max_steps=1") == 0
    words = [f"checkpoint={tmp_path / 'run' / 'model.safetensors'}", f"data.root={tmp_path / 'scenes'}", *SEARCH]
    words += ["search.long_steps=4", "search.scratch_steps=3", "search.save_every=2"]
    steps, stops = 0, set[int]()
    learn = Tuning.learn

    def counting(tuning: Tuning, batch: Any) -> None:
        nonlocal steps
        if steps in stops:
            stops.remove(steps)
            raise KeyboardInterrupt
        steps += 1
        learn(tuning, batch)

    monkeypatch.setattr(Tuning, "learn", counting)
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'whole'}") == 0
    in_all, steps = steps, 0
    # The last 14 or more are 4 of the searched network, 4 and as many as there were iterations of the uniform one, and
    # 3 from scratch of each.
    stops = {1, 3, in_all - 12, in_all - 8, in_all - 1}
    codes = [trident(monkeypatch, *words, f"run_dir={tmp_path / 'parts'}") for _ in range(6)]
    assert codes == [130] * 5 + [0]
    assert not stops
    assert steps <= in_all + 5, "each stop repeats what was not saved: one step at most"
    same_results(tmp_path / "whole", tmp_path / "parts")
    assert not list((tmp_path / "parts").glob("*training*"))
    steps = 0
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'parts'}") == 0
    assert steps == 0, "a finished search is not done again"
    same_results(tmp_path / "whole", tmp_path / "parts")
    (tmp_path / "parts" / "outcome.json").write_text("[{}]", encoding="utf-8")
    capsys.readouterr()
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'parts'}") == 2
    assert "outcome.json: is damaged" in capsys.readouterr().err


BLOCKS = (
    "mode=search", "search=blocks", "task=classification", *(word for word in TINY if not word.startswith("trainer")),
    "data.train_scenes=24", "search.multiply_adds=3", "search.steps=4", "search.save_every=2", "search.candidates=8",
    "search.population=3", "search.parents=2", "search.ranked_steps=1", "search.long_steps=3", "search.recalibration=1",
)  # fmt: skip


def test_a_search_over_blocks_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*BLOCKS, f"data.root={tmp_path / 'scenes'}"]
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'whole'}") == 0
    learn, score, tune = Supernet.learn, BlockSearch.score, Tuning.learn
    calls = 0

    def stopping(of: Any) -> Any:
        def call(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls in (4, 10, 26, 37):
                raise KeyboardInterrupt
            return of(*args)

        return call

    monkeypatch.setattr(Supernet, "learn", stopping(learn))
    monkeypatch.setattr(BlockSearch, "score", stopping(score))
    monkeypatch.setattr(Tuning, "learn", stopping(tune))
    parts = [*words, f"run_dir={tmp_path / 'parts'}"]
    for _ in range(4):
        assert trident(monkeypatch, *parts) == 130
    assert (tmp_path / "parts" / "architecture.yaml").is_file()
    told = capsys.readouterr()
    assert "the best network so far" in told.out + told.err
    assert trident(monkeypatch, *parts) == 0
    same_results(tmp_path / "whole", tmp_path / "parts")
    for name in ("front.json", "ranking.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert {one["name"] for one in outcome(tmp_path / "whole")} == {"searched", "random", "uniform"}
    assert len(json.loads((tmp_path / "whole" / "ranking.json").read_text(encoding="utf-8"))["scratch"]) == 8
    assert "<polyline" in (tmp_path / "whole" / "report.html").read_text(encoding="utf-8")
    wrong = [*words, f"run_dir={tmp_path / 'less'}", "search.multiply_adds=0.01"]
    assert trident(monkeypatch, *wrong) == 2
    assert "cannot be reached: the smallest network of the space costs" in capsys.readouterr().err


def test_the_words_of_a_search_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trident(monkeypatch, "mode=search", "task=detection") == 2
    assert "give one of them, in milliseconds or in millions" in capsys.readouterr().err
    assert trident(monkeypatch, "mode=search", "task=detection", "search.latency=3") == 2
    assert "mode=search: give checkpoint=FILE" in capsys.readouterr().err
    assert trident(monkeypatch, "mode=search", "search=blocks", "search.latency=3") == 2
    assert "mode=search: give run_dir=FOLDER" in capsys.readouterr().err
    blocks = ["mode=search", "search=blocks", "search.latency=3", f"run_dir={tmp_path}"]
    assert trident(monkeypatch, *blocks, "checkpoint=x.safetensors") == 2
    capsys.readouterr()
    assert trident(monkeypatch, *blocks, "backbone.weights=x.safetensors") == 2
    assert "backbone.weights=x.safetensors: search=blocks starts" in capsys.readouterr().err
    assert trident(monkeypatch, *blocks, "backbone.freeze_bn=true") == 2
    assert "a backbone from a random start has nothing worth keeping" in capsys.readouterr().err
    assert trident(monkeypatch, "mode=search", "search=block", "search.latency=3") == 2
    assert "blocks" in capsys.readouterr().err


def test_a_latency_table_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["mode=latency", "task=detection", *TINY[:2], "latency.passes=3"]
    words.append(f"latency.table={tmp_path / 'table.json'}")
    sums = []
    for name in "ab":
        assert trident(monkeypatch, *words, f"run_dir={tmp_path / name}") == 0
        told = json.loads((tmp_path / name / "latency_sum.json").read_text(encoding="utf-8"))
        assert told["whole"]["passes"] == 3
        sums.append(told["sum_ms"])
    assert sums[0] == sums[1] > 0
