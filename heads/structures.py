"""Targets and predictions of heads, and the batch that carries them: one type for each, all plain tensors.

Shapes: N images, M objects in the image that has most, D detections in an image, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    import torch
    from torch import Tensor

VOID = 255
"""Value of the pixels of a mask that are of no class: they count neither in the loss nor in a metric."""


class _OnDevice:
    """Dataclass that moves all its tensors at once; what is no tensor stays."""

    __slots__ = ()

    def _map(self, change: Any) -> Self:
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return type(self)(**{name: change(value) for name, value in values.items()})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        def move(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: move(item) for key, item in value.items()}
            return value.to(device, non_blocking=non_blocking) if hasattr(value, "to") else value

        return self._map(move)

    def pin_memory(self) -> Self:
        def pin(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: pin(item) for key, item in value.items()}
            return value.pin_memory() if hasattr(value, "pin_memory") else value

        return self._map(pin)


class Targets(Protocol):
    """Targets of one head for a batch of images."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self: ...

    def pin_memory(self) -> Self: ...


@dataclass(slots=True)
class ClassificationTargets(_OnDevice):
    """Class of every image, or two classes where images were mixed.

    Attributes:
        labels: (N,) int64, 0 .. K-1.
        mixed_labels: (N,) int64, of the images that were mixed in; None: none were.
        share: () float32, how much of every image is of its own label; None: all of it.
    """

    labels: Tensor
    mixed_labels: Tensor | None = None
    share: Tensor | None = None


@dataclass(slots=True)
class DetectionTargets(_OnDevice):
    """Objects of a batch, padded to the image that has most.

    Attributes:
        boxes_xyxy_rel: (N, M, 4) float32, corners as fractions of the image as the model sees it; padding is zero.
        labels: (N, M) int64, 0 .. K-1; padding is -1.
        crowd: (N, M) bool, regions that are neither positive nor negative.
    """

    boxes_xyxy_rel: Tensor
    labels: Tensor
    crowd: Tensor


@dataclass(slots=True)
class SegmentationTargets(_OnDevice):
    """Class of every pixel of a batch.

    Attributes:
        masks: (N, H, W) uint8, 0 .. K-1, of the images as the model sees them; 255 is ignored.
    """

    masks: Tensor


@dataclass(slots=True)
class Classification(_OnDevice):
    """Class scores of one image.

    Attributes:
        scores: (K,) float32, probabilities; NaN where the model gave no number.
    """

    scores: Tensor


@dataclass(slots=True)
class LabelMask(_OnDevice):
    """Class of every pixel of one image.

    Attributes:
        mask: (H, W) uint8, 0 .. K-1, in pixels of the original image.
    """

    mask: Tensor


@dataclass(slots=True)
class Detections(_OnDevice):
    """Objects found in one image, best first.

    Attributes:
        boxes_xyxy_px: (D, 4) float32, corners in pixels of the original image.
        scores: (D,) float32 in [0, 1].
        labels: (D,) int64, 0 .. K-1.
    """

    boxes_xyxy_px: Tensor
    scores: Tensor
    labels: Tensor


@dataclass(slots=True)
class Batch(_OnDevice):
    """Images with their targets, as they leave the loader.

    Attributes:
        images: (N, 3, H, W) uint8, RGB; scaled to the backbone's input on the device.
        targets: by the head's name.
        sizes: (N, 2) int64, height and width of the original images in pixels.
        image_ids: (N,) int64, the data set's own ids.
        rows: of a head that not all images have labels for, (L,) int64, those that have; its targets are of these
            alone, and there are none where L is 0. A head that is not named here has labels in all.
    """

    images: Tensor
    targets: dict[str, Targets]
    sizes: Tensor
    image_ids: Tensor
    rows: dict[str, Tensor] = field(default_factory=dict)

    def of(self, head: str) -> Batch:
        """Images that have labels for a head, with its targets."""
        targets = {head: self.targets[head]} if head in self.targets else {}
        rows = self.rows.get(head)
        if rows is None:
            return replace(self, targets=targets, rows={})
        return Batch(self.images[rows], targets, self.sizes[rows], self.image_ids[rows])
