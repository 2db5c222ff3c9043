"""What stands side by side on a contact sheet: one image with its ground truth and with what was predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from heads.structures import VOID
from tasks.drawing.boxes import Boxes, draw_boxes
from tasks.drawing.contact_sheet import Pair, fitted
from tasks.drawing.masks import draw_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BOX_FONT_PX = 12


def box_pair(
    image: NDArray[np.uint8],
    truth: Boxes,
    prediction: Boxes,
    *,
    names: Sequence[str],
    score_threshold: float,
    caption: str,
) -> Pair:
    """Draw an image (H, W, 3) and its boxes.

    Args:
        truth: crowd regions included.
        prediction: with scores; what is below the threshold is not drawn but counted in the caption.
        caption: what stands below: a file name or an image id.
    """
    shown = prediction.above(score_threshold)
    small = fitted(image)
    factor = small.shape[1] / image.shape[1]
    left, right = (draw_boxes(small, boxes.scaled(factor), names, BOX_FONT_PX) for boxes in (truth, shown))
    hidden = len(prediction) - len(shown)
    objects = f"{len(truth)} object{'' if len(truth) == 1 else 's'}"
    found = f"{len(shown)} shown" + (f", {hidden} below {score_threshold:g}" if hidden else "")
    return Pair(left, right, f"{caption}: {objects}", found)


def mask_pair(
    image: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    *,
    names: Sequence[str],
    caption: str,
) -> Pair:
    """Draw an image (H, W, 3) and its masks (H, W); what share of the pixels is right is counted at full size."""
    small = fitted(image)
    size = small.shape[1], small.shape[0]
    left, right = (
        draw_mask(small, np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8), names)
        for mask in (truth, prediction)
    )
    known = truth != VOID
    right_share = (
        f"{100 * (truth == prediction)[known].mean():.1f} % of the pixels right" if known.any() else "all void"
    )
    return Pair(left, right, caption, right_share)
