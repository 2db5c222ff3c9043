"""Default boxes, which predictions are offsets to.

Reference: SSD, arXiv:1512.02325, section 2.2; its TensorFlow implementation for MobileNets, which has three boxes of
its own in the first map.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING

import torch

from backbone.errors import InputError
from heads.ssdlite.config import AUTO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from backbone.features import FeatureSpec
    from heads.ssdlite.config import SSDLiteConfig


def map_cells(config: SSDLiteConfig, specs: Mapping[str, FeatureSpec], image_size: int) -> list[int]:
    """Cells along a side of each map that is predicted from: the taps, then the extra layers, each half of the last."""
    cells = [specs[tap].size(image_size) for tap in config.taps]
    for _ in config.extra_channels:
        cells.append(-(-cells[-1] // 2))
    return cells


def scales(maps: int, min_scale: float, max_scale: float) -> list[float]:
    """Scales of the maps, evenly spaced, and 1.0 behind the last: 0.2, 0.35, .. 0.95, 1.0 for six maps."""
    step = (max_scale - min_scale) / max(maps - 1, 1)
    return [*(min_scale + step * k for k in range(maps)), 1.0]


def configured_scales(config: SSDLiteConfig, maps: int) -> list[float]:
    """Scales of the maps as configured, and 1.0 behind the last; those to be fitted begin as the paper's.

    Raises:
        InputError: those that are given are more or fewer than the maps.
    """
    if config.scales is None or config.scales == AUTO:
        return scales(maps, config.min_scale, config.max_scale)
    if len(config.scales) != maps:
        raise InputError(f"head.scales={list(config.scales)}: must be {maps} numbers, one for each map, or {AUTO}")
    return [*config.scales, 1.0]


def box_shapes(
    maps: int, config: SSDLiteConfig, scale: Sequence[float] | None = None
) -> list[list[tuple[float, float]]]:
    """Widths and heights, as fractions of the image, of the boxes of one cell of each map.

    A box of scale s and aspect ratio r is s * sqrt(r) wide and s / sqrt(r) high.

    Args:
        scale: of the maps, and the one behind the last; None: as configured.
    """
    scale = configured_scales(config, maps) if scale is None else scale
    boxes = [
        [*((scale[k], ratio) for ratio in config.aspect_ratios), (sqrt(scale[k] * scale[k + 1]), 1.0)]
        for k in range(maps)
    ]
    if config.three_boxes_first:
        boxes[0] = [(scale[0] / 2, 1.0), (scale[0], 2.0), (scale[0], 1 / 2)]
    most = 1.0 if config.limit_boxes else inf
    return [[(min(s * sqrt(r), most), min(s / sqrt(r), most)) for s, r in cell] for cell in boxes]


def default_boxes(cells: Sequence[int], config: SSDLiteConfig, scale: Sequence[float] | None = None) -> Tensor:
    """Default boxes of maps that are `cells` wide and high, as boxes_cxcywh_rel (A, 4); see `box_shapes`.

    In the order of the predictions: by map, then row, column, and box of the cell. Not clipped at the border.
    """
    boxes = []
    for size, shapes in zip(cells, box_shapes(len(cells), config, scale), strict=True):
        centres = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        cy, cx = torch.meshgrid(centres, centres, indexing="ij")
        centre = torch.stack([cx, cy], dim=-1)[:, :, None].expand(-1, -1, len(shapes), -1)
        shape = torch.tensor(shapes, dtype=torch.float64).expand(size, size, -1, -1)
        boxes.append(torch.cat([centre, shape], dim=-1).reshape(-1, 4))
    return torch.cat(boxes).float()
