"""What is logged reaches a service in order, however it fails, and a training neither waits for it nor ends with it."""

from __future__ import annotations

import json
import logging
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
import torch

from backbone.errors import InputError
from tasks.config.logger import LoggerConfig, MlflowConfig
from tasks.training.services import service_of
from tasks.training.tracker import NOTE, Tracker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG = {"seed": 0}


class RefusedError(Exception):
    """The same request would be refused again."""


class FakeService:
    """Keeps what it is told.

    Args:
        fails: what its next calls raise, in their order; None: nothing.
    """

    name = "wandb"

    def __init__(self, fails: list[Exception | None] | None = None) -> None:
        self.run: str | None = None
        self.address = "http://there"
        self.told: list[Any] = []
        self.fails = fails or []

    def _call(self, what: Any) -> None:
        if self.fails and (error := self.fails.pop(0)) is not None:
            raise error
        self.told.append(what)

    def connect(self) -> None:
        self._call("connect")

    def begin(self, run: str | None, config: Mapping[str, Any], file: Path) -> None:
        self._call(("begin", run, file.name))
        self.run = run or "new"

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self._call((dict(metrics), step))

    def log_image(self, name: str, file: Path, step: int) -> None:
        self._call((name, file.name, step))

    def finish(self, *, succeeded: bool) -> None:
        self._call(succeeded)

    def refuses(self, error: Exception) -> bool:
        return isinstance(error, RefusedError)


def tracker_of(service: FakeService, folder: Path, end_s: float = 20.0) -> Tracker:
    return Tracker(service, folder, pause_s=(0.01, 0.02), end_s=end_s)


def test_everything_reaches_the_service_in_order(tmp_path: Path) -> None:
    service = FakeService()
    tracker = tracker_of(service, tmp_path)
    assert tracker.loggers == [tracker]
    tracker.connect()
    tracker.begin(CONFIG)
    assert json.loads((tmp_path / NOTE).read_text()) == {"wandb": "new"}
    tracker.log_metrics({"train/loss": torch.tensor(0.5)}, 9)  # type: ignore[dict-item]
    for name in ("contact_sheet", "contact_sheet_test"):
        (tmp_path / f"{name}.png").touch()
    (tmp_path / "metrics.json").write_text('{"val": {"map": 0.25, "map/dog": null}}')
    tracker.log_results(is_done=True)
    tracker.close()
    sheets = [("contact_sheet", "contact_sheet.png", 9), ("contact_sheet_test", "contact_sheet_test.png", 9)]
    begun = ["connect", ("begin", None, "config.yaml")]
    assert service.told == [*begun, ({"train/loss": 0.5}, 9), ({"best/val/map": 0.25}, 9), *sheets, True]


def test_a_training_that_goes_on_does_so_in_the_same_run(tmp_path: Path) -> None:
    (tmp_path / NOTE).write_text('{"wandb": "abc", "mlflow": "def"}')
    service = FakeService()
    tracker = tracker_of(service, tmp_path)
    tracker.begin(CONFIG)
    tracker.close()
    assert service.told == [("begin", "abc", "config.yaml"), False]
    assert json.loads((tmp_path / NOTE).read_text()) == {"wandb": "abc", "mlflow": "def"}


def test_what_fails_for_a_while_is_sent_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    service = FakeService([None, OSError("gone"), OSError("gone"), OSError("gone")])
    tracker = tracker_of(service, tmp_path)
    tracker.begin(CONFIG)
    for step in range(3):
        tracker.log_metrics({"a": step}, step)
    while service.fails:
        pass
    tracker.close()
    assert service.told[1:] == [({"a": 0}, 0), ({"a": 1}, 1), ({"a": 2}, 2), False]
    said = "logger=wandb: failed (OSError: gone): the training goes on, what is logged waits until it answers"
    assert [record.getMessage() for record in caplog.records] == [said]


def test_what_is_refused_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    service = FakeService([None, RefusedError("no such name")])
    tracker = tracker_of(service, tmp_path)
    tracker.begin(CONFIG)
    for step in range(3):
        tracker.log_metrics({"a": step}, step)
    tracker.close()
    assert service.told[1:] == [({"a": 1}, 1), ({"a": 2}, 2), False]
    assert (
        "1 of 4 entries did not get there (RefusedError: no such name); all metrics are in the run folder"
        in caplog.text
    )


def test_the_end_does_not_wait_for_a_service_that_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    service = FakeService([None, *[OSError("gone")] * 1000])
    tracker = tracker_of(service, tmp_path, end_s=0.1)
    tracker.begin(CONFIG)
    tracker.log_metrics({"a": 1}, 1)
    tracker.close()
    assert "2 of 2 entries did not get there (OSError: gone)" in caplog.text
    hangs, done = FakeService(), Event()
    hangs.finish = lambda **_: done.wait(60)  # type: ignore[method-assign, assignment, misc]
    tracker = tracker_of(hangs, tmp_path, end_s=0.1)
    tracker.begin(CONFIG)
    tracker.close()
    assert "logger=wandb: 1 of 2 entries did not get there; all" in caplog.text
    done.set()


def test_a_new_run_must_reach_the_service_and_an_old_one_goes_on_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InputError, match="nobody is logged in"):
        tracker_of(FakeService([InputError("nobody is logged in")]), tmp_path).connect()
    with pytest.raises(InputError, match=r"logger=wandb: cannot begin a run there \(OSError: no such team\)"):
        tracker_of(FakeService([OSError("no such team\nmore")]), tmp_path).begin(CONFIG)
    (tmp_path / NOTE).write_text('{"wandb": "abc"}')
    service = FakeService([InputError("nobody is logged in"), OSError("gone")])
    tracker = tracker_of(service, tmp_path)
    tracker.connect()
    tracker.begin(CONFIG)
    tracker.close()
    assert "nobody is logged in; the training goes on, and what it logs waits for it" in caplog.text
    assert service.told == [("begin", "abc", "config.yaml"), False]


@pytest.mark.parametrize("note", ["", "[]", '{"wandb": 3}', '{"mlflow": "a"}'])
def test_a_damaged_note_is_none(tmp_path: Path, note: str) -> None:
    (tmp_path / NOTE).write_text(note)
    service = FakeService()
    tracker = tracker_of(service, tmp_path)
    tracker.begin(CONFIG)
    tracker.close()
    assert service.told[0] == ("begin", None, "config.yaml")


def test_without_a_service_nothing_happens(tmp_path: Path) -> None:
    assert service_of(LoggerConfig(), tmp_path) is None
    tracker = Tracker(None, tmp_path)
    tracker.connect()
    tracker.begin(CONFIG)
    tracker.log_results(is_done=True)
    tracker.close()
    assert (tracker.loggers, tracker.name, tracker.version) == ([], "", "")
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_none() -> None:
    with pytest.raises(InputError, match=r"logger\.tracking_uri=localhost:5000: must be an address such as http://"):
        MlflowConfig(tracking_uri="localhost:5000")
    with pytest.raises(InputError, match=r"logger\.every_steps=0: must be at least 1"):
        MlflowConfig(every_steps=0)
