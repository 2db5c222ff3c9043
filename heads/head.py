"""Interface of a head."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from torch import Tensor, nn

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backbone.features import Features

OutputsT = TypeVar("OutputsT")
TargetsT = TypeVar("TargetsT")
PredictionsT = TypeVar("PredictionsT")


class Losses(dict[str, Tensor]):
    """Named losses, each a scalar: sums over a batch divided by an amount, or by one where there is nothing.

    Where several processes share a batch, their losses are weighted by these amounts, so that together they are those
    of one process with all images.

    Args:
        normalizer: the amount: matched boxes, or pixels that are not ignored.
    """

    def __init__(self, losses: Mapping[str, Tensor], *, normalizer: Tensor | int) -> None:
        super().__init__(losses)
        self.normalizer = normalizer


class Head(nn.Module, Generic[OutputsT, TargetsT, PredictionsT]):
    """Named features to predictions, in three steps that never depend on each other's mode.

    Attributes:
        taps: the features that `forward` needs.
        CLASS_ROWS: pattern of the names of tensors that have a row for each class, several times over where a cell has
            several boxes; nothing: the head does not tell.
        BACKGROUND: rows before those of the classes.
    """

    CLASS_ROWS: ClassVar[str] = ""
    BACKGROUND: ClassVar[int] = 0
    taps: list[str]

    @abstractmethod
    def forward(self, features: Features) -> OutputsT:
        """Raw tensors, of the same type in training and evaluation. This path alone is exported."""

    @abstractmethod
    def loss(self, outputs: OutputsT, targets: TargetsT) -> dict[str, Tensor]:
        """Named losses, each a scalar; the task sums them. Means over the images, or `Losses` over something else."""

    @abstractmethod
    def predict(self, outputs: OutputsT, sizes: Tensor) -> list[PredictionsT]:
        """Prediction for each image, in pixels of the original images, whose height and width `sizes` (N, 2) gives."""

    def predict_both(self, outputs: OutputsT, mirrored: OutputsT, sizes: Tensor) -> list[PredictionsT]:
        """Prediction for each image from its outputs and from those of the image mirrored left and right.

        Raises:
            InputError: this head knows none.
        """
        raise InputError(
            f"{type(self).__name__}: cannot join predictions of mirrored images; say evaluation.flip=false"
        )

    def distill(self, outputs: OutputsT, teacher: OutputsT) -> dict[str, Tensor]:
        """Named losses, each a scalar, that are zero where the outputs are those of another network's head.

        Raises:
            InputError: this head knows none.
        """
        raise InputError(f"{type(self).__name__}: knows no way to learn from another network; leave distill out")

    def convert_state_dict(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of somebody else's weights under the names of this head's `state_dict`; empty: there are none.

        Args:
            tensors: of `backbone.weights.Weights`, which keeps the names of what is no backbone's.
        """
        return {}

    def select_classes(self, tensors: dict[str, Tensor], ids: Sequence[int]) -> dict[str, Tensor]:
        """Select, of converted tensors that know more classes, those of the data's `ids`; others stay."""
        return tensors

    def classes_in(self, tensors: Mapping[str, Tensor], num_classes: int) -> int | None:
        """Number of classes of weights under this head's names; None: it cannot be told.

        Args:
            num_classes: of this head.
        """
        for name, ours in self.state_dict().items():
            if name in tensors and re.fullmatch(self.CLASS_ROWS, name):
                repeats = len(ours) // (self.BACKGROUND + num_classes)
                rows, rest = divmod(len(tensors[name]), repeats)
                return None if rest else rows - self.BACKGROUND
        return None

    def with_classes(self, tensors: Mapping[str, Tensor], places: Sequence[int | None]) -> dict[str, Tensor]:
        """Weights of a head with other classes, fitted to this one's: a new class has this head's values.

        Args:
            tensors: under this head's names.
            places: for each class of this head, its place among those of the weights; None: it is new.
        """
        fitted = dict(tensors)
        kept = [index for index, place in enumerate(places) if place is not None]
        columns = [self.BACKGROUND + place for place in places if place is not None]
        for name, ours in self.state_dict().items():
            repeats = len(ours) // (self.BACKGROUND + len(places)) if re.fullmatch(self.CLASS_ROWS, name) else 0
            if not repeats or name not in tensors or len(tensors[name]) % repeats:
                continue  # no classes, or of another arrangement
            if tensors[name].shape[1:] != ours.shape[1:]:
                continue
            made = ours.clone().reshape(repeats, -1, *ours.shape[1:])
            theirs = tensors[name].reshape(repeats, -1, *ours.shape[1:])
            made[:, : self.BACKGROUND] = theirs[:, : self.BACKGROUND]
            made[:, [self.BACKGROUND + index for index in kept]] = theirs[:, columns]
            fitted[name] = made.flatten(0, 1)
        return fitted
