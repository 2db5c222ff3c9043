"""Which devices may be named is what there is, as Lightning tells it."""

from __future__ import annotations

import pytest
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator

from backbone.errors import InputError
from tasks.runs.machine import check_accelerator


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A machine with a GPU of NVIDIA's, of Apple's, or without."""
    for kind, name in ((CUDAAccelerator, "cuda"), (MPSAccelerator, "mps")):
        monkeypatch.setattr(kind, "is_available", lambda name=name: name == request.param)


@pytest.mark.parametrize(
    ("devices", "allowed"),
    [("", ["auto", "cpu"]), ("cuda", ["auto", "cpu", "cuda", "gpu"]), ("mps", ["auto", "cpu", "gpu", "mps"])],
    indirect=["devices"],
)
@pytest.mark.usefixtures("devices")
def test_accelerators(allowed: list[str]) -> None:
    for name in allowed:
        check_accelerator(name)
    for name in {"gpu", "cuda", "mps", "tpu", "abacus", "CPU"}.difference(allowed):
        with pytest.raises(
            InputError, match=f"trainer.accelerator={name}: this machine has none; must be one of {', '.join(allowed)}$"
        ):
            check_accelerator(name)
