"""The split of a training's time, by a clock that is set by hand."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import torch

from tasks.training import time_split
from tasks.training.time_split import TimeSplit, advice
from tests.e2e.command import tiny_run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Hands:
    """A clock that goes on only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def play(split: TimeSplit, clock: Hands, device: str = "cpu", workers: int = 1) -> None:
    """Two epochs of two steps, evaluated in the middle of the first and at the end of both."""
    module = cast("Any", SimpleNamespace(device=torch.device(device)))
    trainer = cast(
        "Any", SimpleNamespace(is_global_zero=True, world_size=2, train_dataloader=SimpleNamespace(num_workers=workers))
    )
    batch = SimpleNamespace(images=range(8))

    def step(waits: float) -> None:
        clock.now += waits
        split.on_train_batch_start(trainer, module, None, 0)
        clock.now += 2.0
        split.on_before_backward(trainer, module, None)
        clock.now += 3.0
        split.on_after_backward(trainer, module)
        clock.now += 0.5
        split.on_train_batch_end(trainer, module, None, batch, 0)

    def evaluate() -> None:
        split.on_validation_start(trainer, module)
        clock.now += 10.0

    clock.now += 7.0
    split.on_fit_start(trainer, module)
    clock.now += 4.0
    split.on_train_epoch_start(trainer, module)
    step(1.0)
    evaluate()
    step(0.25)
    evaluate()
    split.on_train_epoch_start(trainer, module)
    step(1.5)
    step(0.75)
    evaluate()
    split.on_train_end(trainer, module)


def test_every_second_goes_to_one_part(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Hands()
    split = TimeSplit(tmp_path, clock=clock)
    with caplog.at_level(logging.INFO):
        play(split, clock)
    expected = {
        "start": 4.0 + 1.0, "loading": 1.5 + 0.75, "forward": 8.0, "backward": 12.0, "optimiser": 2.0,
        "evaluation": 30.0 + 0.25,
    }  # fmt: skip
    assert json.loads((tmp_path / "time.json").read_text()) == {"steps": 4, "images": 64, "seconds": expected}
    assert sum(expected.values()) == clock.now - 1007.0
    assert caplog.messages == [
        "time: 1 min 0 s, 6062 ms a step: start 8 %, loading 4 %, forward 13 %, backward 20 %, optimiser 3 %, "
        "evaluation 51 %"
    ]


def test_parts_on_a_gpu_are_not_told_apart_unless_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[None] = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: waited.append(None))
    for synchronise, names in (
        (False, ["start", "loading", "computing", "evaluation"]),
        (True, list(time_split.PARTS)),
    ):
        clock = Hands()
        play(TimeSplit(tmp_path, synchronise=synchronise, clock=clock), clock, device="cuda")
        seconds = json.loads((tmp_path / "time.json").read_text())["seconds"]
        assert list(seconds) == names
        assert bool(waited) is synchronise
        assert synchronise or seconds["computing"] == 22.0


def test_says_so_when_steps_wait_for_data(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_split, "usable_cores", lambda: 8)
    monkeypatch.setattr(time_split, "WAITS", 0.05)
    clock = Hands()
    with caplog.at_level(logging.INFO):
        play(TimeSplit(tmp_path, clock=clock), clock, workers=2)
    assert caplog.messages[1] == (
        "a step of 6062 ms waits 562 ms for data; raise data.workers, which is 2: there are 8 cores"
    )


def test_advice_does_not_ask_for_more_than_the_cores() -> None:
    assert advice(0, 2) == "raise data.workers, which is 0: there are 2 cores"
    assert advice(1, 2).startswith("data.workers=1 uses the 2 cores")


def test_a_training_without_a_step_leaves_no_file(tmp_path: Path) -> None:
    trainer = cast("Any", SimpleNamespace(is_global_zero=True))
    TimeSplit(tmp_path).on_train_end(trainer, trainer)
    assert not (tmp_path / "time.json").exists()


def test_a_real_training_is_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert tiny_run(monkeypatch, tmp_path, "task=classification", "trainer.validate_every=1") == 0
    time = json.loads((tmp_path / "run/time.json").read_text())
    assert time["steps"] == 3
    assert all(seconds > 0 for seconds in time["seconds"].values())
    assert " ms a step: start " in capfd.readouterr().out
