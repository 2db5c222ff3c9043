"""COCO's box measure: the twelve official metrics and average precision for every class.

pycocotools computes the number of record; faster-coco-eval computes the same number several times faster. Neither is
imported before it is needed, neither prints, and neither sees (or changes) the caller's data: both get their own
short copy of it.

Shapes: T IoU thresholds .50:.05:.95, R recall thresholds 0:.01:1, K classes, A areas (all, small, medium, large),
M limits on the number of detections in an image and class (1, 10, 100).

Reference: pycocotools.cocoeval, Params.setDetParams and COCOeval.summarize.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, get_args

import numpy as np

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from heads.structures import Detections

logger = logging.getLogger(__name__)

Backend = Literal["faster_coco_eval", "pycocotools"]
METRICS = (
    *("map", "map_50", "map_75", "map_small", "map_medium", "map_large"),
    *("mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large"),
)
BOX_DECIMALS = 3


class Labels(Protocol):
    """What the measure must know of a label map: the data set's id and the name of class 0, 1, ..."""

    @property
    def ids(self) -> tuple[int, ...]: ...

    @property
    def names(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One class.

    Attributes:
        category_id: the data set's own id.
        objects: how many there are in the images that count, crowd regions left out.
        map: average precision over IoU .50:.95; None where there is no such object.
        map_50: the same at IoU .50.
    """

    category_id: int
    name: str
    objects: int
    map: float | None
    map_50: float | None


@dataclass(frozen=True, slots=True)
class CocoScores:
    """The twelve official metrics, fractions in [0, 1].

    A figure about objects that the images do not hold (`map_small` without small objects; pycocotools' -1) is None: it
    is `null` in JSON, and nobody can average it by mistake.

    Attributes:
        classes: in the order of category ids.
        images: how many images counted.
        objects: how many objects they hold, crowd regions left out.
        detections: how many detections were scored.
        precision: (T, R, K), -1 for a class without objects; all areas, at most 100 detections.
    """

    map: float | None
    map_50: float | None
    map_75: float | None
    map_small: float | None
    map_medium: float | None
    map_large: float | None
    mar_1: float | None
    mar_10: float | None
    mar_100: float | None
    mar_small: float | None
    mar_medium: float | None
    mar_large: float | None
    classes: tuple[ClassScores, ...]
    images: int
    objects: int
    detections: int
    precision: NDArray[np.float64] = field(compare=False, repr=False)

    def metrics(self) -> dict[str, float | None]:
        """The twelve by name, ready for JSON."""
        return {name: getattr(self, name) for name in METRICS}

    def per_class(self) -> dict[str, float | None]:
        """Average precision by the name of the class, ready for JSON."""
        return {scores.name: scores.map for scores in self.classes}


class CocoMap:
    """Collects detections and scores them against a data set.

    Args:
        ground_truth: a COCO dictionary (`images`, `annotations`, `categories`) with the data set's own ids. It is read,
            never changed.
        backend: which library computes.
        labels: from the index of a class to its id in the data set.
        image_ids: the images that count; None is all of `ground_truth`. One that counts but never came to `update`
            counts as an image in which nothing was found, and is reported.
    Raises:
        InputError: an unknown backend, an image or a category that is not in the ground truth.
    """

    def __init__(
        self,
        ground_truth: dict[str, Any],
        backend: Backend,
        labels: Labels,
        image_ids: Iterable[int] | None = None,
    ) -> None:
        _check_backend(backend)
        self.ground_truth = ground_truth
        self.backend = backend
        self.labels = labels
        self.image_ids = _chosen_images(ground_truth, image_ids)
        self._results: dict[int, list[dict[str, Any]]] = {}
        known = {category["id"]: category["name"] for category in ground_truth["categories"]}
        for index, category_id in enumerate(labels.ids):
            if category_id not in known:
                raise InputError(
                    f"label map: class {index} ({labels.names[index]!r}) has category id {category_id}, which the "
                    f"annotations do not have; they have {_some(sorted(known))}: use the annotations' own categories"
                )
        unlearned = [name for category_id, name in known.items() if category_id not in labels.ids]
        if unlearned:
            logger.warning(
                "%d of %d categories are not among the model's classes; their objects count as not found: %s",
                len(unlearned), len(known), _some(unlearned),
            )  # fmt: skip

    def update(self, image_ids: Sequence[int], detections: Sequence[Detections]) -> None:
        """Take the detections of some images, as many as there are ids.

        Raises:
            InputError: an image that does not count or came before, a label without a class, a number that is not
                finite; nothing of the image is kept then.
        """
        for image_id, found in zip(image_ids, detections, strict=True):
            if image_id not in self.image_ids:
                raise InputError(
                    f"image id {image_id}: is not among the {len(self.image_ids)} images that count; evaluate on the "
                    f"data set that the annotations describe"
                )
            if image_id in self._results:
                raise InputError(
                    f"image id {image_id}: was evaluated before, and every image counts once; use a sampler that "
                    f"repeats no image"
                )
            self._results[image_id] = result_entries(image_id, found, self.labels)

    def without_truth(self) -> Self:
        """A copy to send to another process, which has the ground truth itself."""
        light = copy.copy(self)
        light.ground_truth = {}
        return light

    def __iadd__(self, other: Self) -> Self:
        """Add what another process found.

        Raises:
            InputError: an image came to both; nothing is added then.
        """
        if twice := self._results.keys() & other._results.keys():
            raise InputError(
                f"image id {min(twice)}: was evaluated in two processes, and every image counts once; use a sampler"
                " that repeats no image"
            )
        self._results |= other._results
        return self

    def results(self) -> list[dict[str, Any]]:
        """Everything found so far in COCO's results format, by image id; within an image best first, as it came.

        Boxes are x, y, width, height in pixels, rounded to a thousandth. `compute` scores these very numbers, so that
        scoring the saved file again gives equal metrics.
        """
        return [entry for image_id in sorted(self._results) for entry in self._results[image_id]]

    def compute(self) -> CocoScores:
        """The metrics of everything found so far."""
        missing = len(self.image_ids) - len(self._results)
        if missing:
            logger.warning(
                "%d of %d images were not evaluated; they count as images in which nothing was found",
                missing, len(self.image_ids),
            )  # fmt: skip
        return evaluate_results(self.ground_truth, self.results(), self.backend, self.image_ids)


def result_entries(image_id: int, found: Detections, labels: Labels) -> list[dict[str, Any]]:
    """One image's detections in COCO's results format, best first, as they came.

    Boxes are x, y, width, height in pixels, rounded to a thousandth.

    Raises:
        InputError: a label without a class, or a number that is not finite.
    """
    boxes = found.boxes_xyxy_px.detach().cpu().double().numpy().reshape(-1, 4)
    scores = found.scores.detach().cpu().float().numpy()
    indices = found.labels.detach().cpu().numpy()
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise InputError(
            f"image id {image_id}: a detection has a box or score that is not finite; the weights are broken, "
            f"train again with a smaller learning rate"
        )
    wrong = indices[(indices < 0) | (indices >= len(labels.ids))]
    if len(wrong):
        raise InputError(
            f"image id {image_id}: a detection has label {wrong[0]}; must be 0 .. {len(labels.ids) - 1}, the "
            f"classes of the label map that the weights were trained with"
        )
    boxes[:, 2:] -= boxes[:, :2]
    rounded = np.round(boxes, BOX_DECIMALS).tolist()
    # The shortest decimal that is the same float32: short in the file, and no two scores become equal.
    return [
        {"image_id": image_id, "category_id": labels.ids[index], "bbox": box, "score": float(str(score))}
        for index, box, score in zip(indices.tolist(), rounded, scores, strict=True)
    ]


def evaluate_results(
    ground_truth: dict[str, Any],
    results: list[dict[str, Any]],
    backend: Backend,
    image_ids: Iterable[int] | None = None,
) -> CocoScores:
    """Score a list of COCO results (`image_id`, `category_id`, `bbox` in x, y, width, height pixels, `score`).

    Nothing is changed and nothing is printed. Nothing found at all is zeros and a warning. An annotation without
    `area` gets width times height.

    Args:
        image_ids: the images that count; None is all. Results for others do not count and are reported.
    Raises:
        InputError: an unknown backend, an image id or category id that is not in the ground truth.
    """
    _check_backend(backend)
    chosen = _chosen_images(ground_truth, image_ids)
    truth, found = _short_copies(ground_truth, results, chosen)
    objects: dict[int, int] = {category["id"]: 0 for category in truth["categories"]}
    for annotation in truth["annotations"]:
        objects[annotation["category_id"]] += not annotation["iscrowd"]
    if not any(objects.values()):
        logger.warning("the %d images hold no objects: no figure has a value", len(chosen))
    elif not found:
        logger.warning("nothing was detected in %d images: every figure is zero", len(chosen))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        precision, recall = _evaluate(truth, found, backend)
    logger.debug("%s: %s", backend, printed.getvalue())
    classes = tuple(
        ClassScores(
            category_id=category["id"],
            name=category["name"],
            objects=objects[category["id"]],
            map=_mean(precision[:, :, index, 0, -1]),
            map_50=_mean(precision[0, :, index, 0, -1]),
        )
        for index, category in enumerate(truth["categories"])
    )
    return CocoScores(
        **_metrics(precision, recall),
        classes=classes,
        images=len(chosen),
        objects=sum(objects.values()),
        detections=len(found),
        precision=precision[:, :, :, 0, -1].copy(),
    )


def _metrics(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> dict[str, float | None]:
    """`COCOeval.summarize` for boxes: precision (T, R, K, A, M), recall (T, K, A, M)."""
    precisions = (precision[..., 0, -1], precision[0, ..., 0, -1], precision[5, ..., 0, -1])
    recalls = (recall[..., 0, limit] for limit in range(3))
    parts = (
        *precisions, *(precision[..., area, -1] for area in (1, 2, 3)),
        *recalls, *(recall[..., area, -1] for area in (1, 2, 3)),
    )  # fmt: skip
    return dict(zip(METRICS, map(_mean, parts), strict=True))


def _mean(values: NDArray[np.float64]) -> float | None:
    there = values[values > -1]
    return float(np.mean(there)) if there.size else None


def _evaluate(
    truth: dict[str, Any], found: list[dict[str, Any]], backend: Backend
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision (T, R, K, A, M) and recall (T, K, A, M); -1 where there is no object."""
    if backend == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    sides = []
    # Not `loadRes`: it fails on an empty list (cocoapi #450), and draws a polygon around every box.
    for entries in (truth["annotations"], found):
        side = COCO()
        side.dataset = {**truth, "annotations": entries}
        side.createIndex()
        sides.append(side)
    evaluation = COCOeval(*sides, iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"])


def _short_copies(
    ground_truth: dict[str, Any], results: list[dict[str, Any]], chosen: frozenset[int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the libraries need of the images that count, with annotation ids 1, 2, ... on both sides.

    Own ids, because pycocotools takes an object with id 0 for "no match", and of two with one id it forgets the first.
    """
    categories = sorted(({"id": c["id"], "name": c["name"]} for c in ground_truth["categories"]), key=lambda c: c["id"])
    known = {category["id"] for category in categories}
    images = {image["id"] for image in ground_truth["images"]}
    truth = [
        {
            "id": number,
            "image_id": a["image_id"],
            "category_id": a["category_id"],
            "bbox": list(a["bbox"]),
            "area": a.get("area", a["bbox"][2] * a["bbox"][3]),
            "iscrowd": int(a.get("iscrowd", 0)),
        }
        for number, a in enumerate((a for a in ground_truth["annotations"] if a["image_id"] in chosen), start=1)
    ]
    found: list[dict[str, Any]] = []
    for number, entry in enumerate(results):
        for key, allowed in (("image_id", images), ("category_id", known)):
            if entry[key] not in allowed:
                raise InputError(
                    f"result {number}: {key} {entry[key]} is not in the annotations; they have {_some(sorted(allowed))}"
                )
        if entry["image_id"] in chosen:
            box = list(entry["bbox"])
            found.append({**entry, "bbox": box, "id": len(found) + 1, "area": box[2] * box[3], "iscrowd": 0})
    if len(found) < len(results):
        logger.warning(
            "%d of %d results are for images that do not count here", len(results) - len(found), len(results)
        )
    return {"images": [{"id": i} for i in sorted(chosen)], "categories": categories, "annotations": truth}, found


def _chosen_images(ground_truth: dict[str, Any], image_ids: Iterable[int] | None) -> frozenset[int]:
    images = frozenset(image["id"] for image in ground_truth["images"])
    chosen = images if image_ids is None else frozenset(image_ids)
    if not chosen:
        raise InputError("evaluation: there are no images to evaluate; name at least one that the annotations have")
    if not chosen <= images:
        raise InputError(
            f"image ids {_some(sorted(chosen - images))}: are not among the {len(images)} images of the annotations; "
            f"evaluate on the data set that they describe"
        )
    return chosen


def _check_backend(backend: str) -> None:
    if backend not in get_args(Backend):
        raise InputError(f"evaluation backend {backend!r}: must be one of {', '.join(get_args(Backend))}")


def _some(values: Sequence[object], limit: int = 5) -> str:
    """The first few of a long list, in words."""
    listed = ", ".join(map(str, values[:limit]))
    return f"{listed} and {len(values) - limit} more" if len(values) > limit else listed or "none"
