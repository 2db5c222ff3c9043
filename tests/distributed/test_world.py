"""Which process this is, by what torchrun and srun say, and whether that fits the configuration."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import torch

from backbone.errors import InputError
from tasks.config.run import Mode, RunConfig, Task
from tasks.config.training import Strategy, TrainerConfig
from tasks.distributed import launch, world
from tasks.distributed.world import World, check, first_node, started

if TYPE_CHECKING:
    from collections.abc import Iterator

TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "29500",
}  # fmt: skip
SLURM = {
    "SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "0", "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_STEP_NUM_NODES": "2", "SLURM_JOB_ID": "1234", "SLURM_STEP_ID": "1",
}  # fmt: skip


def told(mode: Mode = Mode.train, **trainer: Any) -> dict[str, Any]:
    config = RunConfig(task=Task.detection, mode=mode, trainer=TrainerConfig(max_steps=1, **trainer))
    return {"trainer": config.trainer, "mode": mode.value, "can_share": config.can_share}


def test_torchrun() -> None:
    found = started(TORCHRUN)
    assert found == World(
        rank=3, world_size=4, local_rank=1, local_world_size=2, address="10.0.0.1", port=29500, started_by="torchrun"
    )
    assert found.nodes == 2


def test_slurm() -> None:
    found = started(SLURM)
    assert found == World(
        rank=2, world_size=4, local_rank=0, local_world_size=2, address="gpu07", port=16235, started_by="SLURM"
    )
    assert started(SLURM | {"MASTER_ADDR": "head", "MASTER_PORT": "1"}) == World(
        rank=2, world_size=4, local_rank=0, local_world_size=2, address="head", port=1, started_by="SLURM"
    )


def test_a_script_of_sbatch_and_a_world_of_one_are_alone() -> None:
    assert started({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "1"}) is None
    assert started(TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}) is None
    assert started({}) is None


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("node", "node"), ("a,b", "a"), ("gpu[03-04,7],cpu1", "gpu03"), ("n[9]", "n9"), ("r[1-2]-ib,x", "r1-ib")],
)
def test_first_node(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (TORCHRUN | {"RANK": "one"}, "RANK=one: must be a number; torchrun sets it"),
        (TORCHRUN | {"WORLD_SIZE": "5"}, "WORLD_SIZE=5, LOCAL_WORLD_SIZE=2: every machine must have as many"),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "3"}, "SLURM_STEP_NUM_TASKS=3: does not divide over 2 machines"),
        (SLURM | {"SLURM_STEP_NODELIST": ""}, "SLURM_STEP_NODELIST=: names no machine; set MASTER_ADDR"),
    ],
)
def test_what_does_not_fit_itself(environment: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as raised:
        started(environment)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("trainer", "mode", "alone", "message"),
    [
        ({"devices": 3}, Mode.train, False, "trainer.devices=3: torchrun started 2; say trainer.devices=2 or null"),
        ({"devices": [0, 1, 2]}, Mode.train, False, "trainer.devices=[0, 1, 2]: torchrun started 2; say trainer.dev"),
        ({"num_nodes": 3}, Mode.train, False, "trainer.num_nodes=3: torchrun started 2; say trainer.num_nodes=2"),
        ({}, Mode.profile, False, "mode=profile: torchrun started 4 processes, this works in one; start it alone"),
        ({"num_nodes": 2}, Mode.train, True, "trainer.num_nodes=2: start the command on every machine, by torchrun"),
    ],
)
def test_configuration_that_does_not_fit(trainer: dict[str, Any], mode: Mode, alone: bool, message: str) -> None:
    with pytest.raises(InputError) as raised:
        check(world=None if alone else started(TORCHRUN), **told(mode, **trainer))
    assert message in str(raised.value)


def test_how_many_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch.processes(**told()) == 1
    assert launch.processes(**told(devices=3, accelerator="cpu")) == 3
    assert launch.processes(**told(Mode.profile, strategy=Strategy.ddp, accelerator="cpu")) == 1
    with pytest.raises(InputError, match=r"trainer.devices=2: mode=profile works in one process; leave it out"):
        launch.processes(**told(Mode.profile, devices=2))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert launch.processes(**told(devices=2)) == 2
    with pytest.raises(InputError, match=r"trainer.accelerator=gpu: there is no GPU .* say trainer=ddp_cpu"):
        launch.processes(**told(strategy=Strategy.ddp, accelerator="gpu"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert launch.processes(**told(strategy=Strategy.ddp, accelerator="gpu")) == 2
    assert launch.processes(**told(devices=[1])) == 1
    assert launch.processes(**told(devices=[1, 0], strategy=Strategy.ddp)) == 2
    with pytest.raises(InputError, match=r"trainer.devices=\[0, 2\]: this machine has GPUs 0 to 1$"):
        launch.processes(**told(devices=[0, 2]))
    with pytest.raises(InputError, match=r"trainer.devices=4: there are 2 on this machine"):
        launch.processes(**told(devices=4, accelerator="gpu"))
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert launch.processes(**told(devices=4)) == 1


def test_who_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.speaks()
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert not world.speaks()
    monkeypatch.setenv("RANK", "none")
    assert world.speaks()


@pytest.fixture
def signals() -> Iterator[None]:
    """As they were before torch's launcher takes them."""
    names = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {name: signal.getsignal(name) for name in names}
    yield
    for name, handler in before.items():
        signal.signal(name, handler)


def launched(*codes: str) -> int:
    """The exit code of processes that each run their code."""
    code = f"import os, signal, time; exec({codes!r}[int(os.environ['RANK'])])"
    return launch.launch(len(codes), [sys.executable, "-S", "-c", code])


KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
WAITS = "time.sleep(60)"


@pytest.mark.usefixtures("signals")
def test_the_first_that_fails_decides_and_takes_the_others_along(capfd: pytest.CaptureFixture[str]) -> None:
    words = "print(os.environ['WORLD_SIZE'], os.environ['LOCAL_RANK'], os.environ['OMP_NUM_THREADS'])"
    assert launched(words, words) == 0
    assert sorted(capfd.readouterr().out.split("\n")) == ["", "2 0 1", "2 1 1"]
    assert launched(WAITS, "raise SystemExit(2)") == 2
    assert capfd.readouterr().err == ""
    assert launched(WAITS, KILLED) == 1
    assert capfd.readouterr().err == (
        "trident: process 1 of 2 was ended by SIGKILL (too little memory?), and the others with it\n"
    )


@pytest.mark.usefixtures("signals")
def test_a_signal_is_handed_on_and_what_is_done_then_is_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    late = "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), os._exit(130)))"
    asks = "time.sleep(0.5); os.kill(os.getppid(), signal.SIGTERM)"
    assert launched(f"{late}; {WAITS}", f"{late}; {asks}; {WAITS}") == 130
    assert capfd.readouterr() == ("", "")


def test_nothing_is_left_when_the_parent_is_gone() -> None:
    """A process starts one of its own and is killed."""
    child = "from tasks.distributed.starter import end_with_parent; end_with_parent(); import time; time.sleep(60)"
    parent = (
        "import os, subprocess, sys, time; from tasks.distributed.starter import environment\n"
        f"one = subprocess.Popen([sys.executable, '-c', {child!r}], env=os.environ | environment())\n"
        "print(one.pid, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    left = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.communicate()
    assert left.wait(30) is None
