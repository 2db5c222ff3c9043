"""Which devices may be named is what there is, in Lightning's words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch.accelerators import AcceleratorRegistry, CUDAAccelerator, MPSAccelerator

from backbone.errors import InputError
from tasks.config.training import TrainerConfig
from tasks.distributed.lightning_plugs import devices_and_strategy
from tasks.runs.machine import choose_gpu, device_of


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A machine with a GPU of NVIDIA's, of Apple's, or without."""
    for ours, theirs, name in ((torch.cuda, CUDAAccelerator, "cuda"), (torch.backends.mps, MPSAccelerator, "mps")):
        for one in (ours, theirs):
            monkeypatch.setattr(one, "is_available", lambda name=name: name == request.param)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)


@pytest.mark.parametrize(
    ("devices", "allowed", "chosen"),
    [
        ("", ["auto", "cpu"], "cpu"),
        ("cuda", ["auto", "cpu", "cuda", "gpu"], "cuda:0"),
        ("mps", ["auto", "cpu", "gpu", "mps"], "mps"),
    ],
    indirect=["devices"],
)
@pytest.mark.usefixtures("devices")
def test_accelerators(allowed: list[str], chosen: str) -> None:
    for name in allowed:
        device = device_of(TrainerConfig(max_steps=1, accelerator=name))
        assert str(device) == ("cpu" if name == "cpu" else chosen)
        assert AcceleratorRegistry[device.type]["accelerator"].is_available()
    for name in {"gpu", "cuda", "mps", "tpu", "abacus", "CPU"}.difference(allowed):
        with pytest.raises(
            InputError, match=f"trainer.accelerator={name}: this machine has none; must be one of {', '.join(allowed)}$"
        ):
            device_of(TrainerConfig(max_steps=1, accelerator=name))


@pytest.mark.parametrize("devices", ["cuda"], indirect=True)
@pytest.mark.usefixtures("devices")
def test_gpus_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: chosen[-1])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    trainer = TrainerConfig(max_steps=1, devices=[2])
    choose_gpu(trainer)
    assert str(device_of(trainer)) == "cuda:2"
    assert devices_and_strategy(device_of(trainer), trainer.named_gpus, 1, find_unused=False) == {"devices": [2]}
    for there, has in ((2, "GPUs 0 to 1"), (1, "GPU 0 only"), (0, "no GPU")):
        monkeypatch.setattr(torch.cuda, "device_count", lambda there=there: there)
        with pytest.raises(InputError, match=rf"^trainer\.devices=\[2\]: this machine has {has}$"):
            choose_gpu(trainer)
    choose_gpu(TrainerConfig(max_steps=1, devices=2))
    assert chosen == [2]


@pytest.mark.parametrize("given", [[], [0, 0], [-1], ["a"], [0.5], [True]])
def test_lists_that_name_no_gpus(given: list[Any]) -> None:
    with pytest.raises(
        InputError, match=r"trainer\.devices=\[.*\]: must be numbers of GPUs from 0 on, each once, such"
    ):
        TrainerConfig(max_steps=1, devices=given)


@pytest.mark.parametrize("given", [0, -1, True, "two", 1.5, {"a": 1}])
def test_no_number_of_processes(given: Any) -> None:
    with pytest.raises(InputError, match=r"must be a number of processes from 1 on, or a list of GPUs as \[1\]$"):
        TrainerConfig(max_steps=1, devices=given)


def test_a_list_where_there_are_no_gpus() -> None:
    with pytest.raises(InputError, match=r"trainer\.devices=\[1\]: names GPUs; trainer\.accelerator=cpu has none"):
        TrainerConfig(max_steps=1, devices=[1], accelerator="cpu")


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(InputError, match=r"trainer\.precision=16-mixed: needs a GPU"):
        device_of(TrainerConfig(max_steps=1, accelerator="cpu", precision="16-mixed"))
