"""Several processes through the command line."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.distributed.ranks import command, in_ranks
from tests.e2e.command import TINY, tiny_run, trident

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CPU = ("trainer.accelerator=cpu", "logger.every_steps=1", "logger.tensorboard=false")
FROZEN = ("optim.warmup_steps=0", "optim.learning_rate=0.001", "optim.ema_decay=null")


def losses(run: Path) -> list[float]:
    with (run / "csv" / "metrics.csv").open(newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def run_ranks(ranks: int, folder: Path, *words: str) -> list[int]:
    """Exit codes of the ranks; what each said is in `folder`."""
    folder.mkdir()
    return in_ranks(ranks, command, *words, f"run_dir={folder / 'run'}", said=folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector by one process: 3 steps of 4 images."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        assert tiny_run(patch, folder, *CPU, *FROZEN) == 0
    return folder


def test_trains_as_one_process_with_the_same_images(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64: float32's rounding grows to percents in three steps, over batch statistics of a handful of values.

    What is left is from the losses, which are computed in float32, and from negatives that are equally hard.
    """
    monkeypatch.setattr("tasks.config.training.PRECISIONS", ("32-true", "64-true"))
    words = ("task=detection", *TINY, *CPU, *FROZEN, f"data.root={trained / 'scenes'}", "trainer.precision=64-true")
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'one'}") == 0
    both = ("data.batch_size=2", "trainer.sync_batchnorm=true")
    assert run_ranks(2, tmp_path / "two", *words, *both) == [0, 0]
    run = tmp_path / "two" / "run"
    assert losses(run)[0] == pytest.approx(losses(tmp_path / "one")[0], rel=1e-6)
    assert losses(run) == pytest.approx(losses(tmp_path / "one"), rel=1e-3)
    first, second = ((tmp_path / "two" / f"{rank}.txt").read_text() for rank in range(2))
    assert "training: 3 steps of 4 images (2 in a batch, 2 processes) on cpu" in first
    assert second == ""
    there = {path.name for path in run.iterdir()}
    assert {"metrics.json", "predictions.json", "contact_sheet.png", "report.html", "model.safetensors"} <= there
    assert not [name for name in there if name.endswith(".part")]
    log = (run / "run.log").read_text()
    assert log.count("meet one at IoU") == log.count("training: 3 steps") == 1
    for name in ("config.yaml", "metrics.json", "predictions.json"):
        assert (run / name).stat().st_size


@pytest.mark.parametrize("ranks", [2, 3])
def test_evaluates_every_image_once(trained: Path, tmp_path: Path, ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """5 images do not divide by 2 or 3. In float64: three images in a batch are not rounded as five are."""
    monkeypatch.setattr("tasks.config.training.PRECISIONS", ("32-true", "64-true"))
    model = trained / "run" / "model.safetensors"
    words = ("mode=evaluate", f"checkpoint={model}", *CPU[:1], "trainer.precision=64-true")
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'one'}") == 0
    assert run_ranks(ranks, tmp_path / "many", *words) == [0] * ranks
    runs = (tmp_path / "one", tmp_path / "many" / "run")
    one, many = (json.loads((run / "metrics.json").read_text())["val"] for run in runs)
    assert one.keys() == many.keys()
    for name, value in one.items():
        assert many[name] == (None if value is None else pytest.approx(value, rel=1e-6)), name
    first, second = (json.loads((run / "predictions.json").read_text()) for run in runs)
    assert len(first) == len(second) > 0
    for mine, theirs in zip(first, second, strict=True):
        assert mine["bbox"] == pytest.approx(theirs["bbox"], rel=1e-5, abs=1e-4)
        assert mine["score"] == pytest.approx(theirs["score"], rel=1e-5)
        assert [mine[key] for key in ("image_id", "category_id")] == [
            theirs[key] for key in ("image_id", "category_id")
        ]
    assert (tmp_path / "many" / "run" / "contact_sheet.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data.val_scenes=1",), "the 1 images of the split val do not give each of them one; start at most 1"),
        (("trainer.devices=3",), "trainer.devices=3: torchrun started 2"),
        (("mode=profile",), "mode=profile: torchrun started 2 processes, this works in one"),
        (("trainer.accelerator=gpu",), "torchrun started 2 processes, there are 0 GPUs"),
    ],
)
def test_bad_input_is_said_once(tmp_path: Path, words: Sequence[str], message: str) -> None:
    common = ("task=detection", *TINY, *CPU[:1], f"data.root={tmp_path / 'scenes'}")
    assert run_ranks(2, tmp_path / "two", *common, *words) == [2, 2]
    said = "".join((tmp_path / "two" / f"{rank}.txt").read_text() for rank in range(2))
    assert said.count(message) == 1
    assert "Traceback" not in said
    assert not (tmp_path / "two" / "run").exists()


def test_a_used_folder_is_said_once(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "two" / "run").mkdir(parents=True)
    (tmp_path / "two" / "run" / "mine.txt").touch()
    words = (
        "task=detection",
        *TINY,
        *CPU[:1],
        f"data.root={trained / 'scenes'}",
        f"run_dir={tmp_path / 'two' / 'run'}",
    )
    assert in_ranks(2, command, *words, said=tmp_path) == [2, 2]
    said = "".join((tmp_path / f"{rank}.txt").read_text() for rank in range(2))
    assert said.count("is not empty, and no training begun there; name another folder") == 1


def test_accumulates_and_scales_the_learning_rate(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("task=detection", *TINY, *CPU, f"data.root={trained / 'scenes'}", f"run_dir={tmp_path / 'run'}")
    scaled = ("trainer.accumulate=2", "optim.scale_learning_rate=4", "data.batch_size=2", "optim.ema_decay=null")
    assert trident(monkeypatch, *words, *scaled) == 0
    assert "training: 3 steps of 4 images (2 in a batch, 2 batches) on cpu" in capsys.readouterr().out
    assert len(losses(tmp_path / "run")) == 3
    assert trident(monkeypatch, "task=detection", *TINY, "optim.scale_learning_rate=0") == 2
    assert "optim.scale_learning_rate=0: must be a number of images" in capsys.readouterr().err
    fp16 = (f"data.root={trained / 'scenes'}", f"run_dir={tmp_path / 'fp16'}", "trainer.precision=16-mixed")
    assert trident(monkeypatch, "task=detection", *TINY, *CPU, *fp16) == 2
    assert "trainer.precision=16-mixed: needs a GPU; on the CPU say bf16-mixed or 32-true" in capsys.readouterr().err


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """The command line in processes of its own, which it starts itself."""
    line = [sys.executable, "-m", "tasks.run", "task=detection", *TINY, *CPU, f"data.root={folder / 'scenes'}"]
    line += [f"run_dir={folder / 'run'}", "trainer.devices=2", *words]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def children(parent: int) -> list[int]:
    from pathlib import Path

    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def begun(folder: Path) -> None:
    """Wait until it trains."""
    limit = time.monotonic() + 250
    while not (folder / "run" / "csv" / "metrics.csv").is_file():
        assert time.monotonic() < limit
        time.sleep(0.2)


@pytest.mark.slow
def test_starts_its_processes_and_stops_them_together(tmp_path: Path) -> None:
    process = start(tmp_path, "trainer.max_steps=100000")
    begun(tmp_path)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 130, said
    assert said.count("stopping: evaluating and saving what there is") == 1
    assert said.count("trident: interrupted") == 1
    assert (tmp_path / "run" / "metrics.json").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_killed_process_ends_all(tmp_path: Path) -> None:
    process = start(tmp_path, "trainer.max_steps=100000")
    begun(tmp_path)
    ranks = children(process.pid)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "process 1 of 2 was ended by SIGKILL" in said
    assert "Traceback" not in said
    assert not any(os.path.exists(f"/proc/{rank}") for rank in ranks)  # noqa: PTH110
