"""Signals, durations and the run folder."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from backbone.errors import InputError
from tasks.runs import folder as run_folder
from tasks.runs.log import duration
from tasks.training.callbacks import GracefulStop

if TYPE_CHECKING:
    from pathlib import Path


def trainer(**values: Any) -> Any:
    return cast("Any", SimpleNamespace(should_stop=False, **values))


def test_first_signal_is_noted_and_the_second_is_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    stop = GracefulStop(steps=10)
    with stop.listening():
        assert not stop.interrupted
        signal.raise_signal(signal.SIGINT)
        assert stop.interrupted
        assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyError), stop.listening():
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is before


def test_stops_after_the_last_step() -> None:
    during = trainer(global_step=10)
    GracefulStop(steps=10).on_train_batch_end(during)
    assert during.should_stop


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
