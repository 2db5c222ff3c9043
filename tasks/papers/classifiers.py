"""Published ImageNet classifiers of every network, by width and image size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.papers.tables import CHECKPOINTS, Checkpoint

if TYPE_CHECKING:
    from backbone.config import MobileNetConfig

V1_SIZES = (224, 192, 160, 128)
V1_ROWS = {
    1.0: ((568, 70.9), (418, 70.0), (290, 68.0), (186, 65.2)),
    0.75: ((325, 68.4), (239, 67.2), (166, 65.3), (106, 62.1)),
    0.5: ((149, 63.3), (110, 61.7), (76, 59.1), (49, 56.3)),
    0.25: ((41, 49.8), (30, 47.7), (21, 45.5), (13, 41.5)),
}
"""TF-slim's checkpoints of 2018; the multiply-adds are those of its layers, cut."""
PUBLISHED: dict[str, dict[float, dict[int, Checkpoint]]] = {
    "mobilenet_v1": {
        width: {size: Checkpoint(*known) for size, known in zip(V1_SIZES, row, strict=True)}
        for width, row in V1_ROWS.items()
    },
    "mobilenet_v2": CHECKPOINTS,
    "mobilenet_v3_large": {1.0: {224: Checkpoint(219, 75.2)}, 0.75: {224: Checkpoint(155, 73.3)}},
    "mobilenet_v3_small": {1.0: {224: Checkpoint(56, 67.4)}, 0.75: {224: Checkpoint(44, 65.4)}},
    "mobilenet_v4_small": {1.0: {224: Checkpoint(186, 73.8)}},
    "mobilenet_v4_medium": {1.0: {224: Checkpoint(827, 79.1), 256: Checkpoint(1080, 79.9)}},
}
"""By option of the group `backbone`: V3's of its Table 3, V4's of timm's weights (the paper's own are within .1)."""


def published(config: MobileNetConfig, image_size: int) -> Checkpoint | None:
    """What was published for a network with all its strides and options of its paper; None: nothing."""
    usual = type(config)(width=config.width)
    if config.network() != usual.network() or config.finest_stride != usual.finest_stride:
        return None
    return PUBLISHED.get(config.NAME, {}).get(config.width, {}).get(image_size)
