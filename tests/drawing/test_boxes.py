from __future__ import annotations

import numpy as np
import pytest
import torch

from heads.structures import Detections
from tasks.drawing import boxes as draw
from tasks.drawing.boxes import PALETTE, Boxes, class_colour, draw_boxes, readable

NAMES = ("cat", "猫", "Äpfel")


def grey(height: int = 200, width: int = 300) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def boxes(*corners: list[float], scores: list[float] | None = None, crowd: list[bool] | None = None) -> Boxes:
    return Boxes(
        np.array(corners, float).reshape(-1, 4),
        np.zeros(len(corners), int),
        None if scores is None else np.array(scores),
        None if crowd is None else np.array(crowd),
    )


def test_a_box_has_its_colour_on_its_four_sides_and_the_image_inside():
    image = grey()
    drawn = draw_boxes(image, boxes([100, 60, 200, 160]), NAMES)
    assert (image == 128).all()
    for x, y in ((100, 110), (199, 110), (150, 60), (150, 159)):
        assert tuple(drawn[y, x]) == class_colour(0)
    assert tuple(drawn[110, 150]) == (128, 128, 128)
    assert (drawn[170:] == 128).all()


def test_no_boxes_leave_the_image_as_it_is():
    assert np.array_equal(draw_boxes(grey(), boxes(), NAMES), grey())
    assert np.array_equal(draw_boxes(grey(), boxes(scores=[], crowd=[]), NAMES), grey())


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3), (40, 40)])
def test_any_image_and_boxes_beyond_its_border(size):
    drawn = draw_boxes(grey(*size), boxes([-50, -50, 900, 900], [2, 2, 2, 2], crowd=[True, False]), NAMES)
    assert drawn.shape == (*size, 3)


def test_a_crowd_region_is_hatched_and_says_so():
    plain = draw_boxes(grey(), boxes([100, 60, 200, 160]), NAMES)
    crowd = draw_boxes(grey(), boxes([100, 60, 200, 160], crowd=[True]), NAMES)
    inside = (slice(70, 150), slice(110, 190))
    assert (plain[inside] == 128).all()
    assert 0.1 < (crowd[inside] != 128).any(axis=-1).mean() < 0.5
    assert (crowd[:60] != 128).sum() > (plain[:60] != 128).sum()


def test_the_best_is_on_top():
    both = Boxes(np.array([[50.0, 50, 150, 150]] * 2), np.array([0, 1]), np.array([0.9, 0.2]))
    assert tuple(draw_boxes(grey(), both, ("a", "b"))[149, 100]) == class_colour(0)


def test_names_do_not_cover_each_other():
    """Four places around a box: the fifth of five equal boxes goes without a plate."""
    several = [draw_boxes(grey(), boxes(*[[100, 80, 200, 150]] * count), NAMES) for count in (1, 2, 3, 4, 5)]
    changed = [int((picture != 128).any(axis=-1).sum()) for picture in several]
    assert changed[0] < changed[1] < changed[2] < changed[3] == changed[4]


def test_threshold_and_scale():
    two = boxes([0, 0, 10, 10], [0, 0, 20, 20], scores=[0.3, 0.29], crowd=[False, True])
    kept = two.above(0.3)
    assert kept.boxes_xyxy_px.tolist() == [[0, 0, 10, 10]]
    assert kept.crowd is not None
    assert kept.crowd.tolist() == [False]
    assert len(boxes([0, 0, 1, 1]).above(0.9)) == 1
    assert two.scaled(0.5).boxes_xyxy_px.tolist() == [[0, 0, 5, 5], [0, 0, 10, 10]]


def test_detections_become_boxes():
    found = Boxes.of(Detections(torch.ones(2, 4, requires_grad=True), torch.tensor([0.5, 0.25]), torch.tensor([1, 0])))
    assert (found.labels.tolist(), found.scores.tolist(), len(found)) == ([1, 0], [0.5, 0.25], 2)


def test_colours_are_fixed_and_far_from_each_other():
    assert class_colour(0) == PALETTE[0]
    colours = np.array([class_colour(index) for index in range(100)])
    assert len(np.unique(colours, axis=0)) == 100
    first = colours[: len(PALETTE), None].astype(int) - colours[None, : len(PALETTE)]
    distances = np.abs(first).sum(-1) + 1000 * np.eye(len(PALETTE))
    assert distances.min() >= 60


@pytest.mark.parametrize("index", range(40))
def test_names_can_be_read_on_their_plate(index):
    """Contrast as WCAG defines it, at least 3 : 1 (large text)."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    plate = class_colour(index)
    light, dark = sorted((luminance(plate), luminance(draw._ink(plate))), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


def test_names_of_any_script(monkeypatch):
    assert readable("cat", 12)[0] == "cat"
    monkeypatch.setattr(draw, "_system_fonts", lambda size: ())
    assert readable("Äpfel", 12)[0] == "Apfel"
    assert readable("猫 1", 12)[0] == r"\u732b 1"


def test_a_system_font_is_used_for_the_letters_it_has():
    fonts = draw._system_fonts(14)
    if not fonts:
        pytest.skip("this machine has none of the fonts")
    assert readable("Äpfel", 14) == ("Äpfel", fonts[0])
    assert not draw._has_letters(fonts[0], "\U0010fffd")


def test_pictures_with_names_of_any_script_differ_from_blank():
    for label in range(3):
        named = Boxes(np.array([[50.0, 50, 150, 150]]), np.array([label]))
        assert (draw_boxes(grey(), named, NAMES)[30:48] != 128).any()
