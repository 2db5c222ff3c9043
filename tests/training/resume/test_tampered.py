"""Checkpoints whose checksum is right and whose contents are not: anybody can compute a checksum."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from backbone.errors import InputError
from tasks.training.resume.checkpoints import Best, Checkpoints
from tasks.training.resume.file import DamagedFileError, read, write
from tasks.training.resume.place import Position
from tests.e2e.command import tiny_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLACE = Position(epoch=0, batch=1, batches=1, step=1, logged=1)


class Stranger:
    """What a pickle could make run."""


def whole() -> dict[str, Any]:
    return {
        "place": PLACE.to_plain(), "best": {"step": 1, "figure": 0.5}, "state": {"state_dict": {"w": torch.ones(2)}},
        "facts": {}, "rows": 1, "rng": [{}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("place", {"epoch": 0}), ("place", PLACE.to_plain() | {"step": -1}), ("place", "x"),
        ("place", PLACE.to_plain() | {"step": True}), ("best", {"step": 1, "figure": float("nan")}), ("best", [1]),
        ("best", {"step": "1", "figure": 0.5}), ("state", {}), ("state", {"state_dict": {"w": 1}}), ("facts", None),
        ("rows", 1.5), ("rows", None), ("rng", {}), ("rng", [1]),
    ],
)  # fmt: skip
def test_a_part_of_another_kind(tmp_path: Path, part: str, value: Any) -> None:
    kept = Checkpoints(tmp_path)
    kept.write_best(Best(1, 0.5), {"w": torch.zeros(2)})
    path = tmp_path / "step_000001.ckpt"
    write(path, whole(), {})
    found = kept.newest()
    assert found is not None
    assert (found.place, found.best, found.rows) == (PLACE, Best(1, 0.5), 1)
    write(path, whole() | {part: value}, {})
    with pytest.raises(InputError, match=r"none of its 1 checkpoints is whole"):
        kept.newest()


def test_best_weights_of_another_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Checkpoints(tmp_path)
    kept.write_best(Best(1, 0.5), {"w": torch.zeros(3)})
    write(tmp_path / "step_000001.ckpt", whole(), {})
    with pytest.raises(InputError):
        kept.newest()
    assert "needs best_000001.ckpt, which holds the weights of another model" in caplog.text


@pytest.mark.parametrize(
    "content", [{"x": Stranger()}, {"x": Stranger}, [1], torch.ones(1)], ids=["object", "class", "list", "tensor"]
)
def test_more_than_plain_data(tmp_path: Path, content: Any) -> None:
    from tests.fuzz.runs import sealed

    torch.save(content, tmp_path / "payload")
    (tmp_path / "x.ckpt").write_bytes(sealed((tmp_path / "payload").read_bytes()))
    with pytest.raises(DamagedFileError, match=r"holds more than plain data and tensors|holds no table"):
        read(tmp_path / "x.ckpt")


def shorter_optimiser(content: dict[str, Any]) -> None:
    content["state"]["optimizer_states"][0]["param_groups"].pop()


def other_weights(content: dict[str, Any]) -> None:
    content["state"]["state_dict"].popitem()


def no_generators(content: dict[str, Any]) -> None:
    content["rng"] = [{}]


def test_states_that_do_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = (
        "trainer.max_steps=2",
        "trainer.checkpoint_every=1",
        "evaluation.drawn_images=0",
        "logger.tensorboard=false",
    )
    assert tiny_run(monkeypatch, tmp_path, *words) == 0
    run = tmp_path / "run"
    note = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(note | {"finished": False}))
    checkpoint = run / "checkpoints" / "step_000001.ckpt"
    assert checkpoint.is_file()
    for path in (run / "checkpoints").glob("step_000002.ckpt"):
        path.unlink()
    kept = checkpoint.read_bytes()
    tampers: tuple[Callable[[dict[str, Any]], None], ...] = (shorter_optimiser, other_weights, no_generators)
    for tamper in tampers:
        checkpoint.write_bytes(kept)
        content = read(checkpoint)
        content["best"] = None
        tamper(content)
        write(checkpoint, content, {})
        capsys.readouterr()
        assert tiny_run(monkeypatch, tmp_path, *words) == 2, tamper
        last = capsys.readouterr().err.splitlines()[-1]
        assert f"{checkpoint}: does not fit this training (" in last, tamper
