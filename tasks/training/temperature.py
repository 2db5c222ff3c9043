"""Temperature of a classifier's logits, so that its probabilities are shares of right predictions.

Shapes: N images, K classes.
Reference: On Calibration of Modern Neural Networks, arXiv:1706.04599, section 4.2.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from heads.linear.head import Linear
from tasks.distributed import group
from tasks.inference import computing
from tasks.metrics.accuracy import Accuracy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from heads.structures import Batch
    from tasks.evaluators.base import Evaluator
    from tasks.evaluators.classification import ClassificationEvaluator
    from tasks.model import VisionModel

LIMIT = 20.0
"""Largest temperature; the smallest is one over it. Where every image is recognised the best would be zero."""
HALVINGS = 60
"""Of the interval of the temperature's logarithm: to the last bits of a float64."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a temperature did, on the images that it was fitted to.

    Attributes:
        temperature: that logits are divided by.
        error_before, error_after: expected calibration error, in [0, 1].
    """

    temperature: float
    error_before: float
    error_after: float

    def to_plain(self) -> dict[str, float]:
        """For a file's header."""
        return asdict(self)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Temperature at which the mean cross entropy of logits (N, K) / temperature and labels (N,) is least.

    That is where the mean logit of the true classes is the mean of what the probabilities expect: the cross entropy is
    convex in one over the temperature, so that halving an interval finds it. Between 1 / `LIMIT` and `LIMIT`.
    """
    logits = logits.double()
    true = logits.gather(1, labels[:, None]).mean()
    low, high = -math.log(LIMIT), math.log(LIMIT)  # of one over the temperature
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        expected = ((math.exp(middle) * logits).softmax(dim=1) * logits).sum(dim=1).mean()
        if expected < true:
            low = middle
        else:
            high = middle
    return math.exp(-(low + high) / 2)


def calibrate(
    model: VisionModel,
    evaluators: Mapping[str, Evaluator[Any]],
    batches: Iterable[Batch],
    *,
    device: torch.device,
    precision: str,
) -> dict[str, Calibration]:
    """Fit the temperature of every classifier with `head.calibrate` and divide its weights by it.

    Args:
        model: is moved to `device`; all processes use the first one's weights.
        evaluators: by head, of the images that it is fitted to.
        batches: of these images, of this process.
    Returns:
        By head.
    """
    heads = {name: head for name, head in model.heads.items() if isinstance(head, Linear) and head.config.calibrate}
    if not heads:
        return {}
    model.to(device).eval()
    group.share_weights(model)
    logits: dict[str, list[Tensor]] = {name: [] for name in heads}
    labels: dict[str, list[Tensor]] = {name: [] for name in heads}
    with computing(device, precision):
        for batch in batches:
            here = batch.to(device, non_blocking=True)
            outputs = model.forward_heads(model.features(here.images), here.rows)
            for name in heads.keys() & outputs.keys():
                of_images = cast("ClassificationEvaluator", evaluators[name]).classes
                logits[name].append(outputs[name].float().cpu())
                labels[name].append(of_images[batch.of(name).image_ids.cpu()])
    found = {}
    for name, head in heads.items():
        parts = group.all_gather((logits[name], labels[name]))
        scores = torch.cat([one for of_rank, _ in parts for one in of_rank]).clone()
        truth = torch.cat([one for _, of_rank in parts for one in of_rank]).clone()
        temperature = fit_temperature(scores, truth)
        head.divide_logits(temperature)
        found[name] = Calibration(temperature, _error(scores, truth), _error(scores / temperature, truth))
    return found


def _error(logits: Tensor, labels: Tensor) -> float:
    """Expected calibration error."""
    measure = Accuracy(logits.shape[1])
    measure.update(logits.softmax(dim=1), labels)
    return measure.metrics()["calibration_error"] or 0.0
