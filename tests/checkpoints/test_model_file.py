"""What is saved is what is read, and damage is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from backbone.errors import InputError
from tasks.checkpoints.model_file import Header, load_into, read_header, save_model

if TYPE_CHECKING:
    from pathlib import Path

HEADER = Header(config={"a": [1, None, "é"]}, choices={"task": "detection"}, labels={}, provenance={"git": None})


def test_round_trip(tmp_path: Path) -> None:
    there, back = nn.Linear(3, 2), nn.Linear(3, 2)
    save_model(tmp_path / "model.safetensors", there, HEADER)
    assert read_header(str(tmp_path / "model.safetensors")) == HEADER
    load_into(str(tmp_path / "model.safetensors"), back)
    assert torch.equal(there.weight, back.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_not_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(InputError, match=r"x.safetensors: no such file; give the model.safetensors of a run"):
        read_header(str(path))
    path.write_bytes(b"not this")
    with pytest.raises(InputError, match="is no safetensors file, or is damaged"):
        read_header(str(path))
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match=r"has format None; this version reads trident-1"):
        read_header(str(path))


@pytest.mark.parametrize("lost", ["choices", "provenance"])
def test_a_header_that_lacks_something(tmp_path: Path, lost: str) -> None:
    path = tmp_path / "model.safetensors"
    there = {"config": "{}", "choices": "{}", "labels": "{}", "provenance": "{}", "format": "trident-1"}
    save_file({"a": torch.zeros(2)}, path, {name: text for name, text in there.items() if name != lost})
    with pytest.raises(InputError, match=rf"its header is incomplete or damaged \('{lost}'\); copy it again"):
        read_header(str(path))
    save_file({"a": torch.zeros(2)}, path, there | {lost: "{"})
    with pytest.raises(InputError, match=r"its header is incomplete or damaged \(Expecting .*\); copy it again"):
        read_header(str(path))


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, nn.Linear(3, 2), HEADER)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^checkpoint=.*: is damaged: its contents are not those that were written"):
        load_into(str(path), nn.Linear(3, 2))


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    spoiled = nn.Linear(3, 2)
    nn.init.constant_(spoiled.bias, float("nan"))
    save_model(tmp_path / "model.safetensors", spoiled, HEADER)
    with pytest.raises(InputError, match=r"bias holds NaN or infinite values: its training diverged"):
        load_into(str(tmp_path / "model.safetensors"), nn.Linear(3, 2))


@pytest.mark.parametrize("kept", [1, 7, 50, -1])
def test_cut_short(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, nn.Linear(3, 2), HEADER)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"damaged|cut short"):
        read_header(str(path))


def test_another_model(tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors", nn.Linear(3, 2), HEADER)
    with pytest.raises(InputError, match=r"holds another model: 1 tensors do not fit, the first is weight"):
        load_into(str(tmp_path / "model.safetensors"), nn.Linear(4, 2))
