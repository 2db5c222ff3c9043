"""Box coder: boxes to offsets from default boxes, which the network predicts, and back.

A box (cx, cy, w, h) seen from a default box (cx0, cy0, w0, h0) is the deltas

    ((cx - cx0) / w0 / 0.1, (cy - cy0) / h0 / 0.1, log(w / w0) / 0.2, log(h / h0) / 0.2).

The divisors ("variances") make the four of about unit size. Reference: SSD, arXiv:1512.02325, equation 2.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

CENTRE_VARIANCE = 0.1
SIZE_VARIANCE = 0.2
MAX_GROWTH = log(1000 / 16)
"""Largest log of a decoded size over its default box's: keeps a wild prediction finite."""


def encode(boxes_cxcywh: Tensor, default_boxes_cxcywh: Tensor) -> Tensor:
    """Deltas (..., A, 4) of boxes (..., A, 4) with positive sizes, both in the same unit."""
    centre, size = boxes_cxcywh.chunk(2, dim=-1)
    default_centre, default_size = default_boxes_cxcywh.chunk(2, dim=-1)
    return torch.cat(
        [(centre - default_centre) / default_size / CENTRE_VARIANCE, (size / default_size).log() / SIZE_VARIANCE],
        dim=-1,
    )


def decode(deltas: Tensor, default_boxes_cxcywh: Tensor) -> Tensor:
    """Corners, boxes_xyxy (..., A, 4), from deltas, in the unit of the default boxes."""
    shift, growth = deltas.chunk(2, dim=-1)
    default_centre, default_size = default_boxes_cxcywh.chunk(2, dim=-1)
    centre = default_centre + shift * CENTRE_VARIANCE * default_size
    half = default_size * (growth * SIZE_VARIANCE).clamp(max=MAX_GROWTH).exp() / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def to_cxcywh(boxes_xyxy: Tensor) -> Tensor:
    """Centre and size from corners, any unit, (..., 4)."""
    low, high = boxes_xyxy.chunk(2, dim=-1)
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """Corners from centre and size, any unit, (..., 4)."""
    centre, size = boxes_cxcywh.chunk(2, dim=-1)
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)
