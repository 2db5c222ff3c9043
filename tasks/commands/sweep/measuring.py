"""What the trained models of a sweep are and cost. Imports torch."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import torch

from backbone.cost import cost
from tasks.build import EVALUATORS, build_model
from tasks.checkpoints.model_file import read_header
from tasks.cli.compose import plug, read
from tasks.commands.sweep.plan import quoted
from tasks.commands.sweep.record import Measured
from tasks.config.run import Task
from tasks.data.config import ImageNetConfig
from tasks.data.labels import LabelMap
from tasks.papers.references import is_reference, references
from tasks.timing.latency import latency, machine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from tasks.config.run import RunConfig

ROUNDS, PASSES = 5, 5
MODEL = "model.safetensors"


def measure(folder: Path, words: Sequence[str]) -> Measured:
    """What is to be known of a complete run.

    Args:
        folder: of the run.
        words: that it was started with.
    """
    config = _restored(folder, words)
    model, images = _ready(config)
    counts = cost(model, images.shape)
    heads, many = config.named_heads(), config.task is Task.multitask
    figures = [
        f"{f'{name}/' * many}{head.figure or EVALUATORS[head.kind].main_metric}"  # type: ignore[attr-defined]
        for name, head in heads.items()
    ]
    # How many images were evaluated is not known here, so every figure is said to be of the whole set.
    published = references(
        None if many else config.task, backbone=config.backbone, head=config.head, data=config.data,
        transform=config.transform, multi_scale=config.evaluation.multi_scale, images=0,
    )  # fmt: skip
    return Measured(
        figures=figures,
        image_size=config.transform.image_size,
        parameters=counts.parameters,
        multiply_adds=counts.multiply_adds,
        latency_ms=_in_turns([(model, images)])[0],
        machine=machine(),
        references=[one._asdict() for one in published],
        imagenet=config.task is Task.classification
        and isinstance(config.data, ImageNetConfig)
        and is_reference(config.backbone),
    )


def latencies(runs: Sequence[tuple[Path, Sequence[str]]]) -> list[float]:
    """Median milliseconds of one image in one thread, of the models of complete runs, which take turns.

    Args:
        runs: the folder and the words of each.
    """
    return _in_turns([_ready(_restored(folder, words)) for folder, words in runs])


def _in_turns(models: Sequence[tuple[nn.Module, Tensor]]) -> list[float]:
    """A machine that is busy for a while then disturbs all alike."""
    times: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS):
        for (model, images), found in zip(models, times, strict=True):
            found.append(latency(model, images, threads=1, passes=PASSES).median_ms)
    return [median(found) for found in times]


def _restored(folder: Path, words: Sequence[str]) -> RunConfig:
    """The configuration as the checkpoint has it: with what the weights decided."""
    config, _ = read([*words, "mode=evaluate", quoted("checkpoint", str(folder / MODEL))])
    for part in ("backbone", "head", "transform", "data"):
        setattr(config, part, plug(getattr(config, part)))
    for head in (config.heads or {}).values():
        head.head = plug(head.head)
    return config


def _ready(config: RunConfig) -> tuple[nn.Module, Tensor]:
    """The model, and an image for it. The weights' values do not change what it costs."""
    known = read_header(str(config.checkpoint)).labels
    labels = {name: LabelMap.from_plain(known[name]) for name in config.named_heads()}
    size = config.transform.image_size
    return build_model(config, labels), torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
