"""What people call the splits of a data set, and whether there is one to divide off."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

USUAL = (
    ("train2017", "train", "training"),
    ("val2017", "val", "valid", "validation"),
    ("test", "testing"),
)  # fmt: skip
"""Names of the same split, the first of them first."""
DIVIDE = "data.split=0.2 takes a fifth of the images for validation where there is no such split"


def found_name(wanted: str, is_there: Callable[[str], bool]) -> str:
    """`wanted`, or where no split is called so, another usual name of it that one has; `wanted` if none has."""
    if is_there(wanted):
        return wanted
    other = next((name for names in USUAL if wanted in names for name in names if is_there(name)), wanted)
    if other != wanted:
        log.info("the split %s is called %s here", wanted, other)
    return other


def split_names(config: Any, is_there: Callable[[str], bool]) -> tuple[str, str, str | None]:
    """Names under which train, val and test are there; None for a test split that is not.

    Args:
        config: of the data set, with `train_split`, `val_split`, `test_split` and `split`.
        is_there: whether a split of a name is.

    Raises:
        InputError: `data.split` is set and there is a validation split.
    """
    train, val = found_name(config.train_split, is_there), found_name(config.val_split, is_there)
    if config.split is not None and is_there(val) and val != train:
        raise InputError(
            f"data.split={config.split:g}: {config.root} has the split {val} already; leave data.split out, or name"
            " by data.val_split=NAME one that is not there"
        )
    test = None if config.test_split is None else found_name(config.test_split, is_there)
    return train, val, test if test is not None and is_there(test) else None
