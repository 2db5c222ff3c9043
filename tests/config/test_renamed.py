"""Old names of keys: on the command line, in headers of files, in folders of trainings."""

from __future__ import annotations

import pytest

from tasks.config.renamed import new_name, renamed, with_new_names


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("head.matched_iou", "head.match_iou"),
        ("head.detections", "head.max_detections"),
        ("heads.boxes.head.detections", "heads.boxes.head.max_detections"),
        ("heads.boxes.factor", "heads.boxes.lr_factor"),
        ("heads.boxes.figure", "heads.boxes.metric"),
        ("heads.boxes.head.factor", "heads.boxes.head.factor"),
        ("optim.backbone_factor", "optim.backbone_factor"),
        ("detections", "detections"),
        ("export.detections", "export.detections"),
    ],
)
def test_a_key_by_its_full_name(old: str, new: str) -> None:
    assert new_name(old) == new


def test_words_of_a_command() -> None:
    said: list[str] = []
    words = ["task=detection", "head.detections=10,20", "+heads.a.factor=0", "~heads.a.figure", "x='head.detections=1'"]
    assert with_new_names(words, said.append) == [
        "task=detection", "head.max_detections=10,20", "+heads.a.lr_factor=0", "~heads.a.metric",
        "x='head.detections=1'",
    ]  # fmt: skip
    assert said == [
        f"{old} is {new} now; the old name goes with the next release"
        for old, new in (
            ("head.detections", "head.max_detections"),
            ("heads.a.factor", "heads.a.lr_factor"),
            ("heads.a.figure", "heads.a.metric"),
        )
    ]


def test_a_configuration() -> None:
    old = {
        "head": {"detections": 3, "nms_iou": 0.5, "taps": ["stage6.expand", "last"]},
        "heads": {"a": {"factor": 2.0, "head": {"matched_iou": 0.4}}},
    }
    assert renamed(old) == {
        "head": {"max_detections": 3, "nms_iou": 0.5, "taps": ["c4.expand", "last"]},
        "heads": {"a": {"lr_factor": 2.0, "head": {"match_iou": 0.4}}},
    }
