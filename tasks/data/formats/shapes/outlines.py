"""The classes, as closed curves about the origin. A shape may have a hole: where two curves overlap is outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CIRCLE_POINTS = 48


def _arc(radius: float, start: float, end: float, points: int = CIRCLE_POINTS) -> NDArray[np.float64]:
    angles = np.linspace(start, end, points)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _circle(radius: float) -> NDArray[np.float64]:
    return _arc(radius, 0.0, 2 * np.pi)


def _polygon(corners: int, first: float = -np.pi / 2) -> NDArray[np.float64]:
    """The first corner is on top unless another angle is given."""
    return _arc(1.0, first, first + 2 * np.pi, corners + 1)[:-1]


def _star() -> NDArray[np.float64]:
    points = _polygon(10)
    points[1::2] *= 0.42
    return points


def _cross() -> NDArray[np.float64]:
    arm = 0.32
    corner = np.array([[1.0, -arm], [1.0, arm], [arm, arm]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return np.concatenate([corner @ np.linalg.matrix_power(turn, quarter) for quarter in range(4)])


OUTLINES: dict[str, tuple[NDArray[np.float64], ...]] = {
    "circle": (_circle(1.0),),
    "cross": (_cross(),),
    "square": (_polygon(4, np.pi / 4),),
    "star": (_star(),),
    "triangle": (_polygon(3),),
}
"""Every class by name, in the order of its index; sizes do not matter, they are scaled when drawn."""

NAMES = tuple(OUTLINES)
