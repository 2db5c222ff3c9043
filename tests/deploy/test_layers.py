"""The loss by layer, by hand, and the layers' names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backbone.errors import InputError
from backbone.families.mobilenet_v3 import SMALL, mobilenet_v3
from tasks.commands.export.layers import table
from tasks.deploy.graph import ExportGraph
from tasks.deploy.layers import LayerLoss, layer_losses, layer_names
from tests.search.test_surgery import model_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Said:
    """A format whose files are keys of what their layers give out, an entry for each image."""

    def __init__(self, files: dict[bytes, list[dict[str, Any]]]) -> None:
        self.files = files

    def layer_outputs(self, content: bytes, names: Sequence[str], images: Sequence[Any]) -> Iterator[dict[str, Any]]:
        yield from self.files[content]


def losses(exact: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[LayerLoss]:
    return layer_losses(Said({b"32": exact, b"8": found}), b"32", b"8", ["a", "b"], [])


def test_decibels_are_those_of_all_images_together() -> None:
    """Layer a: norm 5 over noise of norm .5 makes 20 dB, half of each in either image."""
    exact = [{"a": np.array([3.0, 0]), "b": np.ones(2)}, {"a": np.array([4.0, 0]), "b": np.ones(2)}]
    found = [{"a": np.array([3.3, 0]), "b": np.ones(2)}, {"a": np.array([4.0, 0.4]), "b": np.ones(2)}]
    (first, second) = losses(exact, found)
    assert first.name == "a"
    assert first.decibels == pytest.approx(20, abs=1e-9)
    assert second == LayerLoss("b", math.inf)


def test_other_layers_are_an_error() -> None:
    exact = [{"a": np.ones(2), "b": np.ones(2)}]
    with pytest.raises(InputError, match="layer b is another one in 8 bits"):
        losses(exact, [{"a": np.ones(2), "b": np.ones(3)}])


def test_layers_are_named_in_the_order_of_the_image() -> None:
    """V3-Small has 11 blocks, the first without expansion, 9 with two layers of squeeze-and-excitation."""
    model = model_of(mobilenet_v3(SMALL, 0.35)).float()
    for name in ("pixels", "boxes"):
        del model.heads[name]
    names = layer_names(ExportGraph(model, 64))
    blocks = 10 * 3 + 2 + 9 * 2
    assert [name for name in names if name.startswith("backbone.stage")] == names[1 : 1 + blocks]
    assert names[0] == "backbone.stem.conv"
    assert names[1:3] == ["backbone.stage1.0.depthwise.conv", "backbone.stage1.0.squeeze.reduce"]
    assert names[1 + blocks] == "backbone.last.conv"
    assert all(name.startswith("heads.classes") for name in names[2 + blocks :])


def test_layers_that_lose_most_are_shown_in_order() -> None:
    """A gate of 60 dB between others is no gain, and what comes behind it no loss."""
    values = [40, 39, 60, 38.5, 30, 31, 29, 28, 27, 26, 25, 24, 23.8]
    shown = table([LayerLoss(str(number), value) for number, value in enumerate(values)])
    assert list(shown.columns[0].cells) == ["1", "4", "6", "7", "8", "9", "10", "11"]
    assert list(shown.columns[2].cells) == ["1.0", "8.5", *["1.0"] * 6]
