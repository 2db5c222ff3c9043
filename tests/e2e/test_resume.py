"""Trainings that are stopped and go on: what they leave is what an undisturbed one leaves, bit for bit."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.numpy import load_file

from tasks.vision_task import VisionTask
from tests.e2e.command import tiny_run
from tests.e2e.kills import digest, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RESUMED = ("data.train_scenes=10", "data.val_scenes=2", "trainer.max_steps=7", "trainer.checkpoint_every=2")
"""Three batches of 4, 4 and 2 images in a pass; the evaluations are after every step."""
CASES = {
    "classification": ("task=classification", "transform.mixup=0.2", "transform.cutmix=1.0", "data.workers=1"),
    "growing": ("task=classification", "optim=adamw", "transform.progressive=32", "transform.stages=2",
                "data.balanced_sampling=0.5", "head.class_weights=auto", "head.calibrate=true"),
    "detection": ("task=detection", "optim.ema_decay=null", "trainer.gradient_clip=1.0", "optim=rmsprop"),
    "segmentation": ("task=segmentation", "trainer.accumulate=2"),
    "multitask": (
        "task=multitask", "transform.image_size=65", "optim.balance=uncertainty", "optim.heads_first=3",
        "data.workers=2",
    ),
}  # fmt: skip


class Killed(BaseException):
    """Ends a training as nothing that is caught does."""


def at_step(monkeypatch: pytest.MonkeyPatch, wanted: int, happens: Callable[[], Any]) -> None:
    """Let something happen once in the training step after so many."""
    usual, done = VisionTask.training_step, []

    def step(task: VisionTask, batch: Any, batch_idx: int) -> Any:
        if task.global_step == wanted and not done:
            done.append(None)
            happens()
        return usual(task, batch, batch_idx)

    monkeypatch.setattr(VisionTask, "training_step", step)


def die() -> None:
    raise Killed


@pytest.mark.parametrize("case", CASES)
def test_goes_on_bit_for_bit(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle of an epoch, then stopped by Ctrl-C in another, then ended."""
    words = (*RESUMED, *CASES[case], "logger.every_steps=1", f"data.root={tmp_path / 'scenes'}")
    assert tiny_run(monkeypatch, tmp_path / "whole", *words) == 0
    folder = tmp_path / "parts"
    with monkeypatch.context() as patch:
        at_step(patch, 3, die)
        with pytest.raises(Killed):
            tiny_run(patch, folder, *words)
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: signal.raise_signal(signal.SIGINT))
        assert tiny_run(patch, folder, *words) == 130
    assert (folder / "run" / "model.safetensors").is_file()
    assert (folder / "run" / "report.html").is_file()
    assert tiny_run(monkeypatch, folder, *words) == 0
    assert fingerprint(folder / "run") == fingerprint(tmp_path / "whole" / "run")


@pytest.mark.parametrize("first", [3, 4], ids=["a whole pass", "the middle of a pass"])
def test_a_finished_training_gets_longer(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the learning rate does not follow the length, it ends as one that was longer from the start."""
    words = (*RESUMED, "task=classification", "optim.schedule=constant", "optim.warmup_steps=0", "logger.every_steps=1")
    words = (*words, f"data.root={tmp_path / 'scenes'}")
    assert tiny_run(monkeypatch, tmp_path / "whole", *words) == 0
    assert tiny_run(monkeypatch, tmp_path / "parts", *words, f"trainer.max_steps={first}") == 0
    assert tiny_run(monkeypatch, tmp_path / "parts", *words, "optim.momentum=0.5") == 2
    assert "configuration: optim.momentum 0.9 -> 0.5; to go on" in capsys.readouterr().err
    assert tiny_run(monkeypatch, tmp_path / "parts", *words) == 0
    assert f"the training grows from {first} to 7 steps: its learning rate goes on as" in capsys.readouterr().out
    assert fingerprint(tmp_path / "parts" / "run") == fingerprint(tmp_path / "whole" / "run")
    assert tiny_run(monkeypatch, tmp_path / "parts", *words, "trainer.max_steps=null", "trainer.max_epochs=1") == 2
    assert (
        "a training of 7 steps, which can be made longer, not shorter: trainer.max_steps or trainer.max_epochs come"
        in (capsys.readouterr().err)
    )
    assert tiny_run(monkeypatch, tmp_path / "parts", *words) == 0
    assert "this training is finished" in capsys.readouterr().out


def test_the_learning_rate_of_a_longer_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a cosine over the new length, by hand, from the first step on."""
    rates: list[float] = []
    usual = VisionTask.training_step

    def step(task: VisionTask, batch: Any, batch_idx: int) -> Any:
        rates.append(task.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        return usual(task, batch, batch_idx)

    monkeypatch.setattr(VisionTask, "training_step", step)
    words = ("task=classification", "optim.warmup_steps=0", "optim.learning_rate=1.0")
    assert tiny_run(monkeypatch, tmp_path, *words, "trainer.max_steps=2") == 0
    assert tiny_run(monkeypatch, tmp_path, *words, "trainer.max_steps=4") == 0
    assert rates == pytest.approx([1.0, 0.5, 0.5, 0.5 - 0.25 * 2**0.5])


def test_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """From a kill before the first checkpoint to a training that is finished."""
    words = (*RESUMED, "task=classification")
    for step, said in ((1, ""), (5, "holds no checkpoint yet: the training begins again")):
        with monkeypatch.context() as patch:
            at_step(patch, step, die)
            with pytest.raises(Killed):
                tiny_run(patch, tmp_path, *words)
        assert said in capsys.readouterr().out
    run = tmp_path / "run"
    last = run / "checkpoints" / "step_000004.ckpt"
    last.write_bytes(last.read_bytes()[:-100])
    assert tiny_run(monkeypatch, tmp_path, *words, "optim.learning_rate=0.125") == 2
    assert ": holds a training with another configuration: optim.learning_rate" in capsys.readouterr().err
    assert tiny_run(monkeypatch, tmp_path, *words) == 0
    said = capsys.readouterr().out
    assert "checkpoint step_000004.ckpt is cut short: it has" in said
    assert "going on after step 2 of 7, from step_000002.ckpt" in said
    assert not list(run.rglob("*.part"))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert tiny_run(monkeypatch, tmp_path, *words) == 0
    assert "this training is finished; nothing is done again" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_only_the_evaluation_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*RESUMED, "task=classification", "trainer.max_steps=2")
    with monkeypatch.context() as patch:
        patch.setattr("tasks.commands.train.evaluate_splits", lambda *_, **__: die())
        with pytest.raises(Killed):
            tiny_run(patch, tmp_path, *words)
    wanted = digest(load_file(tmp_path / "run" / "model.safetensors"))
    with monkeypatch.context() as patch:
        at_step(patch, 0, die)
        patch.setattr("tasks.commands.train.build_trainer", die)
        assert tiny_run(patch, tmp_path, *words) == 0
    assert "going on after step 2 of 2" in capsys.readouterr().out
    assert digest(load_file(tmp_path / "run" / "model.safetensors")) == wanted
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finished"] is True


def test_other_data_than_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*RESUMED, "task=classification")
    with monkeypatch.context() as patch:
        at_step(patch, 3, die)
        with pytest.raises(Killed):
            tiny_run(patch, tmp_path, *words)
    next((tmp_path / "scenes" / "train").rglob("*.jpg")).unlink()
    assert tiny_run(monkeypatch, tmp_path, *words) == 2
    assert "cannot go on, the data or the machine differ from when it began: training images 10 -> 9" in (
        capsys.readouterr().err
    )


def test_two_runs_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*RESUMED, "task=classification", "trainer.max_steps=2")
    codes: list[int] = []
    at_step(monkeypatch, 1, lambda: codes.append(tiny_run(monkeypatch, tmp_path, *words)))
    logging.getLogger().handlers[:] = []
    assert tiny_run(monkeypatch, tmp_path, *words) == 0
    assert codes == [2]
    assert "another process is training there; wait for its end or name another folder" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("task", ["classification", "detection", "segmentation", "multitask"])
def test_killed_at_eight_random_moments(task: str, tmp_path: Path) -> None:
    """Half of them by kill -9. Two trainings, four signals each."""
    words = [sys.executable, "-m", "tests.e2e.kills", task, "2", "4", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_killed_once_by_kill_9_and_once_by_ctrl_c(tmp_path: Path) -> None:
    """The slow test's script, in small: real processes and real signals."""
    words = [sys.executable, "-m", "tests.e2e.kills", "detection", "1", "2", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SIGKILL" in done.stdout
    assert "SIGINT" in done.stdout
