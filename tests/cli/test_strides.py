"""Strides of the backbone: what the heads ask for, unless the command says them; and heads of the wrong kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backbone.errors import InputError
from conf.schema import register
from tasks.cli.compose import read
from tasks.config.renamed import with_new_names

if TYPE_CHECKING:
    from collections.abc import Sequence

WITHOUT_RECIPE = ("mode=profile", "data=folder", "data.root=.")


@pytest.fixture(autouse=True)
def _registered() -> None:
    register()


@pytest.mark.parametrize(
    ("words", "output_stride", "last_stride"),
    [
        (["task=classification"], 32, None),
        (["task=detection"], 32, None),
        (["task=segmentation"], 16, None),
        (["task=multitask"], 16, 32),
        (["task=multitask", "~heads@heads.regions"], 32, None),
        (["task=multitask", "~heads@heads.scene", "~heads@heads.objects"], 16, None),
        (["task=detection", "backbone.output_stride=16"], 16, None),
        (["task=segmentation", "backbone.output_stride=8"], 8, None),
        (["task=multitask", "backbone.output_stride=8"], 8, 32),
        (["task=multitask", "backbone.last_stride=16"], 16, 16),
        (["task=multitask", "backbone.last_stride=8"], 8, 8),
        (["task=multitask", "backbone.output_stride=32"], 32, 32),
        (["task=segmentation", "backbone=mobilenet_v2_joint"], 16, 32),
        (["task=detection", "backbone.output_stride=8", "backbone=mobilenet_v2_dense"], 8, None),
    ],
)
def test_what_is_built(words: Sequence[str], output_stride: int, last_stride: int | None) -> None:
    said: list[str] = []
    config, command = read([*with_new_names(words, said.append), *WITHOUT_RECIPE])
    assert (config.backbone.output_stride, config.backbone.last_stride) == (output_stride, last_stride)
    written = command.written["backbone"]  # config.yaml tells what ran
    assert (written["output_stride"], written["last_stride"]) == (output_stride, last_stride)
    assert len(said) == sum(word.startswith("backbone=") for word in words)


def test_an_old_option_is_answered_by_the_new_words() -> None:
    said: list[str] = []
    words = with_new_names(["task=detection", "backbone=mobilenet_v2_dense"], said.append)
    assert words == ["task=detection", "backbone=mobilenet_v2", "backbone.output_stride=16"]
    assert said == [
        "backbone=mobilenet_v2_dense is backbone=mobilenet_v2 backbone.output_stride=16 now; the old name goes with the"
        " next release"
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["task=detection", "head=linear"],
            "task=detection: needs a head for detection, and head=linear is for classification; name another head, or"
            " say task=classification",
        ),
        (["task=classification", "head=deeplabv3"], "task=classification: needs a head for classification, and head="),
        (["task=multitask", "heads.scene.kind=detection"], "heads.scene.kind=detection: needs a head for detection"),
    ],
)
def test_a_head_of_another_kind(words: Sequence[str], message: str) -> None:
    with pytest.raises(InputError) as raised:
        read([*words, *WITHOUT_RECIPE])
    assert str(raised.value).startswith(message)
