"""Experiments that list their values themselves, and means over seeds, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra

from conf.schema import register
from tasks.cli.compose import read
from tasks.commands.sweep.plan import Job, plan
from tasks.commands.sweep.results import Mean, means, metric_name
from tasks.commands.sweep.row import Row
from tasks.commands.sweep.sweep import _with_listed
from tasks.papers.ablations import ANSWERS, answers

FOLDER = Path(__file__).resolve().parents[3] / "conf" / "experiment"
NAMES = sorted(path.stem for path in FOLDER.glob("ablation_*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_lists_its_runs(name: str) -> None:
    """Each composes and is checked, with three seeds of everything, beside what its paper says."""
    register()
    with initialize_config_module("conf", version_base="1.3"):
        planned = plan(_with_listed([f"experiment={name}"], []), GlobalHydra.instance().config_loader())
        configs = [read([*job.words, "run_dir=x"])[0] for job in planned.jobs]
        fewer = plan(_with_listed([f"experiment={name}", "seed=7"], []), GlobalHydra.instance().config_loader())
    assert sorted(config.seed for config in configs) == sorted([1, 2, 3] * (len(configs) // 3))
    assert len(planned.jobs) == 3 * len(fewer.jobs)
    assert answers(planned.jobs[0].varied)


def test_every_answer_has_its_experiment() -> None:
    texts = [(FOLDER / f"{name}.yaml").read_text() for name in NAMES]
    assert all(any(f"      {key}: " in text for text in texts) for key in ANSWERS)


def test_jobs_of_several_tasks_have_each_their_metric() -> None:
    jobs = [Job("a", (), {"task": "detection"}, ("map",)), Job("b", (), {"task": "segmentation"}, ("miou",))]
    assert metric_name(jobs) == "main metric"
    assert metric_name(jobs[:1]) == "map"
    assert metric_name([Job("c", (), {}, ("map", "miou"))]) == "mean of map, miou"


def test_means_over_seeds() -> None:
    def row(linear: str, seed: str, figure: float | None) -> Row:
        return Row(name=f"{linear}{seed}", varied={"linear": linear, "seed": seed}, metric=figure)

    rows = [row("true", "1", 0.5), row("true", "2", 0.7), row("false", "1", 0.4), row("false", "2", None)]
    found = means(rows)
    assert found == [
        Mean({"linear": "true"}, 2, 0.6, pytest.approx(0.02**0.5)),
        Mean({"linear": "false"}, 1, 0.4, None),
    ]
    assert means([Row(name="a", varied={"linear": "true"}, metric=0.5)]) == []
