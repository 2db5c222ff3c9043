"""Evaluation in tiles: what the model says of the images of a split, with what it says of their tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heads.kinds import Kind
from heads.tiling import object_side
from tasks.distributed import group
from tasks.predictor import Prediction

if TYPE_CHECKING:
    from tasks.build import Builder
    from tasks.config.predict import PredictConfig
    from tasks.data.splits import DataSplits, Images, JointSplits
    from tasks.model import VisionModel
    from tasks.predictor import Predictor


class Tiled:
    """Completes the predictions of one batch after the other, in the order of the split.

    Args:
        split: as the evaluation reads it.
    """

    def __init__(self, predictor: Predictor, split: Images) -> None:
        self._predictor = predictor
        self._split = split
        self._next = group.place().rank

    def __call__(self, answers: dict[str, list[Any]], rows: dict[str, Any], sizes: Any) -> dict[str, list[Any]]:
        """See `tasks.inference.Completed`."""
        labelled = {head: rows[head].tolist() if head in rows else list(range(len(sizes))) for head in answers}
        found: dict[str, list[Any]] = {head: list(of_head) for head, of_head in answers.items()}
        for row, size in enumerate(sizes.tolist()):
            position, self._next = self._next, self._next + group.place().world_size
            assert self._predictor.tiling is not None
            if not self._predictor.tiling.of(*size):
                continue
            places = {head: of_head.index(row) for head, of_head in labelled.items() if row in of_head}
            whole = {head: answers[head][place].to("cpu") for head, place in places.items()}
            image = self._split[position].image
            full = self._predictor.in_tiles(image, Prediction((size[0], size[1]), whole, {}))
            for head, place in places.items():
                found[head][place] = full.by_head[head].to(sizes.device)
        return found


def tiled(
    builder: Builder, section: PredictConfig, model: VisionModel, splits: DataSplits | JointSplits, name: str,
    split: Images,
) -> Tiled | None:  # fmt: skip
    """How images of a split are looked at in tiles; None: as a whole alone.

    Args:
        name: of the split.
    """
    labels = builder.labels(splits)
    detectors = [head for head, of in builder.heads.items() if of.kind is Kind.detection]
    data = getattr(splits.of(detectors[0]), name) if detectors else None
    side = None if data is None or isinstance(section.tiles, int) else object_side(data.ground_truth())
    tiling = builder.tiling(section, side)
    if tiling is None or (tiling.side is None and side is None):
        return None
    predictor = builder.predictor_of(model, labels, section, score=0.0, tiling=tiling)
    return Tiled(predictor, split)
