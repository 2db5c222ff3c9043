"""Which checkpoints stay, and which one a training goes on from."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import torch

from backbone.errors import InputError
from tasks.training.resume.checkpoints import Best, Checkpoint, Checkpoints
from tasks.training.resume.keeper import check_facts
from tasks.training.resume.place import Position

if TYPE_CHECKING:
    from pathlib import Path


def place(step: int) -> Position:
    return Position(epoch=1, batch=step, batches=step, step=step, logged=step)


def save(kept: Checkpoints, step: int, best: Best | None = None) -> Path:
    where = kept.path(place(step))
    state = {"state_dict": {"w": torch.full((100,), float(step))}}
    kept.write(Checkpoint(where, place(step), best, state, {"steps": 9}, step, [{}]))
    return where


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_two_stay_and_the_best_weights_that_they_name(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    assert kept.newest() is None
    first, second = Best(1, 0.5), Best(3, 0.75)
    kept.write_best(first, {"w": torch.ones(100)})
    for step in (1, 2):
        save(kept, step, first)
    kept.write_best(second, {"w": torch.zeros(100)})
    (tmp_path / "step_000099.ckpt.part").touch()
    save(kept, 3, second)
    assert names(tmp_path) == ["best_000001.ckpt", "best_000003.ckpt", "step_000002.ckpt", "step_000003.ckpt"]
    save(kept, 10, second)
    assert names(tmp_path) == ["best_000003.ckpt", "step_000003.ckpt", "step_000010.ckpt"]
    found = kept.newest()
    assert found is not None
    assert (found.place, found.best, found.rows, found.facts) == (place(10), second, 10, {"steps": 9})
    assert torch.equal(kept.read_best(second)["w"], torch.zeros(100))


def test_numbers_of_more_than_six_digits_are_in_order(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    for step in (999_999, 1_000_000):
        save(kept, step)
    found = kept.newest()
    assert found is not None
    assert found.place.step == 1_000_000


def test_a_damaged_one_is_named_and_the_one_before_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Checkpoints(tmp_path)
    save(kept, 1)
    last = save(kept, 2)
    whole = last.read_bytes()
    for length in range(0, len(whole), len(whole) // 24):
        last.write_bytes(whole[:length])
        caplog.clear()
        found = kept.newest()
        assert found is not None
        assert found.place.step == 1
        (line,) = caplog.messages
        assert line.startswith("checkpoint step_000002.ckpt is cut short")
        assert line.endswith("going on from the one before")


def test_best_weights_that_are_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Checkpoints(tmp_path)
    save(kept, 1)
    best = Best(2, 0.5)
    kept.write_best(best, {})
    save(kept, 2, best)
    kept.best_path(best).write_bytes(b"TRIDENT1")
    with caplog.at_level(logging.WARNING):
        found = kept.newest()
    assert found is not None
    assert found.place.step == 1
    assert "step_000002.ckpt needs best_000002.ckpt, which is cut short" in caplog.text
    with pytest.raises(InputError, match=r"best_000002.ckpt: is cut short; copy it from a backup"):
        kept.read_best(best)


def test_notes_that_cannot_be_read_keep_all_best_weights(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    kept.write_best(Best(1, 0.1), {})
    save(kept, 1, Best(1, 0.1)).write_bytes(b"TRIDENT1")
    save(kept, 2)
    assert "best_000001.ckpt" in names(tmp_path)


def test_none_is_whole(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    for step in (1, 2):
        save(kept, step).write_bytes(b"")
    with pytest.raises(InputError, match=r"none of its 2 checkpoints is whole; put one back from a backup, or train"):
        kept.newest()


def test_data_that_differ(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Checkpoints(tmp_path)
    save(kept, 1)
    found = kept.newest()
    assert found is not None
    check_facts(tmp_path, found, {"steps": 9}, 1)
    with pytest.raises(InputError, match=r"cannot go on, .*: images None -> 10, processes 1 -> 2; put them back"):
        check_facts(tmp_path, found, {"steps": 9, "images": 10}, 2)
    assert not caplog.messages
    check_facts(tmp_path, found, {"steps": 9, "torch": "9.9"}, 1)
    assert caplog.messages == [
        "this training began with another version (torch None -> 9.9): its weights may differ in the last bits"
    ]
