"""What the trained models of a sweep are and cost. Imports torch."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import torch

from backbone.cost import cost
from tasks.build import build_model
from tasks.checkpoints.model_file import read_header
from tasks.config.run import Task
from tasks.data.config import ImageNetConfig
from tasks.data.labels import LabelMap
from tasks.papers.references import is_reference, references
from tasks.timing.latency import latency, machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from tasks.commands.sweep.row import Row
    from tasks.config.run import RunConfig
    from tasks.model import VisionModel

ROUNDS, PASSES = 5, 5


def measure(rows: Sequence[Row], configs: Sequence[RunConfig]) -> None:
    """Complete rows by what their models cost; the models take turns: a machine that is busy for a while disturbs all.

    Args:
        rows: of complete runs.
        configs: of the runs, as their checkpoints have them.
    """
    models = [_ready(config) for config in configs]
    times: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS):
        for (model, images), found in zip(models, times, strict=True):
            found.append(latency(model, images, threads=1, passes=PASSES).median_ms)
    for row, config, (model, images), found in zip(rows, configs, models, times, strict=True):
        counts = cost(model, images.shape)
        row.image_size = config.transform.image_size
        row.parameters, row.multiply_adds = counts.parameters, counts.multiply_adds
        row.latency_ms, row.machine = median(found), machine()
        # How many images were evaluated is not known here, so every figure is said to be of the whole set.
        published = references(
            None if config.task is Task.multitask else config.task, backbone=config.backbone, head=config.head,
            data=config.data, transform=config.transform, multi_scale=config.evaluation.multi_scale, images=0,
        )  # fmt: skip
        row.published = [one._asdict() for one in published]
        classifies = config.task is Task.classification and isinstance(config.data, ImageNetConfig)
        row.imagenet = classifies and is_reference(config.backbone)


def _ready(config: RunConfig) -> tuple[VisionModel, Tensor]:
    """The model, and an image for it. The weights' values do not change what it costs."""
    known = read_header(str(config.checkpoint)).labels
    labels = {name: LabelMap.from_plain(known[name]) for name in config.named_heads()}
    size = config.transform.image_size
    return build_model(config, labels), torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
