"""What the trained models of a sweep are and cost. Imports torch."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import torch

from backbone.cost import cost
from tasks.checkpoints.model_file import known_labels, read_header
from tasks.config.run import Task
from tasks.data.config import ImageNetConfig
from tasks.papers.references import is_reference
from tasks.timing.latency import latency, machine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from tasks.build import Builder
    from tasks.commands.sweep.row import Row
    from tasks.model import VisionModel

ROUNDS, PASSES = 5, 5


def measure(rows: Sequence[Row], builders: Sequence[Builder], weights: Sequence[Path]) -> None:
    """Complete rows by what their models cost; the models take turns: a machine that is busy for a while disturbs all.

    Args:
        rows: of complete runs.
        builders, weights: of the runs.
    """
    models = [_ready(builder, str(path)) for builder, path in zip(builders, weights, strict=True)]
    times: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS):
        for (model, images), found in zip(models, times, strict=True):
            found.append(latency(model, images, threads=1, passes=PASSES).median_ms)
    for row, builder, (model, images), found in zip(rows, builders, models, times, strict=True):
        counts = cost(model, images.shape)
        row.image_size = builder.transform.image_size
        row.parameters, row.multiply_adds = counts.parameters, counts.multiply_adds
        row.latency_ms, row.machine = median(found), machine()
        # How many images were evaluated is not known here, so every metric is said to be of the whole set.
        only = next(iter(builder.heads)) if len(builder.heads) == 1 else ""
        row.published = [one._asdict() for one in builder.references(only, images=0)]
        classifies = builder.task is Task.classification and isinstance(builder.data, ImageNetConfig)
        row.imagenet = classifies and is_reference(builder.backbone)


def _ready(builder: Builder, path: str) -> tuple[VisionModel, Tensor]:
    """The model, and an image for it. The weights' values do not change what it costs."""
    labels = known_labels(f"checkpoint={path}", read_header(path).labels, builder.heads)
    size = builder.transform.image_size
    return builder.model(labels), torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
