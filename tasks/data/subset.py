"""Some classes of a data set with boxes: the others' objects are left out, and it is said how many."""

from __future__ import annotations

import difflib
import logging
from typing import TYPE_CHECKING

from backbone.errors import InputError
from tasks.data.datasets.detection import DetectionDataset
from tasks.data.labels import LabelMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.data.splits import DataSplits

log = logging.getLogger(__name__)


def of_classes(splits: DataSplits, names: Sequence[str] | None) -> DataSplits:
    """The splits with some of their classes, in the order of `names`; None: as they are. The splits are changed.

    Images without an object of these classes stay: they are images without objects.

    Raises:
        InputError: a name is given twice, or is none of the data set's.
    """
    if names is None or list(names) == list(splits.labels.names):
        return splits
    ids = dict(zip(splits.labels.names, splits.labels.ids, strict=True))
    for name in names:
        if name not in ids:
            near = ", ".join(difflib.get_close_matches(name, ids, n=3, cutoff=0.0))
            raise InputError(
                f"data.classes=[{', '.join(names)}]: the data has no {name}; nearest of its {len(ids)} classes: {near}"
            )
    try:
        labels = LabelMap(names, [ids[name] for name in names])
    except InputError as error:
        raise InputError(f"data.classes=[{', '.join(names)}]: {error}") from None
    for which in ("train", "val", "test"):
        split = getattr(splits, which)
        if isinstance(split, DetectionDataset):
            left_out = split.keep_classes(labels)
            log.info("data.classes: of %s, %d objects of other classes are left out", which, left_out)
        elif split is not None:
            split.labels = labels
    splits.labels = labels
    return splits
