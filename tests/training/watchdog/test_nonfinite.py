"""A loss that is not finite, through the command line."""

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tasks.vision_task import VisionTask
from tests.e2e.command import tiny_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WORDS = (
    "task=classification", "backbone.width=0.35", "data.train_scenes=10", "data.val_scenes=2", "trainer.max_steps=5",
    "logger.every_steps=1", "trainer.checkpoint_every=1", "trainer.validate_every=9", "optim.ema_decay=null",
)  # fmt: skip


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the loss of some steps NaN, and the batch statistics too, as a broken image would."""
    usual = VisionTask.training_step
    seen: list[torch.Tensor] = []

    def at(steps: Sequence[int], value: float = math.nan) -> list[torch.Tensor]:
        def step(task: VisionTask, batch: Any, batch_idx: int) -> Any:
            loss = usual(task, batch, batch_idx)
            if task.global_step in steps:
                seen.append(batch.images)
                for name, buffer in task.named_buffers():
                    if name.endswith("running_mean"):
                        buffer.data.fill_(math.nan)  # as its layer does, behind the back of autograd
                return loss * value
            return loss

        monkeypatch.setattr(VisionTask, "training_step", step)
        return seen

    return at


def losses(folder: Path) -> list[float]:
    rows = csv.DictReader((folder / "run/csv/metrics.csv").read_text().splitlines())
    return [float(row["train/loss"]) for row in rows if row["train/loss"]]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "run/model.safetensors")


def test_stops_and_keeps_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spoil: Any
) -> None:
    seen = spoil([1])
    assert tiny_run(monkeypatch, tmp_path, *WORDS) == 2
    said = capsys.readouterr().err
    where = tmp_path / "run/nonfinite/step_000001"
    assert f"the loss is nan at step 1; its images are in {where}; train with a smaller optim.learning_rate" in said
    found = json.loads((where / "batch.json").read_text())
    assert (found["step"], found["epoch"], found["batch"], found["loss"]) == (1, 0, 1, "nan")
    assert len(found["images"]) == 4
    for image, told in zip(seen[0], found["images"], strict=True):
        picture = cv2.imread(str(where / told["picture"]))
        assert picture is not None
        assert np.array_equal(picture[..., ::-1], image.permute(1, 2, 0).numpy())
        assert told["file"].startswith(str(tmp_path / "scenes"))
    assert len(found["targets"]["classification"]["labels"]) == 4


def test_skips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spoil: Any) -> None:
    """The weights after the skipped step are those before it: as checkpoints of that training show."""
    spoil([2], math.inf)
    assert tiny_run(monkeypatch, tmp_path, *WORDS, "trainer.on_nonfinite=skip") == 0
    assert "the loss is inf at step 2: this step is skipped; its images are in" in capsys.readouterr().out
    assert all(bool(weight.isfinite().all()) for weight in weights(tmp_path).values())
    assert [math.isfinite(loss) for loss in losses(tmp_path)] == [True] * 5  # logged before it was spoiled


def test_goes_back_and_leaves_the_batch_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spoil: Any
) -> None:
    """Going back to before the step and leaving it out is the same as skipping it."""
    spoil([2])
    assert tiny_run(monkeypatch, tmp_path / "skip", *WORDS, "trainer.on_nonfinite=skip") == 0
    words = (*WORDS, "trainer.on_nonfinite=roll_back", "trainer.checkpoint_every=100")
    assert tiny_run(monkeypatch, tmp_path / "back", *words) == 0
    said = capsys.readouterr().out
    assert "the loss is nan at step 2: going back to the last checkpoint, and on without this batch" in said
    assert "going on after step 0 of 5, from step_000000.ckpt" in said
    assert losses(tmp_path / "skip") == losses(tmp_path / "back")
    skipped, back = weights(tmp_path / "skip"), weights(tmp_path / "back")
    assert all(torch.equal(skipped[name], back[name]) for name in skipped)
    assert json.loads((tmp_path / "back/run/nonfinite/skipped.json").read_text()) == [2]


@pytest.mark.parametrize("action", ["skip", "roll_back"])
def test_a_limit(
    action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spoil: Any
) -> None:
    spoil([1, 2, 3])
    words = (*WORDS, f"trainer.on_nonfinite={action}", "trainer.nonfinite_limit=2")
    assert tiny_run(monkeypatch, tmp_path, *words) == 2
    assert "the loss is nan at step 3, after 2 others (trainer.nonfinite_limit); images of" in capsys.readouterr().err
