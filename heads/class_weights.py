"""Weights of classes in a cross entropy, as the option `head.class_weights` gives them. Imports nothing heavy."""

from __future__ import annotations

import math
from typing import Any

from backbone.errors import InputError

AUTO = "auto"
"""Value that has the weights follow from the training set."""
MOST = 10.0
"""Largest weight that a rare class gets; the smallest is one over it."""


def check_class_weights(given: Any) -> None:
    """Check that an option is null, `auto` or a list of weights.

    Raises:
        InputError: it is something else.
    """
    if given not in (None, AUTO) and not _are_weights(given):
        raise InputError(f"head.class_weights={given}: must be {AUTO}, or numbers that are finite and not negative")


def _are_weights(given: Any) -> bool:
    return isinstance(given, list) and all(
        isinstance(weight, int | float) and not isinstance(weight, bool) and 0 <= weight < math.inf for weight in given
    )


def initial_class_weights(given: Any, num_classes: int) -> list[float]:
    """Weight of every class before the training set is known: one, where the option is null or `auto`.

    Raises:
        InputError: the list has another length.
    """
    weights = [1.0] * num_classes if given is None or given == AUTO else list(given)
    if len(weights) != num_classes:
        raise InputError(f"head.class_weights={weights}: must be {num_classes} numbers, one for each class")
    return weights
