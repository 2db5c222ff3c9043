"""Every refusal of the head's configuration, by its message."""

import re
from typing import Any

import pytest

from backbone.errors import InputError
from heads.ssdlite.config import SSDLiteConfig

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"taps": []}, "head.taps=[]: must name one or more features, each once"),
        ({"taps": ["a", "a"]}, "head.taps=['a', 'a']: must name one or more features, each once"),
        ({"extra_channels": [512, 8]}, "head.extra_channels=[512, 8]: each must be at least 16"),
        ({"extra_width": 0}, "head.extra_width=0: must be positive"),
        ({"extra_width": NAN}, "head.extra_width=nan: must be positive"),
        (
            {"min_scale": 0.95},
            "head.min_scale=0.95, head.max_scale=0.95: must be 0 < min_scale < max_scale <= 1",
        ),
        ({"min_scale": 0.0}, "head.min_scale=0.0, head.max_scale=0.95: must be 0 < min_scale < max_scale <= 1"),
        ({"max_scale": 1.5}, "head.min_scale=0.2, head.max_scale=1.5: must be 0 < min_scale < max_scale <= 1"),
        ({"match_iou": 0}, "head.match_iou=0: must be in (0, 1]"),
        ({"nms_iou": 1.1}, "head.nms_iou=1.1: must be in (0, 1]"),
        ({"bn_momentum": NAN}, "head.bn_momentum=nan: must be in (0, 1]"),
        ({"score_threshold": 1}, "head.score_threshold=1: must be in [0, 1)"),
        ({"score_threshold": -0.1}, "head.score_threshold=-0.1: must be in [0, 1)"),
        ({"max_detections": 0}, "head.max_detections=0: must be at least 1"),
        ({"candidates": 0}, "head.candidates=0: must be at least 1"),
        ({"class_slots": 1}, "head.class_slots=1: must be at least 2"),
        ({"min_negatives": 0}, "head.min_negatives=0: must be at least 1"),
        ({"negatives_per_positive": 0}, "head.negatives_per_positive=0: must be positive"),
        ({"bn_eps": -1e-3}, "head.bn_eps=-0.001: must be positive"),
    ],
)
def test_refuses(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        SSDLiteConfig(**values)


def test_limits_are_allowed() -> None:
    limits = {"match_iou": 1, "max_scale": 1, "score_threshold": 0, "max_detections": 1, "extra_channels": [16]}
    config = SSDLiteConfig(**limits, taps=["last"])
    assert {name: getattr(config, name) for name in limits} == limits


def test_no_extra_layers_is_allowed() -> None:
    assert SSDLiteConfig(extra_channels=[]).extra_channels == []


def test_a_wrong_keyword_is_an_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'score_treshold'"):
        SSDLiteConfig(score_treshold=0.5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        SSDLiteConfig(["last"])  # type: ignore[call-arg]


def test_a_wrong_attribute_is_an_error() -> None:
    with pytest.raises(AttributeError, match="score_treshold"):
        SSDLiteConfig().score_treshold = 0.5  # type: ignore[attr-defined]


def test_defaults_are_not_shared() -> None:
    SSDLiteConfig().taps.append("x")
    assert SSDLiteConfig().taps == ["c4.expand", "last"]
