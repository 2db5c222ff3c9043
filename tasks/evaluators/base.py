"""What every measure of a head is: it collects answers about one split, scores, writes and draws them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from backbone.errors import InputError
from tasks.distributed import group

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console

    from heads.structures import Batch
    from tasks.config.evaluation import EvaluationConfig
    from tasks.data.labels import LabelMap

Data = TypeVar("Data")


class Evaluator(ABC, Generic[Data]):
    """Collects what one head answers about one split, and scores it.

    Args:
        name: of the head, under which batches hold the truth.
        data: the split.
        labels: of the model; class indices mean these.
        config: how metrics are computed and shown.

    Attributes:
        main_metric: the one that tells which checkpoint is best; larger is better.
        prefix: of the names of its metrics and files, where there are several heads.
    """

    main_metric: str
    prefix: str = ""

    def __init__(self, name: str, data: Data, labels: LabelMap, config: EvaluationConfig) -> None:
        self.name = name
        self.data = data
        self.labels = labels
        self.config = config
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forget the answers so far."""

    @abstractmethod
    def update(self, batch: Batch, answers: list[Any]) -> None:
        """Take in the answers to a batch, one an image."""

    @abstractmethod
    def state(self) -> Any:
        """All that was taken in so far, as plain data and tensors on the CPU, for the evaluator of another process."""

    @abstractmethod
    def merge(self, state: Any) -> None:
        """Take in what another process saw; no image may be among both."""

    @abstractmethod
    def metrics(self) -> dict[str, float | None]:
        """By name; `name/class` is of one class."""

    @abstractmethod
    def show(self, console: Console, title: str) -> None:
        """Print the metrics as a table."""

    @abstractmethod
    def write(self, folder: Path, suffix: str) -> None:
        """Everything answered, and images of some of it, into files whose names end on `suffix`."""


Value = TypeVar("Value")


def merged(mine: dict[int, Value], theirs: dict[int, Value]) -> dict[int, Value]:
    """What two processes know by image, in the order of the images.

    Raises:
        InputError: both saw an image.
    """
    if twice := mine.keys() & theirs.keys():
        raise InputError(
            f"image id {min(twice)}: was evaluated by two processes, and every image counts once; use a sampler that"
            " repeats no image"
        )
    return dict(sorted((mine | theirs).items()))


def metrics_of_all(evaluators: Mapping[str, Evaluator[Any]]) -> dict[str, dict[str, float | None]]:
    """Metrics by head over what all processes evaluated. The evaluators of the first process then hold all of it."""
    parts = group.gather({name: evaluator.state() for name, evaluator in evaluators.items()})
    for other in parts[1:]:
        for name, evaluator in evaluators.items():
            evaluator.merge(other[name])
    return group.broadcast(lambda: {name: evaluator.metrics() for name, evaluator in evaluators.items()})
