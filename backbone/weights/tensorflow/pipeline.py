"""`pipeline.config` of TensorFlow's object detection API: what a checkpoint does not say of the detector around it.

Reference: tensorflow/models, research/object_detection/protos (pipeline, ssd, ssd_anchor_generator, post_processing).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "pipeline.config"
TOKEN = re.compile(r"""\s*(?:\#[^\n]*|([{}:<>,;]|"[^"\n]*"|'[^'\n]*'|[^\s{}:<>,;"'\#]+))""")
MAX_BYTES = 1 << 20
MAX_DEPTH = 20
SCORES = {"SIGMOID": "sigmoid", "SOFTMAX": "softmax"}


def read_pipeline(file: Path) -> dict[str, Any]:
    """Facts as `Graph.facts` has them, and `min_scale`, `max_scale`, `aspect_ratios` of the default boxes.

    Raises:
        InputError: it is no such file, or of a detector that is none of SSD with images of one size.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError("it is too large")
        tokens = _tokens(file.read_text(encoding="utf-8"))
        ssd = _last(_last(_message(tokens, 0), "model"), "ssd")
        facts = _facts(ssd)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"weights {file}: is no configuration of an SSD of the object detection API ({error}); mend it, or move it"
            " away and give head.* and transform.* yourself"
        ) from error
    return facts


def _facts(ssd: dict[str, list[Any]]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if "image_resizer" in ssd:
        size = _last(_last(ssd, "image_resizer"), "fixed_shape_resizer")
        height, width = int(size["height"][-1]), int(size["width"][-1])
        if height != width:
            raise ValueError(f"its images are {width} x {height} pixels, and only squares are known")
        facts["image_size"] = height
    if "anchor_generator" in ssd:
        boxes = _last(_last(ssd, "anchor_generator"), "ssd_anchor_generator")
        facts |= {name: float(boxes[name][-1]) for name in ("min_scale", "max_scale") if name in boxes}
        if "aspect_ratios" in boxes:
            facts["aspect_ratios"] = [float(ratio) for ratio in boxes["aspect_ratios"]]
    after = _last(ssd, "post_processing") if "post_processing" in ssd else {}
    if "score_converter" in after:
        facts["score"] = SCORES.get(after["score_converter"][-1], after["score_converter"][-1])
    if "batch_non_max_suppression" in after:
        limits = _last(after, "batch_non_max_suppression")
        names = {"score_threshold": "score_threshold", "iou_threshold": "nms_iou"}
        facts |= {ours: float(limits[theirs][-1]) for theirs, ours in names.items() if theirs in limits}
        if "max_total_detections" in limits:
            facts["max_detections"] = int(limits["max_total_detections"][-1])
    return facts


def _tokens(text: str) -> Iterator[str]:
    place = 0
    while place < len(text.rstrip()):
        found = TOKEN.match(text, place)
        if found is None or found.end() == place:
            raise ValueError(f"line {text.count(chr(10), 0, place) + 1} is no text of a message")
        place = found.end()
        if found[1] and found[1] not in ",;":
            yield found[1]


def _message(tokens: Iterator[str], depth: int) -> dict[str, list[Any]]:
    """Fields of a message in protocol buffers' text format, each with all its values."""
    fields: dict[str, list[Any]] = {}
    if depth > MAX_DEPTH:
        raise ValueError("its messages are nested too deeply")
    for name in tokens:
        if name in "}>":
            if not depth:
                raise ValueError("a brace closes nothing")
            return fields
        value = next(tokens, "")
        if value == ":":
            value = next(tokens, "")
        if not value or value in "}>:":
            raise ValueError(f"{name} has no value")
        fields.setdefault(name, []).append(_message(tokens, depth + 1) if value in "{<" else value.strip("\"'"))
    if depth:
        raise ValueError("a brace is not closed")
    return fields


def _last(message: dict[str, list[Any]], name: str) -> dict[str, list[Any]]:
    """The message in a field; of several the last."""
    if name not in message:
        raise ValueError(f"there is no {name}, but {', '.join(message) or 'nothing'}")
    part = message[name][-1]
    if not isinstance(part, dict):
        raise TypeError(f"{name} is no message")
    return part
