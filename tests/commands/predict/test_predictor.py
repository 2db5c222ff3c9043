"""Arrays in, typed answers of every head out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tasks.predict
from backbone.errors import InputError
from heads.structures import Classification, Detections, LabelMask
from tasks.data.transforms.whole import WholeImage
from tasks.drawing.predictions import Row, draw_panel, draw_predictions
from tasks.predictor import best_classes
from tests.commands.predict.models import NAMES, predictor
from tests.data.builders import picture
from tests.processes import loaded_by


def test_every_head_answers_about_pictures_of_any_size() -> None:
    model = predictor("detection", "segmentation", "classification")
    images = [picture(40, 60), picture(90, 30, 1), picture(1, 1, 2)]
    answers = model.batch(images)
    for image, answer in zip(images, answers, strict=True):
        boxes, mask, classes = (answer[head] for head in ("detection", "segmentation", "classification"))
        assert isinstance(boxes, Detections)
        assert isinstance(mask, LabelMask)
        assert isinstance(classes, Classification)
        assert answer.size == image.shape[:2] == tuple(mask.mask.shape)
        assert (boxes.boxes_xyxy_px[:, 2] <= image.shape[1]).all()
        assert (boxes.boxes_xyxy_px[:, 3] <= image.shape[0]).all()
        assert classes.scores.sum().item() == pytest.approx(1, abs=1e-5)
        assert model.draw(image, answer).shape == image.shape
    alone = model(images[0])
    assert torch.allclose(alone["classification"].scores, answers[0]["classification"].scores, atol=1e-5)  # type: ignore[union-attr]


def test_is_what_the_modules_compute() -> None:
    """An image of the model's size goes through no resizing: the oracle is the plain forward pass."""
    model = predictor("classification")
    image = picture(64, 64)
    plain = model.model.heads["classification"](
        model.model.backbone(torch.from_numpy(image).permute(2, 0, 1)[None] / 255 * 2 - 1)
    )
    answer = model(image)["classification"]
    assert isinstance(answer, Classification)
    assert torch.allclose(answer.scores, plain.softmax(dim=1)[0], atol=1e-5)


def test_pictures_that_keep_their_sizes_go_one_by_one() -> None:
    model = predictor("segmentation", transform=WholeImage(), same_size=False)
    assert model.batch_size == 1
    assert [answer.size for answer in model.batch([picture(33, 50), picture(33, 50), picture(70, 20)])] == [
        (33, 50), (33, 50), (70, 20),
    ]  # fmt: skip


def test_says_it_in_words() -> None:
    model = predictor("detection", "segmentation", "classification")
    lines = str(model(picture(40, 60))).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["detection", "segmentation", "classification"]
    assert all(any(name in line for name in NAMES) for line in lines)


def test_best_classes_come_in_order() -> None:
    scores = torch.tensor([0.2, 0.5, float("nan"), 0.2])
    assert best_classes(Classification(scores), "abcd", 3) == [
        ("b", 0.5), ("a", pytest.approx(0.2)), ("d", pytest.approx(0.2)),
    ]  # fmt: skip


def test_wrong_arrays_and_heads() -> None:
    model = predictor("classification")
    with pytest.raises(InputError, match=r"is an array \(3, 8, 8\) of uint8; must be \(height, width, 3\) of uint8"):
        model(np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(InputError, match=r"of float32; must be"):
        model(np.zeros((8, 8, 3), np.float32))  # type: ignore[arg-type]
    answer = model(picture(8, 9))
    with pytest.raises(InputError, match=r"the model has no head 'detection'; it has classification"):
        answer["detection"]
    with pytest.raises(InputError, match=r"for an image of \(8, 9\) on one of \(9, 8\)"):
        model.draw(picture(9, 8), answer)


def test_draws_where_the_answers_are_and_nowhere_else() -> None:
    image = np.full((200, 300, 3), 128, np.uint8)
    mask = torch.zeros(200, 300, dtype=torch.uint8)
    mask[:, 150:] = 1
    answers = {
        "boxes": Detections(torch.tensor([[160.0, 20, 200, 60]]), torch.tensor([0.9]), torch.tensor([0])),
        "mask": LabelMask(mask),
    }
    names = {"boxes": NAMES, "mask": ("background", "sea")}
    drawn = draw_predictions(image, answers, names, score=0.5, overlay=0.5, top=5)
    assert (image == 128).all()
    assert (drawn[:150, :149] == 128).all(), "background stays"
    assert drawn[120, 250].tolist() == [128, 64, 64], "half of VOC's dark red, (128, 0, 0)"
    legend = drawn[160:, :100].astype(int)
    assert (np.abs(legend - [128, 0, 0]).max(axis=2) < 2).any(), "the colour is in the legend"
    hidden = draw_predictions(image, {"boxes": answers["boxes"]}, names, score=0.95, overlay=0.5, top=5)
    assert (hidden == image).all()


@pytest.mark.parametrize("size", [(1, 1), (9, 400), (400, 9), (30, 30), (100, 160)])
@pytest.mark.parametrize("at_bottom", [False, True])
def test_a_panel_fits_every_picture(size: tuple[int, int], at_bottom: bool) -> None:
    image = np.full((*size, 3), 200, np.uint8)
    rows = [Row(f"a class with a long name {number}", (255, 0, 0), share=number / 40) for number in range(40)]
    draw_panel(image, rows, 11, at_bottom=at_bottom)
    assert image.shape == (*size, 3)


def test_a_foreign_answer_cannot_be_drawn() -> None:
    with pytest.raises(InputError, match=r"head pose: answers with str, which cannot be drawn"):
        draw_predictions(picture(9, 9), {"pose": "standing"}, {}, score=0, overlay=1, top=1)


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not {"torch", "numpy", "lightning", "cv2", "hydra"} & loaded_by("import tasks.predict")


def test_a_name_that_the_package_lacks() -> None:
    with pytest.raises(AttributeError, match=r"module 'tasks\.predict' has no attribute 'lod'"):
        tasks.predict.lod  # noqa: B018
