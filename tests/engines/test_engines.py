"""Trainings and sweeps by SLURM and Ray, each for real, where they are installed.

SLURM: Debian's slurm-wlm and munge, as root; `slurm_server.sh` starts two nodes in name on this machine. Launchers:
the extras submitit and ray.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.command import TINY

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SERVER = Path(__file__).with_name("slurm_server.sh")
WORDS = ("task=classification", *TINY, "trainer.accelerator=cpu", "data.train_scenes=16", "optim.ema_decay=null")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(words: list[str], **variables: str) -> str:
    """What a command says; it must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def trident(*words: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "tasks.run", *words]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables for commands that talk to a SLURM of two nodes."""
    if shutil.which("slurmctld") is None or shutil.which("munged") is None or os.geteuid() != 0:
        pytest.skip("needs Debian's slurm-wlm and munge, and root")
    folder = tmp_path_factory.mktemp("slurm")
    try:
        started = subprocess.run(["bash", str(SERVER), "start", str(folder)], stdout=subprocess.DEVNULL)
        if started.returncode:
            pytest.skip("SLURM is installed and does not start on this machine")
        yield {"SLURM_CONF": str(folder / "slurm.conf")}
    finally:
        subprocess.run(["bash", str(SERVER), "stop", str(folder)], check=True)


def test_a_training_over_two_tasks(slurm: dict[str, str], tmp_path: Path) -> None:
    """On two nodes, with the images of one process: the same losses, up to the order of sums."""
    data = f"data.root={tmp_path / 'scenes'}"
    alone = trident(*WORDS, data, "data.batch_size=8", f"run_dir={tmp_path / 'one'}")
    run(alone)
    shared = trident(*WORDS, data, "data.batch_size=4", "trainer.sync_batchnorm=true", f"run_dir={tmp_path / 'two'}")
    said = run(["srun", "-N2", "--ntasks-per-node=1", *shared], MASTER_ADDR="127.0.0.1", **slurm)
    assert "steps of 8 images (4 in a batch, 2 processes) on cpu" in said
    assert said.count("everything is in") == 1
    metrics = [json.loads((tmp_path / name / "metrics.json").read_text())["val"] for name in ("one", "two")]
    assert metrics[0].keys() == metrics[1].keys()
    weights = sorted(path.name for path in (tmp_path / "two").glob("*.safetensors"))
    assert weights == ["last.safetensors", "model.safetensors"]


def check_sweep(folder: Path, said: str) -> None:
    assert "sweep: 2 jobs, 0 done before" in said
    rows = json.loads((folder / "sweep.json").read_text())
    rows = rows["jobs"] if isinstance(rows, dict) else rows
    assert [row["status"] for row in rows] == ["done", "done"]
    assert len(list(folder.glob("*/model.safetensors"))) == 2


@pytest.mark.skipif(find_spec("submitit") is None, reason="the extra submitit is not installed")
def test_a_sweep_by_submitit(slurm: dict[str, str], tmp_path: Path) -> None:
    words = (*WORDS, f"data.root={tmp_path / 'scenes'}", "optim.momentum=0.8,0.9", f"run_dir={tmp_path / 'sweep'}")
    said = run(trident("-m", *words, "hydra/launcher=submitit_slurm"), **slurm)
    check_sweep(tmp_path / "sweep", said)
    assert list((tmp_path / "sweep").rglob("*submission.sh"))


@pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed")
def test_a_sweep_by_ray(tmp_path: Path) -> None:
    words = (*WORDS, f"data.root={tmp_path / 'scenes'}", "optim.momentum=0.8,0.9", f"run_dir={tmp_path / 'sweep'}")
    said = run(trident("-m", *words, "hydra/launcher=ray"))
    check_sweep(tmp_path / "sweep", said)
