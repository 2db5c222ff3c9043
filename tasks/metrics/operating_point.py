"""A detector at one score for each class: which is best, and what it takes for what there.

Shapes: D detections, G objects, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.metrics.error_analysis import FOUND_IOU, RIGHT, overlap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tasks.metrics.error_analysis import Matches


def best_scores(matches: Matches) -> list[float | None]:
    """Score of every class (K) from which on its detections have the largest F1 at IoU 0.5; of equal ones the highest.

    None: no detection of the class is right.
    """
    found: list[float | None] = []
    for label in range(len(matches.categories)):
        mine = (matches.labels == label) & ~matches.excused
        order = np.argsort(-matches.scores[mine], kind="stable")
        scores, right = matches.scores[mine][order], (matches.kind[mine][order] == RIGHT).cumsum()
        objects = int((matches.object_labels == label).sum())
        if not len(scores) or not right[-1] or not objects:
            found.append(None)
            continue
        f1 = 2 * right / (np.arange(1, len(scores) + 1) + objects)
        is_last = np.append(scores[1:] < scores[:-1], True)  # equal scores are kept or left out together
        found.append(float(scores[np.where(is_last, f1, -1).argmax()]))
    return found


def confusion(
    truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], categories: Sequence[int], scores: Sequence[float]
) -> NDArray[np.int64]:
    """What was taken for what (K + 1, K + 1): true class by detected class. The last row: there is nothing; the last
    column: not found.

    Of the detections from their class's score on, the best first, each takes the object of its class that it overlaps
    most, at IoU 0.5 or more; then those left over take what is left of any class. A row counts the objects of a class,
    a column the detections; one that is left over in a crowd region of its class counts nowhere.

    Args:
        truth, results: in COCO's formats.
        categories: ids of the classes (K).
        scores: least of each.
    """
    place = {category: index for index, category in enumerate(categories)}
    nothing = len(categories)
    counts = np.zeros((nothing + 1, nothing + 1), np.int64)
    by_image: dict[Any, tuple[list[Any], list[Any]]] = {}
    for one in truth["annotations"]:
        by_image.setdefault(one["image_id"], ([], []))[0].append(one)
    for one in results:
        if one["score"] >= scores[place[one["category_id"]]]:
            by_image.setdefault(one["image_id"], ([], []))[1].append(one)
    for objects, detections in by_image.values():
        _count(counts, objects, sorted(detections, key=lambda one: -one["score"]), place)
    return counts


def _count(counts: NDArray[np.int64], objects: list[Any], detections: list[Any], place: Mapping[int, int]) -> None:
    nothing = len(place)
    single = [one for one in objects if not one.get("iscrowd")]
    crowds = [one for one in objects if one.get("iscrowd")]
    true, said = ([place[one["category_id"]] for one in some] for some in (single, detections))
    shared = overlap(_boxes(detections), _boxes(single))
    taken: dict[int, int] = {}
    for is_same in (True, False):
        for number, label in enumerate(said):
            if number in taken.values():
                continue
            free = [
                o for o, of in enumerate(true)
                if o not in taken and shared[number, o] >= FOUND_IOU and (of == label or not is_same)
            ]  # fmt: skip
            if free:
                taken[max(free, key=lambda o: shared[number, o])] = number
    for o, of in enumerate(true):
        counts[of, said[taken[o]] if o in taken else nothing] += 1
    inside = overlap(_boxes(detections), _boxes(crowds), of_first=True) > FOUND_IOU
    for number in set(range(len(said))) - set(taken.values()):
        if not any(inside[number, c] for c, one in enumerate(crowds) if place[one["category_id"]] == said[number]):
            counts[nothing, said[number]] += 1


def _boxes(entries: list[Any]) -> NDArray[np.float64]:
    return np.array([one["bbox"] for one in entries], np.float64).reshape(-1, 4)
