"""Start of a training from a whole model: its backbone, and its heads, whose classes may be others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tasks.checkpoints.model_file import is_foreign, known_labels, load_into, read_header
from tasks.checkpoints.public_names import names_of
from tasks.checkpoints.public_weights import convert_head, load_head

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from heads.kinds import Kind
    from tasks.data.labels import LabelMap
    from tasks.model import VisionModel

log = logging.getLogger(__name__)

SHOWN = 8
"""Classes that are named."""


def start_from(
    path: str,
    model: VisionModel,
    labels: Mapping[str, LabelMap],
    kinds: Mapping[str, Kind],
    classes: Sequence[str] | None,
) -> None:
    """Load a whole model; the predictors of classes that it knows by name are kept, the others stay new.

    Args:
        path: checkpoint of a run, or public weights, which the backbone has already.
        labels, kinds: by the head's name: classes of the data, and what the head learns.
        classes: names of public weights' classes, as told.
    Raises:
        InputError: the file does not fit in anything else than its classes.
    """
    if is_foreign(path):
        for name, head in model.heads.items():
            theirs = convert_head(path, name, head)
            count = head.classes_in(theirs, labels[name].num_classes)  # type: ignore[operator]
            known = names_of(path, kinds[name], count, classes)
            places = _places(known, labels[name].names)
            load_head(path, name, head, head.with_classes(theirs, places), labels[name])  # type: ignore[operator]
            log.info("%s", _told(name, path, labels[name].names, places, known))
        return
    header = read_header(path)
    known_here = known_labels(f"checkpoint={path}", header.labels, model.heads)
    places_of = {name: _places(known_here[name].names, labels[name].names) for name in model.heads}
    others = {name: places for name, places in places_of.items() if places != [*range(known_here[name].num_classes)]}
    load_into(path, model, left_out=[name for name in header.labels if name not in model.heads], classes=others)
    for name, places in places_of.items():
        log.info("%s", _told(name, path, labels[name].names, places, known_here[name].names))


def _places(known: Sequence[str] | None, wanted: Sequence[str]) -> list[int | None]:
    """For each class that is wanted its place among those that are known; None: it is none of them."""
    places = {name: place for place, name in enumerate(known or ())}
    return [places.get(name) for name in wanted]


def _told(
    head: str, source: str, names: Sequence[str], places: Sequence[int | None], known: Sequence[str] | None
) -> str:
    kept = [name for name, place in zip(names, places, strict=True) if place is not None]
    new = [name for name, place in zip(names, places, strict=True) if place is None]
    parts = [f"{len(some)} {what} ({_some(some)})" for some, what in ((kept, "kept"), (new, "new")) if some]
    unnamed = "" if known is not None else "; its classes have no names: predict.classes=[NAME, ..] would tell them"
    return f"head {head} starts from {source}: predictors of {' and '.join(parts)} classes{unnamed}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + " .." * (len(names) > SHOWN)
