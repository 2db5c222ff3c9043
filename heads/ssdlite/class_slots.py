"""Class logits of a converted head for the classes of the data, where it was trained with more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

CLASS_LOGITS = re.compile(r"class_predictors\.\d+\.1\.(weight|bias)")


def select_classes(tensors: dict[str, Tensor], ids: Sequence[int], *, keep_others: bool = False) -> dict[str, Tensor]:
    """Converted tensors with the background's and the data's classes alone, where there are more.

    Args:
        ids: of the data's classes, which are the columns of class logits behind the background's; those that are more
            than there are columns leave all as it is.
        keep_others: put the other columns behind these instead of leaving them out.
    """
    chosen = dict(tensors)
    for name, tensor in tensors.items():
        boxes = tensors.get(name.replace("class_predictors", "box_predictors"))
        if not CLASS_LOGITS.fullmatch(name) or boxes is None:
            continue
        slots = 4 * len(tensor) // len(boxes)
        if 1 + len(ids) < slots and min(ids) > 0 and max(ids) < slots:
            others = [slot for slot in range(1, slots) if slot not in ids] if keep_others else []
            by_box = tensor.reshape(-1, slots, *tensor.shape[1:])
            chosen[name] = by_box[:, [0, *ids, *others]].flatten(0, 1)
    return chosen
