"""Which images a page shows, and how: JPEG inside the file, decoded when they come into view."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from tasks.report.html import Html, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tasks.drawing.boxes import Colour
    from tasks.drawing.contact_sheet import Pair
    from tasks.report.html import Child

JPEG_QUALITIES = (82, 70, 58, 46, 34)
MAX_JPEG_BYTES = 26_000
"""An image that takes more is stored at the next lower quality, so that a page of 200 pairs stays below 15 MB."""
SHOWN = ("best", "median", "worst")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Positions in a split of the images that went best, middling and worst, each list from better to worse."""

    best: list[int]
    median: list[int]
    worst: list[int]


def choose(quality: Mapping[int, float], count: int) -> Chosen:
    """Up to `count` of the positions in `quality`, larger is better: a third each, none twice; equals by position."""
    order = sorted(quality, key=lambda position: (-quality[position], position))
    total = min(count, len(order))
    ends = total // 3
    middle = total - 2 * ends
    start = (len(order) - middle) // 2
    return Chosen(order[:ends], order[start : start + middle], order[len(order) - ends :])


def gallery(
    chosen: Chosen,
    card: Callable[[int], Html],
    *,
    measure: str,
    legend: Sequence[tuple[str, Colour]] = (),
) -> Html | None:
    """The chosen images under three headings; None if there are none.

    Args:
        card: draws an image, given its position.
        measure: what "best" means, in words.
        legend: what colours mean.
    """
    groups = [(name, getattr(chosen, name)) for name in SHOWN]
    if not any(positions for _, positions in groups):
        return None
    swatches = [
        tag("span", tag("i", class_="swatch", style=f"background:rgb({r},{g},{b})"), name) for name, (r, g, b) in legend
    ]
    return tag(
        "section",
        tag("h3", "Best, median, worst", tag("span", measure, class_="note")),
        tag("p", swatches, class_="keys") if swatches else None,
        [[tag("h4", name), tag("div", map(card, places), class_="gallery")] for name, places in groups if places],
    )


def pair_card(pair: Pair, quality: str) -> Html:
    """Ground truth beside prediction.

    Args:
        quality: how well it went, in words.
    """
    sides = (("ground truth", pair.truth, pair.truth_caption), ("prediction", pair.prediction, pair.prediction_caption))
    halves = [tag("div", jpeg(image, f"{what}: {said}"), class_="half") for what, image, said in sides]
    return card(tag("div", halves, class_="pair"), pair.truth_caption, f"{quality} · {pair.prediction_caption}")


def card(drawn: Child, name: str, said: Child) -> Html:
    """Images and a caption."""
    return tag("figure", drawn, tag("figcaption", tag("b", name), tag("span", said)), class_="card image")


def jpeg(image: NDArray[np.uint8], alt: str) -> Html:
    """An RGB image (H, W, 3) as an element that holds it."""
    drawn = Image.fromarray(image)
    for quality in JPEG_QUALITIES:
        content = io.BytesIO()
        drawn.save(content, "JPEG", quality=quality, optimize=True)
        if content.tell() <= MAX_JPEG_BYTES:
            break
    source = f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"
    height, width = image.shape[:2]
    return tag("img", src=source, width=width, height=height, alt=alt, loading="lazy", decoding="async")
