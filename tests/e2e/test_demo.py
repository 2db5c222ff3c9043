"""mode=demo as it is started: its answers are mode=predict's files, it ends quietly, and says early what it lacks."""

from __future__ import annotations

import base64
import csv
import json
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from backbone.errors import InputError
from tasks.config.run import Mode, RunConfig
from tasks.config.training import TrainerConfig
from tests.e2e.command import tiny_run, trident

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def demo(*words: str) -> Iterator[str]:
    """The address of a demo that runs; it must end quietly."""
    command = [sys.executable, "-m", "tasks.run", "mode=demo", "demo.port=0", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+/", said)
            assert address, process.communicate(timeout=60)
            yield address[0]
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60) == ("", "")
            assert process.returncode == 0
        finally:
            process.kill()


def asked(address: str, data: bytes) -> dict[str, Any]:
    request = urllib.request.Request(f"{address}predict", data, {"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request, timeout=60) as response:
        found: dict[str, Any] = json.load(response)
    return found


def test_answers_are_those_of_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny_run(monkeypatch, tmp_path, "task=multitask") == 0
    checkpoint = f"checkpoint={tmp_path / 'run/model.safetensors'}"
    image = next((tmp_path / "scenes").rglob("*.jpg"))
    out = tmp_path / "predicted"
    assert trident(monkeypatch, "mode=predict", checkpoint, f"source={image}", f"run_dir={out}") == 0
    with demo(checkpoint) as address:
        answers = asked(address, image.read_bytes())["predictions"]
        with urllib.request.urlopen(f"{address}model.json", timeout=60) as response:
            about = json.load(response)
    kinds = {head: answer["kind"] for head, answer in answers.items()}
    assert {head: one["kind"] for head, one in about["heads"].items()} == kinds
    told = {answer["kind"]: answer for answer in answers.values()}
    assert len(told) == 3
    with (out / "classes.csv").open(newline="") as file:
        classes = [(row["class"], float(row["probability"])) for row in csv.DictReader(file)]
    found = [(one["name"], round(one["score"], 6)) for one in told["classification"]["classes"]]
    assert found == classes
    wanted = json.loads((out / "detections.json").read_text())
    boxes = [
        [x, y, right - x, bottom - y] for x, y, right, bottom in (d["box"] for d in told["detection"]["detections"])
    ]
    np.testing.assert_allclose(boxes, [one["bbox"] for one in wanted], atol=1e-3)
    np.testing.assert_allclose(
        [one["score"] for one in told["detection"]["detections"]], [one["score"] for one in wanted], atol=1e-5
    )
    mask = np.array(Image.open(next((out / "masks").glob("*.png"))))
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(told["segmentation"]["mask"]), np.uint8), mask.ravel())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "mode=demo: give checkpoint=FILE"),
        (("checkpoint=nowhere.safetensors",), "nowhere.safetensors"),
    ],
)
def test_what_is_lacking_is_said(
    words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trident(monkeypatch, "mode=demo", *words) == 2
    assert message in capsys.readouterr().err


def test_nothing_is_written() -> None:
    with pytest.raises(InputError, match="run_dir=here: mode=demo writes nothing; leave it out"):
        RunConfig(mode=Mode.demo, checkpoint="x.safetensors", run_dir="here", trainer=TrainerConfig(max_steps=1))
