"""What mode=demo says about an image file: mode=predict's own predictions, and one line where it is none."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backbone.errors import InputError
from heads.structures import Classification, Detections, LabelMask
from heads.tiling import Tiling
from tasks.commands.demo.answers import Answerer, TooLargeError, plain
from tasks.data.files.images import decode_image
from tests.commands.predict.models import NAMES, predictor
from tests.data.builders import picture

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


def written(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(48, 80)).save(file, kind, **options)
    return file.getvalue()


def huge_png(side: int) -> bytes:
    """A file of a hundred bytes that says it has `side` squared pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_answers_are_those_of_the_predictor(kind: str) -> None:
    model = predictor("classification", "detection", "detection_2", "segmentation")
    data = written(kind)
    found = json.loads(json.dumps(Answerer(model, 50)(data), allow_nan=False))
    wanted = model(decode_image("x", data))
    assert (found["height"], found["width"]) == wanted.size == (48, 80)
    for head, answer in wanted.by_head.items():
        told = found["predictions"][head]
        if isinstance(answer, Classification):
            scores = {one["label"]: one["score"] for one in told["classes"]}
            assert [scores[label] for label in range(len(NAMES))] == answer.scores.tolist()
            assert list(scores.values()) == sorted(scores.values(), reverse=True)
        elif isinstance(answer, Detections):
            assert [one["box"] for one in told["detections"]] == answer.boxes_xyxy_px.tolist()
            assert [one["score"] for one in told["detections"]] == answer.scores.tolist()
            assert [NAMES.index(one["name"]) for one in told["detections"]] == answer.labels.tolist()
        else:
            assert isinstance(answer, LabelMask)
            mask = np.frombuffer(base64.b64decode(told["mask"]), np.uint8).reshape(48, 80)
            np.testing.assert_array_equal(mask, answer.mask.numpy())
    assert set(found["times"]) == {"view", "model", "plain"}


def test_tiles_are_looked_at_where_asked_for() -> None:
    model = predictor("segmentation")
    model.tiling = Tiling(side=48)
    data = written("PNG")
    image = decode_image("x", data)
    for tiled, wanted in ((True, model(image)), (False, model.predict([model.see(image)], [image.shape[:2]])[0])):
        told = Answerer(model, 50, tiled=tiled)(data)["predictions"]["segmentation"]["mask"]
        answer = wanted.by_head["segmentation"]
        assert isinstance(answer, LabelMask)
        assert base64.b64decode(told) == answer.mask.numpy().tobytes()


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x89PNG", b"<svg/>", b"P6\n1 1\n255\nabc", b"\0" * 1000, b"RIFF1234WAVE"]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"^is (no image|broken)"):
        Answerer(predictor("classification"), 50)(data)


def test_bombs_are_not_decoded() -> None:
    answer = Answerer(predictor("classification"), 1)
    with pytest.raises(TooLargeError, match=r"has 2000 x 2000 pixels; demo\.max_megapixels=1 are allowed"):
        answer(huge_png(2000))
    with pytest.raises(InputError, match=r"25000 x 25000|too large"):
        Answerer(predictor("classification"), 178)(huge_png(25000))


def test_damaged_files_are_refused_or_answered() -> None:
    answer = Answerer(predictor("classification"), 1)
    rng = random.Random(0)
    refused = []
    for kind in FORMATS:
        whole = written(kind)
        for _ in range(40):
            data = bytearray(whole)
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            if rng.random() < 0.3:
                del data[rng.randrange(len(data)) :]
            try:
                answer(bytes(data))
            except InputError as error:
                refused.append(str(error))
    assert len(refused) > 50
    assert not [reason for reason in refused if "\n" in reason or "data set" in reason]


def test_an_answer_of_another_kind_is_named() -> None:
    with pytest.raises(InputError, match=r"head pose: answers with str; mode=demo shows Detections"):
        plain("pose", "standing", NAMES, 5)  # type: ignore[arg-type]
