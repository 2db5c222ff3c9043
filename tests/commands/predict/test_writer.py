"""Files of one image, and how many images are in memory together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from backbone.errors import InputError
from tasks.commands.predict.job import batches
from tasks.commands.predict.reading import PIXELS_AHEAD, Loaded
from tasks.commands.predict.writer import ResultsWriter, kind_of, write_jpeg
from tests.commands.predict.models import IDS, predictor
from tests.data.builders import picture

if TYPE_CHECKING:
    from pathlib import Path


def test_every_head_of_a_joint_model_is_written(tmp_path: Path) -> None:
    model = predictor("detection", "detection_2", "segmentation", "classification")
    model.score = 1.0  # a hundred boxes are noise, which JPEG does not keep
    image = picture(240, 360)
    writer = ResultsWriter(tmp_path, model, pictures=True, hand_back=True)
    entry, drawn = writer.write(Loaded("a/x.png", "a/x", image), model(image), 5)
    assert {head: next(iter(answer)) for head, answer in entry.answers.items()} == {
        "detection": "detections", "detection_2": "detections", "segmentation": "mask", "classification": "classes",
    }  # fmt: skip
    assert {row["category_id"] for row in entry.answers["detection"]["detections"]} <= set(IDS)
    assert {row["image_id"] for row in entry.answers["detection_2"]["detections"]} == {5}
    assert (entry.size, entry.answers["segmentation"]["mask"]) == ([240, 360], "masks/a/x.png")
    assert drawn is not None
    with Image.open(tmp_path / "pictures/a/x.jpg") as written:
        assert np.abs(np.asarray(written).astype(int) - drawn).mean() < 4
    assert not list(tmp_path.rglob("*.part"))


def test_a_picture_without_an_answer_writes_nothing(tmp_path: Path) -> None:
    writer = ResultsWriter(tmp_path, predictor("classification"), pictures=True, hand_back=False)
    entry, drawn = writer.write(Loaded("x.jpg", "x", error="x.jpg: broken"), None, 0)
    assert (entry.error, entry.image_id, drawn) == ("x.jpg: broken", 0, None)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"70000 x 1 pixels cannot be written as JPEG .*; say predict\.pictures=false"):
        write_jpeg(np.zeros((1, 70000, 3), np.uint8), tmp_path / "x.jpg")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"x\.jpg: cannot be written"):
        write_jpeg(np.zeros((1, 7, 3), np.uint8), tmp_path / "file" / "x.jpg")
    with pytest.raises(
        InputError, match=r"head pose: answers with str; mode=predict writes Detections, Classification"
    ):
        kind_of("pose", "standing")


def test_large_pictures_make_small_batches() -> None:
    side = 1 << 10
    one = Loaded("x", "x", np.lib.stride_tricks.as_strided(np.zeros(3, np.uint8), (side, side, 3), (0, 0, 1)))
    assert one.pixels * 32 == PIXELS_AHEAD
    assert [len(batch) for batch in batches([one] * 70, 100)] == [32, 32, 6]
    assert [len(batch) for batch in batches([one] * 5, 2)] == [2, 2, 1]
    huge = Loaded("x", "x", np.lib.stride_tricks.as_strided(np.zeros(3, np.uint8), (1 << 13, side * 8, 3), (0, 0, 1)))
    assert [len(batch) for batch in batches([one, huge, one], 16)] == [1, 1, 1]
