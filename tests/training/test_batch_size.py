"""How many images fit: by arithmetic on the processor, by trial where memory is refused."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import torch
from torch import nn

from backbone.errors import InputError
from heads.structures import Batch
from tasks.config.run import Mode, RunConfig
from tasks.config.training import AUTO
from tasks.data.config import CocoConfig, MixedConfig
from tasks.training import batch_size
from tasks.training.batch_size import Trial, find, limit
from tests.e2e.command import tiny_run
from tests.e2e.kills import fingerprint
from tests.e2e.test_resume import at_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GIB = 2**30
KEPT = 3 * 8 * 8 * 4 + 5 * 8 * 8 * 4
"""Bytes that an image leaves for the backward pass of `Toy`: its input and the output of its convolution."""


class Toy(nn.Module):
    """A convolution that needs its input, and a square that needs its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 1, bias=False)
        self.heads = {"toy": self}

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return images.float()

    def forward_heads(self, features: torch.Tensor, rows: Any) -> dict[str, torch.Tensor]:
        return {"toy": self.conv(features)}

    def loss(self, outputs: torch.Tensor, targets: Any) -> dict[str, torch.Tensor]:
        return {"square": (outputs**2).mean()}


def batch_of(images: int) -> Batch:
    return Batch(
        torch.zeros(images, 3, 8, 8, dtype=torch.uint8), {"toy": torch.zeros(0)}, torch.zeros(0), torch.zeros(0)
    )  # type: ignore[dict-item]


def free_memory(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    class Left:
        available = int(size)

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Left)


@pytest.mark.parametrize(
    ("room", "images", "why"), [(40, 32, "more do not fit"), (1000, 64, "more would leave a pass")]
)
def test_on_a_processor_it_is_arithmetic(monkeypatch: pytest.MonkeyPatch, room: int, images: int, why: str) -> None:
    free_memory(monkeypatch, room * KEPT * batch_size.BACKWARD / batch_size.CPU_SHARE + 2)
    found = find(Toy(), batch_of, torch.device("cpu"), "32-true", most=limit(520, 1, 1))  # type: ignore[arg-type]
    assert found.images == images
    assert found.each == pytest.approx(KEPT * batch_size.BACKWARD)
    assert why in found.why


def test_nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    free_memory(monkeypatch, KEPT)
    with pytest.raises(
        InputError, match=r"data\.batch_size=auto: not even 2 images fit into the 0\.0 GiB that are free"
    ):
        find(Toy(), batch_of, torch.device("cpu"), "32-true", most=8)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "processes", "accumulate", "most"), [(5000, 1, 1, 256), (520, 1, 1, 65), (520, 2, 2, 16), (3, 1, 1, 2)]
)
def test_a_pass_keeps_steps(images: int, processes: int, accumulate: int, most: int) -> None:
    assert limit(images, processes, accumulate) == most


@pytest.mark.parametrize(("capacity", "expected"), [(100, 64), (3, 2), (1, 0), (1000, 256)])
def test_on_a_gpu_it_is_tried(monkeypatch: pytest.MonkeyPatch, capacity: int, expected: int) -> None:
    """A GPU is played that has room for so many images."""
    tried: list[int] = []

    def step(model: Any, batch: Batch, *_: Any) -> None:
        tried.append(len(batch.images))
        if tried[-1] > capacity:
            raise torch.OutOfMemoryError

    monkeypatch.setattr(batch_size, "step", step)
    for name, value in (
        ("empty_cache", None), ("memory_allocated", 0), ("mem_get_info", (10 * GIB, 10 * GIB)), ("synchronize", None),
        ("reset_peak_memory_stats", None),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: tried[-1] * GIB // 1000)
    found = batch_size._on_gpu(Toy(), batch_of, torch.device("cpu"), "32-true", 256, 1)  # type: ignore[arg-type]
    assert found.images == expected
    assert len(set(tried)) == len(tried)


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.batch_size=automatic: must be a number of images from 1 on, or auto"):
        CocoConfig(batch_size="automatic")
    with pytest.raises(InputError, match=r"data\.batch_size=0: must be a number"):
        CocoConfig(batch_size=0)
    assert MixedConfig(batch_size=AUTO).batch_size == AUTO
    with pytest.raises(InputError, match=r"data\.batch_size=auto: needs mode=train; give a number of images"):
        RunConfig(mode=Mode.profile, data=CocoConfig(batch_size=AUTO))


def test_a_training_finds_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends as one that was told the number; it goes on with what it found, whatever memory there is then."""
    words = ("task=classification", "data.train_scenes=40", f"data.root={tmp_path / 'scenes'}", "trainer.max_steps=4")
    assert tiny_run(monkeypatch, tmp_path / "told", *words, "data.batch_size=4") == 0
    words = (*words, "data.batch_size=auto", "trainer.checkpoint_every=1")
    assert "data.batch_size" not in capsys.readouterr().out

    with monkeypatch.context() as patch:
        at_step(patch, 2, lambda: signal.raise_signal(signal.SIGINT))
        assert tiny_run(patch, tmp_path / "found", *words) == 130
    said = capsys.readouterr().out
    assert "data.batch_size=auto: 4 images in a batch, " in said
    assert "more would leave a pass fewer than 8 steps" in said

    def find_others(*_: Any, **__: Any) -> Callable[..., Trial]:
        raise AssertionError

    monkeypatch.setattr(batch_size, "find", find_others)
    assert tiny_run(monkeypatch, tmp_path / "found", *words) == 0
    ours, told = (fingerprint(tmp_path / name / "run") for name in ("found", "told"))
    assert ours["model"] == told["model"]
    assert "batch_size: 4" in (tmp_path / "found" / "run" / "config.yaml").read_text()
