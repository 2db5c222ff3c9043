"""`trainer.precision=auto`: the faster type is taken, kept by a training that goes on, refused where nothing trains."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import torch

from backbone.errors import InputError
from tasks.config.run import Mode, RunConfig
from tasks.config.training import AUTO, TrainerConfig
from tasks.training import precision
from tasks.training.precision import fastest
from tests.e2e.command import tiny_run
from tests.e2e.kills import fingerprint
from tests.e2e.test_resume import at_step

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("gain", "expected"), [(2.0, "bf16-mixed"), (1.2, "bf16-mixed"), (1.1, "32-true"), (0.5, "32-true")]
)
def test_bfloat16_is_taken_where_it_pays(gain: float, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "gain", lambda: gain)
    assert fastest(torch.device("cpu")) == expected


@pytest.mark.parametrize(("has", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_is_taken_at_its_word(has: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has)
    assert fastest(torch.device("cuda")) == expected


def test_the_trial_leaves_the_random_state() -> None:
    before = torch.get_rng_state()
    assert precision.gain() > 0
    assert torch.equal(before, torch.get_rng_state())


def test_what_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"trainer\.precision=bf16: must be one of 32-true, bf16-mixed, 16-mixed, auto"
    ):
        TrainerConfig(max_steps=1, precision="bf16")
    with pytest.raises(
        InputError, match=r"trainer\.precision=auto: needs mode=train; must be one of 32-true, bf16-mixed"
    ):
        RunConfig(mode=Mode.profile, trainer=TrainerConfig(max_steps=1, precision=AUTO))


def test_a_training_keeps_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends as one that was told the type, also where the other one is faster when it goes on."""
    words = ("task=classification", f"data.root={tmp_path / 'scenes'}", "trainer.max_steps=4")
    assert tiny_run(monkeypatch, tmp_path / "told", *words, "trainer.precision=bf16-mixed") == 0
    words = (*words, "trainer.precision=auto", "trainer.checkpoint_every=1")
    with monkeypatch.context() as patch:
        patch.setattr(precision, "gain", lambda: 2.0)
        at_step(patch, 2, lambda: signal.raise_signal(signal.SIGINT))
        assert tiny_run(patch, tmp_path / "found", *words) == 130
    assert (
        "trainer.precision=auto: bf16-mixed, bfloat16 is 2.00 times as fast as float32 here" in capsys.readouterr().out
    )
    monkeypatch.setattr(precision, "gain", lambda: 0.5)
    assert tiny_run(monkeypatch, tmp_path / "found", *words) == 0
    ours, told = (fingerprint(tmp_path / name / "run") for name in ("found", "told"))
    assert ours["model"] == told["model"]
    assert "precision: bf16-mixed" in (tmp_path / "found" / "run" / "config.yaml").read_text()
