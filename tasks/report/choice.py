"""Which images are shown."""

from __future__ import annotations


def spread(length: int, count: int) -> list[int]:
    """Up to `count` positions, evenly spread over 0 .. length - 1, the first and the last among them."""
    count = min(count, length)
    return sorted({round(place * (length - 1) / max(1, count - 1)) for place in range(count)})
