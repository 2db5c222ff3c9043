"""Bilinear interpolation from the few cells of the logits to the pixels of an image, in bounded memory.

Shapes: K classes, h w cells, H W pixels, P pixels looked at together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from heads.structures import VOID

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUES_AT_ONCE = 2**21
"""Class scores that are interpolated together: 8 MiB of them, whatever the size of the image."""
UNDECIDED = 255


class Between(NamedTuple):
    """Neighbouring cells of every pixel along a side.

    Attributes:
        low, high: (H,) int64, the cells before and after.
        share: (H,) float32, of the cell after.
    """

    low: Tensor
    high: Tensor
    share: Tensor

    def part(self, start: int, end: int) -> Between:
        return Between(self.low[start:end], self.high[start:end], self.share[start:end])


def between(cells: int, pixels: int, *, aligned_corners: bool, device: torch.device | None = None) -> Between:
    """Places of `pixels` among `cells`, in the very numbers of `torch.nn.functional.interpolate`.

    Args:
        aligned_corners: first and last pixel lie on first and last cell; otherwise both tile the same length.
    """
    places = torch.arange(pixels, dtype=torch.float32, device=device)
    if aligned_corners:
        places = places * torch.tensor((cells - 1) / max(pixels - 1, 1), dtype=torch.float32, device=device)
    else:
        scale = torch.tensor(cells / pixels, dtype=torch.float32, device=device)
        places = (scale * (places + 0.5) - 0.5).clamp(min=0)
    low = places.long().clamp(max=cells - 1)
    return Between(low, (low + 1).clamp(max=cells - 1), places - low)


def matrix(cells: int, pixels: int, *, aligned_corners: bool, device: torch.device | None = None) -> Tensor:
    """Interpolation along one side as a matrix (pixels, cells), with at most two entries in a row."""
    low, high, share = between(cells, pixels, aligned_corners=aligned_corners, device=device)
    here = torch.arange(cells, device=device)
    return (low[:, None] == here) * (1 - share)[:, None] + (high[:, None] == here) * share[:, None]


def counted_pixels(logits: Tensor, masks: Tensor, rows: Tensor, columns: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Probabilities (K, P) and labels (P,) of the pixels that are not ignored, image by image.

    Args:
        logits: (N, K, h, w).
        masks: (N, H, W) uint8; 255 is ignored.
        rows, columns: (H, h) and (W, w), which interpolate (see `matrix`).
    """
    for image, mask in zip(logits, masks, strict=True):
        counts = mask != VOID
        yield (rows @ image @ columns.T).softmax(dim=0)[:, counts], mask[counts]


def stripes(height: int, values_in_row: int) -> Iterator[tuple[int, int]]:
    """First row and end of stripes that together are `height` rows and each have few values."""
    rows = max(1, VALUES_AT_ONCE // values_in_row)
    for start in range(0, height, rows):
        yield start, min(start + rows, height)


def label_mask(logits: Tensor, size: tuple[int, int], *, aligned_corners: bool) -> Tensor:
    """Best class of every pixel, (H, W) uint8, as if logits (K, h, w) were interpolated to `size` first.

    Where one class is best at the four cells around a pixel it is best in between, whatever the weights: only the
    other pixels, those near a border between classes, are interpolated. At most 255 classes.
    """
    height, width = size
    rows = between(logits.shape[1], height, aligned_corners=aligned_corners, device=logits.device)
    columns = between(logits.shape[2], width, aligned_corners=aligned_corners, device=logits.device)
    decided = _agreed(logits.max(dim=0).indices).to(torch.uint8)
    cells = logits.permute(1, 2, 0).contiguous()
    mask = torch.empty(height, width, dtype=torch.uint8, device=logits.device)
    for start, end in stripes(height, width * logits.shape[0]):
        stripe = decided[rows.low[start:end]][:, columns.low]
        y, x = (stripe == UNDECIDED).nonzero(as_tuple=True)
        stripe[y, x] = _best(cells, rows.part(start, end), columns, y, x)
        mask[start:end] = stripe
    return mask


def _agreed(winners: Tensor) -> Tensor:
    """Class of a cell of (h, w) that the next one and the two below share; UNDECIDED where they do not."""
    right = torch.cat([winners[:, 1:], winners[:, -1:]], dim=1)
    same = winners == right
    same_below = torch.cat([same[1:], same[-1:]])
    below = torch.cat([winners[1:], winners[-1:]])
    return torch.where(same & same_below & (winners == below), winners, UNDECIDED)


def _best(cells: Tensor, rows: Between, columns: Between, y: Tensor, x: Tensor) -> Tensor:
    """Best class (P,) of the pixels at rows `y` of a stripe and columns `x`, from cells (h, w, K)."""
    share = rows.share[:, None, None]
    lines = torch.lerp(cells[rows.low], cells[rows.high], share).flatten(0, 1)
    line = y * cells.shape[1]
    left, right = (lines.index_select(0, line + column[x]) for column in (columns.low, columns.high))
    return torch.lerp(left, right, columns.share[x][:, None]).max(dim=1).indices.to(torch.uint8)
