from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from backbone.errors import InputError
from tasks.drawing import contact_sheet as module
from tasks.drawing.boxes import Boxes, class_colour
from tasks.drawing.contact_sheet import MAT, PAPER, Pair, contact_sheet, fitted
from tasks.drawing.pairs import box_pair

NAMES = ("circle", "квадрат")


def pair(height: int, width: int, shade: int = 90, found: int = 2, threshold: float = 0.3) -> Pair:
    box = np.array([[0.2 * width, 0.3 * height, 0.6 * width, 0.7 * height]])
    truth = Boxes(box, np.array([0]), crowd=np.array([False]))
    scores = np.linspace(0.9, 0.1, found)
    prediction = Boxes(np.repeat(box, found, axis=0), np.ones(found, int), scores)
    image = np.full((height, width, 3), shade, np.uint8)
    caption = f"{height}x{width}.jpg"
    return box_pair(image, truth, prediction, names=NAMES, score_threshold=threshold, caption=caption)


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def has(sheet: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((sheet == colour).all(axis=-1).any())


def test_one_image_with_truth_left_and_prediction_right(tmp_path):
    path = contact_sheet([pair(300, 400)], tmp_path / "new" / "sheet.png")
    assert path == tmp_path / "new" / "sheet.png"
    sheet = read(path)
    middle = sheet.shape[1] // 2
    assert has(sheet[:, :middle], class_colour(0))
    assert not has(sheet[:, middle:], class_colour(0))
    assert has(sheet[:, middle:], class_colour(1))
    assert not has(sheet[:, :middle], class_colour(1))
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]


def test_many_images_of_any_shape(tmp_path):
    shapes = [(300, 400), (400, 300), (8, 8), (100, 1000), (1000, 100), (1, 1), (200, 200)]
    sheet = read(contact_sheet([pair(*shape) for shape in shapes], tmp_path / "s.png", title="val"))
    one = read(contact_sheet([pair(300, 400)], tmp_path / "one.png"))
    assert has(sheet, MAT)
    assert tuple(sheet[0, 0]) == PAPER
    assert sheet.shape[1] > 2.5 * one.shape[1]
    assert (sheet[-1] == PAPER).all()


def test_images_are_whole_and_not_stretched():
    for shape, size in (((300, 400), (270, 360)), ((1000, 500), (288, 144)), ((1, 2000), (1, 360)), ((321, 401), None)):
        picture = fitted(np.zeros((*shape, 3), np.uint8))
        assert size is None or picture.shape[:2] == size
        assert fitted(picture) is picture


def test_nothing_found_is_an_empty_picture(tmp_path):
    sheet = read(contact_sheet([pair(300, 400, found=0)], tmp_path / "s.png"))
    assert not has(sheet, class_colour(1))


def test_only_scores_above_the_threshold_are_drawn_and_the_sheet_says_so(tmp_path, monkeypatch):
    written = []
    real = module.write_line
    monkeypatch.setattr(module, "write_line", lambda *args: (written.append(args[2]), real(*args)))
    pairs = [pair(30, 40, found=5, threshold=0.95)]
    sheet = read(contact_sheet(pairs, tmp_path / "s.png", title="Shapes, val", note="scores of at least 0.95"))
    assert not has(sheet, class_colour(1))
    contact_sheet([pair(30, 40, found=5, threshold=0.5)], tmp_path / "s.png")
    assert written[:2] == ["Shapes, val", "1 image, scores of at least 0.95"]
    assert "0 shown, 5 below 0.95" in written
    assert "3 shown, 2 below 0.5" in written
    assert "30x40.jpg: 1 object" in written


def test_a_legend_stands_above_the_pictures_in_as_many_lines_as_it_needs(tmp_path):
    plain = read(contact_sheet([pair(30, 40)], tmp_path / "s.png"))
    short = read(contact_sheet([pair(30, 40)], tmp_path / "s.png", legend=[("sky", (1, 2, 3))]))
    entries = [(f"class {n}", (n, 200, 100)) for n in range(40)]
    long = read(contact_sheet([pair(30, 40)], tmp_path / "s.png", legend=entries))
    assert plain.shape[0] < short.shape[0] < long.shape[0]
    assert has(short, (1, 2, 3))
    rows = [int((long == colour).all(axis=-1).any(axis=1).nonzero()[0][0]) for _, colour in entries]
    assert rows == sorted(rows)
    assert len(set(rows)) > 2
    assert (long[:, -module.MARGIN_PX :] == PAPER).all()


def test_errors(tmp_path):
    with pytest.raises(InputError, match=r"contact sheet s\.png: there are no images to draw; give at least one"):
        contact_sheet([], "s.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"s\.png: cannot be written \(.*\); choose a folder that you may write to"):
        contact_sheet([pair(30, 40)], tmp_path / "file" / "s.png")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"folder: cannot be written \(Is a directory\)"):
        contact_sheet([pair(30, 40)], tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
