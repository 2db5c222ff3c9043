"""Trainings that log to Weights & Biases (offline) and to an MLflow server on this machine, each for real."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import load_file

from tests.e2e.command import TINY
from tests.engines.test_engines import ROOT, run, trident

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORDS = (
    "task=classification", *TINY, "trainer.accelerator=cpu", "data.train_scenes=16", "optim.schedule=constant",
    "optim.warmup_steps=0", "logger.every_steps=1",
)  # fmt: skip
START_S = 120
"""That a server may take to answer."""
BLOCK = 32768
"""Bytes of a block of LevelDB's log format, in which W&B writes."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def words_of(folder: Path, steps: int, *more: str) -> list[str]:
    return trident(*WORDS, f"data.root={folder / 'scenes'}", f"trainer.max_steps={steps}", *more)


def losses(folder: Path) -> dict[int, float]:
    """By step, as the run folder has them."""
    with (folder / "csv" / "metrics.csv").open() as file:
        return {int(row["step"]): float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]}


def check_weights(one: Path, other: Path) -> None:
    weights = [load_file(folder / "model.safetensors") for folder in (one, other)]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0] | weights[1])


def wandb_records(file: Path) -> Iterator[Any]:
    """Records of a `.wandb` file: 7 bytes, then LevelDB's log format (checksum, length, part of a record, contents)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, part = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = BLOCK - place % BLOCK
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        if left < 7 or kind == 0:
            place += left
            continue
        part += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(part)
            part = b""


def history(records: list[Any]) -> list[dict[str, Any]]:
    rows = [record.history.item for record in records if record.WhichOneof("record_type") == "history"]
    return [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row} for row in rows]


@pytest.mark.skipif(find_spec("wandb") is None, reason="the extra wandb is not installed")
def test_wandb_offline(tmp_path: Path) -> None:
    """Metrics, images and configuration are there, a longer training is the same run, and no bit of it is another."""
    folder = tmp_path / "run"
    for steps in (4, 6):
        said = run(words_of(tmp_path, steps, f"run_dir={folder}", "logger=wandb", "logger.offline=true"))
        assert "logger=wandb: " in said
        assert "(wandb sync uploads it)" in said
    run(words_of(tmp_path, 6, f"run_dir={tmp_path / 'files'}"))
    check_weights(folder, tmp_path / "files")
    files = sorted((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    logged: dict[int, float] = {}
    for file in files:
        records = list(wandb_records(file))
        runs = [record.run for record in records if record.WhichOneof("record_type") == "run"]
        assert runs[0].run_id == json.loads((folder / "tracker.json").read_text())["wandb"]
        assert (runs[0].project, runs[0].display_name) == ("trident", "run")
        updates = [one for record in records for one in record.config.update]
        assert {"task", "optim", "trainer", "data"} <= {one.key or one.nested_key[0] for one in updates}
        rows = history(records)
        logged |= {row["trainer/global_step"]: row["train/loss"] for row in rows if "train/loss" in row}
        best = [row["best/val/top1"] for row in rows if "best/val/top1" in row]
        assert len(best) == 1
        assert any("contact_sheet/filenames" in row for row in rows)
        assert len(list((file.parent / "files" / "media" / "images").glob("contact_sheet*.png"))) == 1
        assert [r.exit.exit_code for r in records if r.WhichOneof("record_type") == "exit"] == [0]
    assert best == [json.loads((folder / "metrics.json").read_text())["val"]["top1"]]
    assert logged == pytest.approx(losses(folder))


@pytest.mark.skipif(find_spec("wandb") is None, reason="the extra wandb is not installed")
def test_wandb_without_a_key_or_a_server(tmp_path: Path) -> None:
    words = words_of(tmp_path, 2, f"run_dir={tmp_path / 'run'}", "logger=wandb")
    nobody = {"WANDB_API_KEY": "", "NETRC": str(tmp_path / "none"), "WANDB_CONFIG_DIR": str(tmp_path / "none")}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **nobody}
    for variables, said in (
        ({}, "trident: logger=wandb: cannot log in (No API key configured"),
        (
            {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": f"http://127.0.0.1:{free_port()}"},
            "trident: logger=wandb: cannot ",  # log in, or begin a run
        ),
    ):
        done = subprocess.run(words, capture_output=True, text=True, env=environment | variables, cwd=ROOT)
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stderr.splitlines()[-1].startswith(said)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class MlflowServer:
    """MLflow's own server, with its data base in a folder."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> bool:
        """Whether it answers."""
        words = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}", "--workers", "1"),
            *("--artifacts-destination", str(self._folder / "artifacts")),
        ]
        with (self._folder / "server.log").open("ab") as log:
            lean = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # else it starts ten processes more
            self._process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True, env=lean)
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(f"{self.address}/health") as answer:
                return bool(answer.status == 200)
            time.sleep(0.5)
        return False

    def stop(self) -> None:
        """At once, as where its machine loses power."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    if find_spec("mlflow") is None:
        pytest.skip("the extra mlflow is not installed")
    made = MlflowServer(tmp_path)
    try:
        if not made.start():
            pytest.skip("MLflow is installed, and its server does not start on this machine")
        yield made
    finally:
        made.stop()


def runs_of(server: MlflowServer) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(server.address)
    experiment = client.get_experiment_by_name("trident")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def mlflow_losses(server: MlflowServer, run_id: str) -> dict[int, float]:
    from mlflow import MlflowClient

    return {row.step: row.value for row in MlflowClient(server.address).get_metric_history(run_id, "train/loss")}


def test_mlflow(server: MlflowServer, tmp_path: Path) -> None:
    """Metrics, images and configuration are on the server, and a longer training is the same run of it."""
    from mlflow import MlflowClient

    folder = tmp_path / "run"
    for steps in (4, 6):
        said = run(
            words_of(tmp_path, steps, f"run_dir={folder}", "logger=mlflow", f"logger.tracking_uri={server.address}")
        )
        (there,) = runs_of(server)
        assert f"logger=mlflow: {server.address}/#/experiments/" in said
        assert there.info.run_id in said
        assert (there.info.status, there.info.run_name) == ("FINISHED", "run")
    assert there.data.params["optim/schedule"] == "constant"
    assert there.data.params["trainer/max_steps"] == "4"  # as it began; the file has what it came to
    artifacts = {file.path for file in MlflowClient(server.address).list_artifacts(there.info.run_id)}
    assert artifacts == {"config.yaml", "contact_sheet.png"}
    best = json.loads((folder / "metrics.json").read_text())["val"]["top1"]
    assert there.data.metrics["best/val/top1"] == pytest.approx(best)
    assert mlflow_losses(server, there.info.run_id) == pytest.approx(losses(folder))


def test_a_server_that_is_gone_does_not_end_a_training(server: MlflowServer, tmp_path: Path) -> None:
    """It is killed in the middle, and back when the training goes on: the weights are those of one without a logger."""
    folder = tmp_path / "run"
    more = (f"run_dir={folder}", "logger=mlflow", f"logger.tracking_uri={server.address}", "trainer.checkpoint_every=5")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    every = "trainer.validate_every=1"  # pass: at the same steps however long it is
    words = words_of(tmp_path, 40, *more, every)
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
    ) as training:
        assert training.stdout is not None
        said = ""
        for line in training.stdout:
            said += line
            if line.startswith("step 8/40"):
                server.stop()
    assert training.returncode == 0, said
    assert "logger=mlflow: failed (" in said
    assert "entries did not get there" in said
    assert server.start()
    (there,) = runs_of(server)
    assert there.info.status == "RUNNING"
    said = run(words_of(tmp_path, 44, *more, every))
    assert "did not get there" not in said
    (there,) = runs_of(server)
    assert there.info.status == "FINISHED"
    sent, logged = mlflow_losses(server, there.info.run_id), losses(folder)
    assert {41, 42, 43} <= set(sent)
    assert sent == pytest.approx({step: logged[step] for step in sent})
    for steps in (40, 44):
        run(words_of(tmp_path, steps, f"run_dir={tmp_path / 'files'}", every))
    check_weights(folder, tmp_path / "files")
