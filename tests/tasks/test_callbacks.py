"""Signals, durations and the run folder."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch

from backbone.errors import InputError
from tasks import run_folder
from tasks.callbacks import FiniteLoss, GentleStop, duration

if TYPE_CHECKING:
    from pathlib import Path


def trainer(**values: Any) -> Any:
    return cast("Any", SimpleNamespace(should_stop=False, **values))


def test_first_signal_ends_training_and_the_second_is_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    stop, during = GentleStop(steps=10), trainer(global_step=1)
    stop.on_fit_start(during, during)
    stop.on_train_batch_end(during)
    assert not during.should_stop
    signal.raise_signal(signal.SIGINT)
    stop.on_train_batch_end(during)
    assert (during.should_stop, stop.interrupted) == (True, True)
    assert signal.getsignal(signal.SIGINT) is before


def test_stops_after_the_last_step() -> None:
    during = trainer(global_step=10)
    GentleStop(steps=10).on_train_batch_end(during)
    assert during.should_stop


def test_loss_that_is_no_number() -> None:
    during = trainer(global_step=3, callback_metrics={"train/loss": torch.tensor(float("nan"))})
    with pytest.raises(InputError, match=r"the loss is nan at step 3; train with a smaller optim.learning_rate"):
        FiniteLoss().on_before_optimizer_step(during, during, None)


@pytest.mark.parametrize(("seconds", "words"), [(41.6, "42 s"), (200, "3 min 20 s"), (18600, "5 h 10 min")])
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_run_folder_by_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    folder = run_folder.choose(None, "detection")
    assert folder.parts[:2] == ("runs", "detection")
    assert not folder.exists()


def test_run_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"run_dir=.*file/run: cannot be written \(Not a directory\)"):
        run_folder.make(tmp_path / "file" / "run")
