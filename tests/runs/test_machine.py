"""Which devices may be named is what there is, in Lightning's words."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.accelerators import AcceleratorRegistry, CUDAAccelerator, MPSAccelerator

from backbone.errors import InputError
from tasks.config.training import TrainerConfig
from tasks.runs.machine import device_of


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


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(InputError, match=r"trainer\.precision=16-mixed: needs a GPU"):
        device_of(TrainerConfig(max_steps=1, accelerator="cpu", precision="16-mixed"))
