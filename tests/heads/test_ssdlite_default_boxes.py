"""Default boxes against the paper's numbers and hand arithmetic."""

from math import sqrt

import pytest
import torch

from heads.ssdlite.config import SSDLiteConfig
from heads.ssdlite.default_boxes import box_shapes, default_boxes, scales

CELLS_320 = [20, 10, 5, 3, 2, 1]
CELLS_300 = [19, 10, 5, 3, 2, 1]


def test_scales_are_the_papers() -> None:
    assert scales(6, 0.2, 0.95) == pytest.approx([0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0])


def test_one_map_has_the_smallest_scale() -> None:
    assert scales(1, 0.2, 0.95) == [0.2, 1.0]


@pytest.mark.parametrize(("cells", "count"), [(CELLS_320, 2034), (CELLS_300, 1917)])
def test_count(cells: list[int], count: int) -> None:
    assert default_boxes(cells, SSDLiteConfig()).shape == (count, 4)


def test_first_map_has_three_boxes_of_its_own() -> None:
    first = box_shapes(6, SSDLiteConfig())[0]
    assert first == [
        pytest.approx((0.1, 0.1)),
        pytest.approx((0.2 * sqrt(2), 0.2 / sqrt(2))),
        pytest.approx((0.2 / sqrt(2), 0.2 * sqrt(2))),
    ]


@pytest.mark.parametrize(("index", "scale", "following"), [(1, 0.35, 0.5), (3, 0.65, 0.8), (5, 0.95, 1.0)])
def test_other_maps_have_six(index: int, scale: float, following: float) -> None:
    shapes = box_shapes(6, SSDLiteConfig())[index]
    ratios = [width / height for width, height in shapes]
    areas = [width * height for width, height in shapes]
    assert ratios == pytest.approx([1, 2, 1 / 2, 3, 1 / 3, 1])
    assert areas == pytest.approx([scale**2] * 5 + [scale * following])


def test_order_is_map_row_column_box_and_centres_are_in_the_middle_of_cells() -> None:
    cells = [4, 2]
    boxes = default_boxes(cells, SSDLiteConfig())
    wanted = [
        ((column + 0.5) / size, (row + 0.5) / size, *shape)
        for size, shapes in zip(cells, box_shapes(2, SSDLiteConfig()), strict=True)
        for row in range(size)
        for column in range(size)
        for shape in shapes
    ]
    assert boxes.dtype == torch.float32
    torch.testing.assert_close(boxes, torch.tensor(wanted))
