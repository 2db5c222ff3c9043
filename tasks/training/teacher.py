"""A trained network that another one learns from, head by head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from heads.structures import Batch
    from tasks.model import VisionModel


class Teacher:
    """What a trained model says about a batch. It is no part of what is trained, moved or saved.

    Args:
        model: stays as it is.
        weight: of its losses beside those of the labels.
    """

    def __init__(self, model: VisionModel, weight: float) -> None:
        self.model = model.eval().requires_grad_(False)
        self.weight = weight

    def check(self, what: str, student: VisionModel) -> None:
        """See that outputs can be compared: the same heads, with the same classes and default boxes.

        Args:
            what: argument that names the teacher, for the message.
        Raises:
            InputError: they cannot.
        """
        for name, head in student.heads.items():
            if name not in self.model.heads:
                raise InputError(f"{what}: has no head {name}; it has {', '.join(self.model.heads)}")
            mine, theirs = type(head).__name__, type(self.model.heads[name]).__name__
            if mine != theirs:
                raise InputError(f"{what}: its head {name} is a {theirs}, and a {mine} learns here")
            boxes = [getattr(one, "default_boxes_cxcywh", None) for one in (head, self.model.heads[name])]
            if boxes[0] is not None and boxes[1] is not None and not torch.equal(boxes[0].cpu(), boxes[1].cpu()):
                raise InputError(
                    f"{what}: its head {name} has other default boxes; say transform.image_size and head.* as they were"
                    " in its training"
                )

    @torch.no_grad()
    def outputs(self, batch: Batch, rows: Mapping[str, Tensor]) -> dict[str, Any]:
        """Outputs by the head's name.

        Args:
            rows: as in `VisionModel.forward_heads`.
        """
        if next(self.model.parameters()).device != batch.images.device:
            self.model.to(batch.images.device)
        return self.model.forward_heads(self.model.features(batch.images), rows)

    def losses(self, student: VisionModel, outputs: Mapping[str, Any], taught: Mapping[str, Any]) -> dict[str, Any]:
        """By the head's name, its named losses times `weight`.

        Args:
            outputs: of the student's heads.
            taught: of the teacher's.
        """
        found = {}
        for name, output in outputs.items():
            if name not in taught:
                continue
            losses = student.heads[name].distill(output, taught[name])  # type: ignore[operator]
            found[name] = {key: self.weight * loss for key, loss in losses.items()}
        return found
