"""How long a training is: at least so many steps, and no longer than it gets better."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from backbone.errors import InputError
from tasks.commands.budget import steps_in
from tests.e2e.command import tiny_run

if TYPE_CHECKING:
    from pathlib import Path

STILL = ("task=classification", "optim.learning_rate=1e-12", "optim.ema_decay=null")
"""Weights that stay as they are, so that no evaluation is better than the first."""


def steps_taken(folder: Path) -> int:
    steps: int = json.loads((folder / "run" / "time.json").read_text())["steps"]
    return steps


def test_ends_without_patience(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*STILL, "trainer.max_steps=6", "trainer.validate_every=1", "trainer.patience=1")
    assert tiny_run(monkeypatch, tmp_path, *words) == 0
    # 12 images in batches of 4 are 3 steps: evaluated after 3, and not better after 6, which is the last; so longer:
    assert steps_taken(tmp_path) == 6
    assert tiny_run(monkeypatch, tmp_path / "longer", *words, "trainer.max_steps=30") == 0
    assert steps_taken(tmp_path / "longer") == 6
    assert "no better evaluation since step 3 (trainer.patience=1): the training ends at step 6" in _said(capsys)
    assert (tmp_path / "longer" / "run" / "report.html").exists()
    tiny_run(monkeypatch, tmp_path / "longer", *words, "trainer.max_steps=30")
    assert "step 9" not in _said(capsys)  # it is finished


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    both = capsys.readouterr()
    return both.out + both.err


def test_few_images_get_more_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ("task=classification", "trainer.max_steps=null", "trainer.max_epochs=1")
    assert tiny_run(monkeypatch, tmp_path, *words, "trainer.min_steps=5") == 0
    assert steps_taken(tmp_path) == 5
    assert tiny_run(monkeypatch, tmp_path / "epochs", *words, "trainer.min_steps=2") == 0
    assert steps_taken(tmp_path / "epochs") == 3


def test_steps_fit_into_minutes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert steps_in(10, step=1.5, evaluation=60) == int((570 - 60) / 1.5)
    with pytest.raises(InputError, match=r"trainer.minutes=1: leaves no time for a step: one takes 2 s, all evalu"):
        steps_in(1, step=2.0, evaluation=60)
    monkeypatch.setattr("tasks.commands.budget._measured", lambda *_: (1.5, 50.0))
    words = ("task=classification", "trainer.max_steps=null", "trainer.minutes=1")
    assert tiny_run(monkeypatch, tmp_path, *words) == 0
    assert steps_taken(tmp_path) == int((57 - 50) / 1.5)
    assert "trainer.minutes=1: 4 steps, by 1.5 s for a step and 50 s for all evaluations" in _said(capsys)


def test_a_step_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = []
    monkeypatch.setattr("tasks.commands.budget.steps_in", lambda *told: measured.append(told) or 2)
    words = ("task=detection", "trainer.max_steps=null", "trainer.minutes=1")
    assert tiny_run(monkeypatch, tmp_path, *words) == 0
    minutes, step, evaluation = measured[0]
    assert minutes == 1
    assert 0 < step < 60
    assert 0 < evaluation < 60


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trainer.minutes=0", "trainer.max_steps=null"), "trainer.minutes=0.0: must be positive"),
        (("trainer.minutes=2",), "trainer.minutes=2.0, trainer.max_steps=3: give one of them"),
        (("trainer.patience=0",), "trainer.patience=0: must be at least 1"),
    ],
)
def test_bad_lengths_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...],
    message: str,
) -> None:  # fmt: skip
    assert tiny_run(monkeypatch, tmp_path, *words) == 2
    assert message in _said(capsys)
