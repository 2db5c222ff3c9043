"""Tiles cover, boxes and masks come back to their places, by hand and with a detector that knows the truth."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heads.structures import Detections, LabelMask
from heads.tiling import OVERLAP, Tile, Tiling, merge_boxes, merge_masks, object_side, plan


@given(st.integers(1, 900), st.integers(1, 900), st.integers(32, 400))
def test_tiles_cover_an_image_and_overlap(height: int, width: int, side: int) -> None:
    seen = torch.zeros(height, width, dtype=torch.int64)
    tiles = plan(height, width, side)
    for tile in tiles:
        assert (tile.height, tile.width) == (min(side, height), min(side, width))
        assert min(tile.top, tile.left) >= 0
        seen[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] += 1
    assert seen.min() >= 1
    lefts = sorted({tile.left for tile in tiles})
    assert all(b - a <= side - round(OVERLAP * side) for a, b in pairwise(lefts))


def test_when_tiles_are_chosen() -> None:
    """Objects of 40 px in an image of 2000, seen at 300: 6 px. Tiles of 375 px show them at 32."""
    auto = Tiling(side=None, object_side=40, image_size=300)
    assert auto.of(640, 480) == []
    tiles = auto.of(1500, 2000)
    assert {(tile.height, tile.width) for tile in tiles} == {(375, 375)}
    assert Tiling(side=None, image_size=300).of(4000, 4000) == []
    assert Tiling(side=640).of(640, 640) == []
    assert len(Tiling(side=640).of(641, 640)) == 2


def test_the_object_in_the_middle() -> None:
    boxes = [[0, 0, 4, 9], [5, 5, 10, 10], [0, 0, 1, 1], [0, 0, 99, 99]]
    truth = {"annotations": [{"bbox": box, "iscrowd": number == 3} for number, box in enumerate(boxes)]}
    assert object_side(truth) == 6
    assert object_side({"annotations": []}) is None


def of(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].long())


def test_boxes_of_tiles_by_hand() -> None:
    """Two tiles side by side that share 100 .. 200: an object in the first, one in both, one that both cut."""
    tiles = [Tile(0, 0, 200, 200), Tile(0, 100, 200, 200)]
    first = of((10, 10, 30, 30, 0.9, 0), (120, 50, 160, 90, 0.8, 0), (150, 100, 200, 180, 0.7, 1))
    second = of((20, 50, 60, 90, 0.85, 0), (21, 50, 60, 90, 0.5, 1), (0, 100, 90, 180, 0.75, 1))
    whole = of((150, 100, 190, 180, 0.3, 1), (120, 48, 160, 92, 0.2, 0))
    found = merge_boxes(whole, tiles, [first, second], (200, 300), nms_iou=0.5, most=100)
    assert found.scores.tolist() == pytest.approx([0.9, 0.85, 0.5, 0.3])
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.boxes_xyxy_px.tolist() == [
        [10, 10, 30, 30],
        [120, 50, 160, 90],
        [121, 50, 160, 90],
        [150, 100, 190, 180],
    ]
    assert len(merge_boxes(whole, tiles, [first, second], (200, 300), nms_iou=0.5, most=2).scores) == 2


@given(st.integers(0, 2**32 - 1))
def test_a_perfect_detector_finds_every_small_object_once(seed: int) -> None:
    """Whatever lies whole in a tile is found there, whatever is cut is found as far as it is seen."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.rand(36, 4, generator=generator)
    grid = torch.cartesian_prod(torch.arange(6), torch.arange(6)) * 100.0
    corners = grid + cells[:, :2] * 60
    truth = torch.cat([corners, corners + 5 + cells[:, 2:] * 30], dim=1)
    tiles, found = plan(600, 600, 200), []
    for tile in tiles:
        inside = truth.clone()
        inside[:, 0::2] = (inside[:, 0::2] - tile.left).clamp(0, tile.width)
        inside[:, 1::2] = (inside[:, 1::2] - tile.top).clamp(0, tile.height)
        there = ((inside[:, 2:] - inside[:, :2]) > 0).all(dim=1)
        found.append(
            Detections(inside[there], torch.full((int(there.sum()),), 0.9), torch.zeros(int(there.sum())).long())
        )
    merged = merge_boxes(of(), tiles, found, (600, 600), nms_iou=0.5, most=1000).boxes_xyxy_px
    assert sorted(map(tuple, merged.round(decimals=2).tolist())) == sorted(map(tuple, truth.round(decimals=2).tolist()))


@pytest.mark.parametrize("size", [(90, 130), (64, 64), (50, 200)])
def test_masks_of_tiles_are_put_together(size: tuple[int, int]) -> None:
    """Tiles that are right where they see an object's surroundings, and wrong at their inner borders."""
    mask = torch.randint(0, 5, size, dtype=torch.uint8)
    tiles, found = plan(*size, 48), []
    for tile in tiles:
        part = mask[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width].clone()
        if tile.top:
            part[:4] = 99
        if tile.left + tile.width < size[1]:
            part[:, -4:] = 99
        found.append(LabelMask(part))
    assert torch.equal(merge_masks(tiles, found, size).mask, mask)
