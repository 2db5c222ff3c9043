"""Where an exported graph ends, by the kind of head, and how to read what comes out of it.

Shapes: N images, A default boxes, K classes, h w cells of logits, H W pixels of the graph's input.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone.errors import InputError
from heads.linear.head import Linear
from heads.segmentation.head import SegmentationHead
from heads.segmentation.upsample import label_mask
from heads.ssdlite.config import Clip
from heads.ssdlite.head import SSDLite, SSDLiteOutputs
from heads.ssdlite.postprocess import detect
from heads.structures import Classification, Detections, LabelMask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from heads.head import Head


class Seen(NamedTuple):
    """What a graph said about images.

    Attributes:
        tensors: one for each name of the ending's `outputs`, each (N, ...).
        content: height and width of what of the input is image; the rest, below and right of it, is padding.
        size: height and width of the input.
    """

    tensors: tuple[Tensor, ...]
    content: tuple[int, int]
    size: tuple[int, int]


class Ending(nn.Module, ABC):
    """From a head's raw outputs to what leaves the graph, and from there to answers.

    Args:
        settings: plain values; they travel in the file's header.
    Attributes:
        kind: of the head, as the header says it.
        outputs: names of what leaves the graph.
    """

    kind: ClassVar[str]
    outputs: tuple[str, ...]

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.settings = dict(settings)

    @property
    def raw(self) -> Ending:
        """What is exported, where a part of the ending is built behind the graph."""
        return self

    @abstractmethod
    def predict(self, outputs: Seen, sizes: Tensor) -> list[Any]:
        """As `Head.predict`, from what left the graph."""


class Classes(Ending):
    """`scores`: probabilities (N, K)."""

    kind = "classification"
    outputs = ("scores",)

    def forward(self, outputs: Tensor) -> tuple[Tensor, ...]:
        return (outputs.float().softmax(dim=1),)

    def predict(self, outputs: Seen, sizes: Tensor) -> list[Classification]:
        return [Classification(scores) for scores in outputs.tensors[0]]


class Boxes(Ending):
    """`scores` (N, A, K) and `boxes` (N, A, 4): corners x, y, x, y as fractions of the input.

    They are within it, unless they are cut after suppression.
    """

    kind = "detection"
    outputs: tuple[str, ...] = ("scores", "boxes")

    def __init__(self, settings: Mapping[str, Any], head: SSDLite | None = None) -> None:
        super().__init__(settings)
        self.head = head

    def forward(self, outputs: SSDLiteOutputs) -> tuple[Tensor, ...]:
        assert self.head is not None
        return self.head.decode(outputs)

    def predict(self, outputs: Seen, sizes: Tensor) -> list[Detections]:
        scores, boxes = outputs.tensors
        height, width = (whole / seen for whole, seen in zip(outputs.size, outputs.content, strict=True))
        return self._detect(scores, boxes * boxes.new_tensor([width, height] * 2), sizes)

    def _detect(self, scores: Tensor, boxes: Tensor, sizes: Tensor) -> list[Detections]:
        score_threshold, nms_iou, most = (self.settings[name] for name in ("score_threshold", "nms_iou", "detections"))
        return detect(
            scores,
            boxes,
            sizes,
            score_threshold=score_threshold,
            nms_iou=nms_iou,
            max_detections=most,
            clip=Clip(self.settings.get("clip", Clip.before.value)),
            candidates=self.settings.get("candidates"),
        )


class FewBoxes(Boxes):
    """`boxes` (N, D, 4) as in `Boxes`, within the input, `scores` (N, D) and `labels` (N, D) int64, best first.

    What follows the last detection of an image has score 0. The graph is exported as `Boxes`, and suppression is built
    behind it (`tasks.deploy.onnx_suppression`); `forward` is the same by our own suppression.
    """

    outputs = ("boxes", "scores", "labels")

    def forward(self, outputs: SSDLiteOutputs) -> tuple[Tensor, ...]:
        scores, boxes = Boxes.forward(self, outputs)
        most = min(self.settings["detections"], scores.shape[1] * scores.shape[2])
        found = [(scores.new_zeros(most, 4), scores.new_zeros(most), boxes.new_zeros(most).long()) for _ in scores]
        ones = torch.ones(len(scores), 2, dtype=torch.int64, device=scores.device)
        for padded, one in zip(found, self._detect(scores, boxes, ones), strict=True):
            for place, of_one in zip(padded, (one.boxes_xyxy_px, one.scores, one.labels), strict=True):
                place[: len(of_one)] = of_one
        return tuple(torch.stack(column) for column in zip(*found, strict=True))

    @property
    def raw(self) -> Ending:
        """See `Ending.raw`."""
        return Boxes(self.settings, self.head)

    def predict(self, outputs: Seen, sizes: Tensor) -> list[Detections]:
        height, width = (whole / seen for whole, seen in zip(outputs.size, outputs.content, strict=True))
        found = []
        for boxes, scores, labels, size in zip(*outputs.tensors, sizes, strict=True):
            there = scores > self.settings["score_threshold"]
            within = (boxes[there] * boxes.new_tensor([width, height] * 2)).clamp(0, 1)
            found.append(Detections(within * size[[1, 0, 1, 0]], scores[there], labels[there]))
        return found


class Cells(Ending):
    """`logits` (N, K, h, w), as coarse as the tapped map."""

    kind = "segmentation"
    outputs = ("logits",)

    def forward(self, outputs: Tensor) -> tuple[Tensor, ...]:
        return (outputs.float(),)

    def predict(self, outputs: Seen, sizes: Tensor) -> list[LabelMask]:
        return [
            LabelMask(
                label_mask(logits, canvas(size, outputs), aligned_corners=self.settings["aligned_corners"])[
                    : size[0], : size[1]
                ].contiguous()
            )
            for logits, size in zip(outputs.tensors[0], sizes.tolist(), strict=True)
        ]


class Pixels(Ending):
    """`mask` (N, H, W) uint8: the best class of every pixel of the input.

    Attributes:
        channels_last: compare classes that lie side by side; the same answer, for a runtime that keeps maps that way.
    """

    kind = "segmentation"
    outputs = ("mask",)
    channels_last = False

    def forward(self, outputs: Tensor) -> tuple[Tensor, ...]:
        aligned, size = bool(self.settings["aligned_corners"]), tuple(self.settings["size"])
        logits = F.interpolate(outputs.float(), size, mode="bilinear", align_corners=aligned)
        if self.channels_last:
            return (logits.permute(0, 2, 3, 1).argmax(dim=-1).byte(),)
        return (logits.argmax(dim=1).byte(),)

    def predict(self, outputs: Seen, sizes: Tensor) -> list[LabelMask]:
        height, width = outputs.content
        return [
            LabelMask(F.interpolate(mask[None, None, :height, :width], size, mode="nearest-exact")[0, 0])
            for mask, size in zip(outputs.tensors[0], sizes.tolist(), strict=True)
        ]


def canvas(size: Sequence[int], seen: Seen) -> tuple[int, int]:
    """Height and width of the whole input, in pixels of an original of `size`, where `seen.content` shows it."""
    height, width = (
        max(round(original * whole / part), original)
        for original, whole, part in zip(size, seen.size, seen.content, strict=True)
    )
    return height, width


def ending_of(name: str, head: Head[Any, Any, Any], size: int, *, mask: bool = False, few: bool = False) -> Ending:
    """Where the graph of a head ends.

    Args:
        size: side of the input in pixels.
        mask: segmentation ends at the label map instead of the logits.
        few: detection ends behind suppression.
    Raises:
        InputError: the head is of a kind that is not known here.
    """
    match head:
        case Linear():
            return Classes({})
        case SSDLite():
            config = head.config
            settings: dict[str, Any] = {"score_threshold": config.score_threshold, "nms_iou": config.nms_iou}
            settings |= {"detections": config.max_detections, "clip": config.clip.value}
            settings["candidates"] = config.candidates
            return (FewBoxes if few else Boxes)(settings, head)
        case SegmentationHead():
            aligned = {"aligned_corners": head.config.aligned_corners}
            return Pixels(aligned | {"size": [size, size]}) if mask else Cells(aligned)
    raise InputError(
        f"head {name}: is a {type(head).__name__}, and mode=export knows where linear, ssdlite, deeplabv3 and lraspp"
        " end; use one of these"
    )


def reading(kind: str, outputs: Sequence[str], settings: Mapping[str, Any]) -> Ending:
    """The ending that a header describes, to read answers with.

    Raises:
        InputError: there is none such.
    """
    for ending in (Classes, Boxes, FewBoxes, Cells, Pixels):
        if (ending.kind, list(ending.outputs)) == (kind, list(outputs)):
            return ending(settings)
    raise InputError(f"a head of kind {kind} with outputs {', '.join(outputs)} is not known to this version")
