"""Why detections are wrong, and what mending each kind of mistake would gain, in the manner of TIDE.

A detection is right if its class and IoU meet an object that no better detection took. A wrong one has one of six
reasons, tried in this order; the last is one of objects:

    localisation    the right class, IoU 0.1 .. 0.5 with an object
    classification  IoU 0.5 or more with an object of another class
    duplicate       the right class and place, but the object was taken
    background      IoU of 0.1 or less with every object
    both            what remains: the wrong class, and IoU 0.1 .. 0.5
    missed          an object that was not found, and that mending localisation or classification would not find

What mending gains is AP at IoU 0.5 with that kind of mistake mended alone, less AP as it is. Gains do not add up: a
mistake mended uncovers or hides others. A detection that a crowd region excuses is in no AP, but is counted by its
reason, as in the reference.

Differs from the reference: the mean is over the classes that have objects, as COCO's is. There, a class that has
detections but no object counts as 0. Equal scores keep their order when something is mended.

Shapes: D detections, G objects, K classes.
Reference: TIDE, a General Toolbox for Identifying Object Detection Errors, arXiv:2008.08115.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]
    Flags: TypeAlias = NDArray[np.bool_]

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND, MISSED = range(len(KINDS))
RIGHT = -1
FOUND_IOU = 0.5
BACKGROUND_IOU = 0.1
MAX_DETECTIONS = 100
"""Detections of an image that count; those with lower scores do not count."""
RECALLS = np.arange(101) / 100


@dataclass(slots=True)
class Matches:
    """What every detection met. Detections come image by image, the best first.

    Attributes:
        categories: (K,) the data set's ids, ascending; a label is a position here.
        image_ids, labels, scores: (D,).
        kind: (D,) int64, `RIGHT` or a position in `KINDS`.
        excused: (D,) bool, wrong but in a crowd region of its class.
        target: (D,) int64, the object that a detection of wrong class or place is nearest to; -1 for the others.
        object_image_ids, object_labels: (G,).
        found: (G,) bool.
    """

    categories: Ints
    image_ids: Ints
    labels: Ints
    scores: Floats
    kind: Ints
    excused: Flags
    target: Ints
    object_image_ids: Ints
    object_labels: Ints
    found: Flags

    def image_quality(self, image_ids: list[int], score_threshold: float) -> dict[int, float]:
        """F1 of the detections of at least that score, by image; images without any and without objects are left out.

        F1: twice the right ones, over detections and objects together.
        """
        counts = self.scores >= score_threshold
        counts &= ~self.excused
        right, total = dict.fromkeys(image_ids, 0), dict.fromkeys(image_ids, 0)
        for image_id, kind in zip(self.image_ids[counts].tolist(), self.kind[counts].tolist(), strict=True):
            right[image_id] += kind == RIGHT
            total[image_id] += 1
        for image_id in self.object_image_ids.tolist():
            total[image_id] += 1
        return {image_id: 2 * right[image_id] / total[image_id] for image_id in image_ids if total[image_id]}


@dataclass(frozen=True, slots=True)
class Mistakes:
    """One kind of mistake.

    Attributes:
        count: detections, or objects if it is about those.
        gain: in AP at IoU 0.5, a fraction, never below 0.
        class_precision: (K,) AP of every class once they are mended; NaN for a class of which nothing is left.
    """

    name: str
    count: int
    gain: float
    class_precision: Floats = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ErrorAnalysis:
    """What is wrong, and what mending it would gain.

    Attributes:
        precision: AP at IoU 0.5 as it is, 0 .. 1; None where there are no objects.
        kinds: the six of `KINDS`.
        false_positives: every wrong detection ranked below every right one.
        false_negatives: the objects that were not found left out.
        class_precision: (K,) AP of every class as it is; NaN for one without objects and detections.
    """

    precision: float | None
    kinds: tuple[Mistakes, ...]
    false_positives: Mistakes
    false_negatives: Mistakes
    class_precision: Floats = field(compare=False, repr=False)


def match(ground_truth: dict[str, Any], results: list[dict[str, Any]]) -> Matches:
    """Compare COCO results with a COCO ground truth, both in its own ids, boxes x, y, width, height in pixels."""
    categories = np.array(sorted(category["id"] for category in ground_truth["categories"]), np.int64)
    annotations = ground_truth["annotations"]
    crowd = np.array([bool(annotation.get("iscrowd", 0)) for annotation in annotations], bool)
    truth, found = _Boxes.of(annotations, categories), _Boxes.of(results, categories)
    objects, regions = truth.some(~crowd), truth.some(crowd)
    scores = np.array([entry["score"] for entry in results], np.float64)
    order = np.lexsort((-scores, found.image_ids))
    order = order[_place_in_run(found.image_ids[order]) < MAX_DETECTIONS]
    found, scores = found.some(order), scores[order]
    kind = np.full(len(scores), BACKGROUND, np.int64)
    target = np.full(len(scores), -1, np.int64)
    excused = np.zeros(len(scores), bool)
    taken = np.zeros(len(objects.labels), bool)
    object_order, region_order = (np.argsort(side.image_ids, kind="stable") for side in (objects, regions))
    for image_id in np.unique(found.image_ids):
        here = _slice(found.image_ids, image_id)
        near = object_order[_slice(objects.image_ids[object_order], image_id)]
        around = region_order[_slice(regions.image_ids[region_order], image_id)]
        boxes, labels = found.bbox[here], found.labels[here]
        if len(near):
            kind[here], nearest, taken[near] = _judge(boxes, labels, objects.bbox[near], objects.labels[near])
            target[here] = np.where(nearest < 0, -1, near[nearest])
        if len(around):
            inside = overlap(boxes, regions.bbox[around], of_first=True) > FOUND_IOU
            excused[here] = (inside & (labels[:, None] == regions.labels[around])).any(axis=1) & (kind[here] != RIGHT)
    return Matches(
        categories, found.image_ids, found.labels, scores, kind, excused, target,
        objects.image_ids, objects.labels, taken,
    )  # fmt: skip


def analyse(matches: Matches) -> ErrorAnalysis:
    """What mending each kind of mistake would gain."""
    kind, right, counted = matches.kind, matches.kind == RIGHT, ~matches.excused
    classes = len(matches.categories)
    objects = np.bincount(matches.object_labels, minlength=classes)
    scored = objects > 0
    before = _average_precisions(matches.labels[counted], matches.scores[counted], right[counted], objects)
    precision = _mean(before[scored]) if scored.any() else None

    def mended(name: str, count: int, after: Floats) -> Mistakes:
        gain = _mean(after[scored]) - precision if precision is not None else 0.0
        return Mistakes(name, count, max(gain, 0.0), after)

    wrong_target = (kind == CLASSIFICATION) | (kind == LOCALISATION)
    usable, first = np.unique(matches.target[wrong_target], return_index=True)
    best = np.zeros(len(kind), bool)
    best[np.flatnonzero(wrong_target)[first[~matches.found[usable]]]] = True
    missed = ~matches.found
    missed[usable] = False
    kinds = []
    for number, name in enumerate(KINDS[:MISSED]):
        of_kind = kind == number
        keep = (counted & ~of_kind) | (of_kind & best)
        labels = matches.labels.copy()
        if number == CLASSIFICATION:
            labels[of_kind] = matches.object_labels[matches.target[of_kind]]
        after = _average_precisions(labels[keep], matches.scores[keep], (right | of_kind)[keep], objects)
        kinds.append(mended(name, int(of_kind.sum()), after))

    def without(left_out: Flags) -> Floats:
        left = objects - np.bincount(matches.object_labels[left_out], minlength=classes)
        return _average_precisions(matches.labels[counted], matches.scores[counted], right[counted], left)

    kinds.append(mended(KINDS[MISSED], int(missed.sum()), without(missed)))
    ranked = _average_precisions(
        matches.labels[counted], right[counted].astype(np.float64), right[counted], objects
    )  # fmt: skip
    return ErrorAnalysis(
        precision=precision,
        kinds=tuple(kinds),
        false_positives=mended("false positives", int((counted & ~right).sum()), ranked),
        false_negatives=mended("false negatives", int((~matches.found).sum()), without(~matches.found)),
        class_precision=before,
    )


@dataclass(slots=True)
class _Boxes:
    image_ids: Ints
    labels: Ints
    bbox: Floats

    @classmethod
    def of(cls, entries: list[dict[str, Any]], categories: Ints) -> _Boxes:
        ids = np.array([entry["category_id"] for entry in entries], np.int64)
        return cls(
            np.array([entry["image_id"] for entry in entries], np.int64),
            np.searchsorted(categories, ids),
            np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4),
        )

    def some(self, which: NDArray[Any]) -> _Boxes:
        return _Boxes(self.image_ids[which], self.labels[which], self.bbox[which])


def _judge(boxes: Floats, labels: Ints, objects: Floats, object_labels: Ints) -> tuple[Ints, Ints, Flags]:
    """Judge one image: the kind and target of its detections, best first, and which of its objects were found."""
    iou = overlap(boxes, objects)
    same = labels[:, None] == object_labels
    of_class, of_others = iou * same, iou * ~same
    free = of_class.copy()
    right, found = np.zeros(len(boxes), bool), np.zeros(len(objects), bool)
    for index in np.flatnonzero(of_class.max(axis=1) >= FOUND_IOU):
        nearest = free[index].argmax()
        if free[index, nearest] >= FOUND_IOU:
            right[index] = found[nearest] = True
            free[:, nearest] = 0
    place = of_class.max(axis=1)
    kind = np.select(
        [
            right,
            (place >= BACKGROUND_IOU) & (place <= FOUND_IOU),
            of_others.max(axis=1) >= FOUND_IOU,
            (of_class * found).max(axis=1) >= FOUND_IOU,
            iou.max(axis=1) <= BACKGROUND_IOU,
        ],
        [RIGHT, LOCALISATION, CLASSIFICATION, DUPLICATE, BACKGROUND],
        BOTH,
    )
    target = np.select(
        [kind == LOCALISATION, kind == CLASSIFICATION], [of_class.argmax(axis=1), of_others.argmax(axis=1)], -1
    )
    return kind, target, found


def overlap(first: Floats, second: Floats, *, of_first: bool = False) -> Floats:
    """IoU (N, M) of boxes (N, 4) and (M, 4), x, y, width, height; or what share of the first lies in the second."""
    ends = np.minimum((first[:, :2] + first[:, 2:])[:, None], (second[:, :2] + second[:, 2:])[None])
    sides = np.maximum(ends - np.maximum(first[:, None, :2], second[None, :, :2]), 0)
    shared = sides[..., 0] * sides[..., 1]
    own = (first[:, 2] * first[:, 3])[:, None]
    whole = np.broadcast_to(own, shared.shape) if of_first else own + (second[:, 2] * second[:, 3])[None] - shared
    share: Floats = np.divide(shared, whole, out=np.zeros_like(shared), where=shared > 0)
    return share


def _average_precisions(labels: Ints, scores: Floats, right: Flags, objects: Ints) -> Floats:
    """(K,) precision at 101 recalls, averaged; 0 for detections without any object, NaN where there is neither."""
    order = np.lexsort((-scores, labels))
    starts = np.searchsorted(labels[order], np.arange(len(objects) + 1))
    precisions = np.full(len(objects), np.nan)
    for label, count in enumerate(objects.tolist()):
        hits = right[order[starts[label] : starts[label + 1]]].cumsum()
        if not count:
            precisions[label] = 0 if len(hits) else np.nan
            continue
        envelope = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
        places = np.searchsorted(hits / count, RECALLS, side="left")
        precisions[label] = np.append(envelope, 0)[places].mean()
    return precisions


def _mean(precisions: Floats) -> float:
    """Over the classes of which something is left; 1 if mending left nothing to be wrong."""
    there = precisions[~np.isnan(precisions)]
    return float(there.mean()) if len(there) else 1.0


def _slice(sorted_ids: Ints, value: int) -> slice:
    return slice(*np.searchsorted(sorted_ids, [value, value + 1]).tolist())


def _place_in_run(values: Ints) -> Ints:
    """0, 1, ... within every run of equal values."""
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1])) if len(values) else np.zeros(0, np.int64)
    lengths = np.diff(np.append(starts, len(values)))
    return np.arange(len(values)) - np.repeat(starts, lengths)
