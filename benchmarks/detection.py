"""SSDLite against torchvision's SSD, both measured in this run: post-processing, matching and loss, latency.

python benchmarks/detection.py [--repeats 15] [--threads 1] [--only postprocess loss latency] [--json FILE]

The candidates of a row take turns, so that a busy machine disturbs all alike; the figures are medians. The ratio is
torchvision's time over ours: above 1, ours is faster. Every peer gets the same logits, offsets, default boxes, targets
and settings (torchvision's ssdlite320_mobilenet_v3_large: scores above 0.001, NMS at 0.55, 300 detections). torchvision
keeps the best 300 pairs of a class before NMS; the equality check lets it keep all, as ours does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.ops import box_iou

from backbone import MobileNetV2
from benchmarks.timing import Compared, medians_ms, options, write_json
from heads.ssdlite.box_coder import to_cxcywh
from heads.ssdlite.config import ClassScore, SSDLiteConfig
from heads.ssdlite.head import SSDLite, SSDLiteOutputs
from heads.structures import DetectionTargets

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from torchvision.models.detection.ssd import SSD

    from heads.structures import Detections

SIZE = 320
CLASSES = 90
SETTINGS = {"score_threshold": 0.001, "nms_iou": 0.55, "max_detections": 300}
MAP_SIZES = (20, 10, 5, 3, 2, 1)
BATCH_OF_LOSS = 32


class Row(NamedTuple):
    """Medians in milliseconds; the peer is torchvision where there is one."""

    what: str
    ours_ms: float
    peer_ms: float | None

    @property
    def ratio(self) -> float | None:
        return None if self.peer_ms is None else self.peer_ms / self.ours_ms


def torchvision_anchors(ssd: SSD) -> Tensor:
    """Default boxes of torchvision's detector, boxes_xyxy_px."""
    boxes = ssd.anchor_generator._grid_default_boxes([[n, n] for n in MAP_SIZES], [SIZE, SIZE])
    half = boxes[:, 2:] / 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], dim=1) * SIZE


def our_head(score: ClassScore, anchors_px: Tensor | None = None) -> tuple[MobileNetV2, SSDLite]:
    """Our detector at width 1.0; with `anchors_px` the head answers and learns for these default boxes."""
    config = SSDLiteConfig(score=score, **SETTINGS)  # type: ignore[arg-type]
    backbone = MobileNetV2(features=config.taps).eval()
    head = SSDLite(config, backbone.specs, num_classes=CLASSES, image_size=SIZE).eval()
    if anchors_px is not None:
        head.default_boxes_cxcywh = to_cxcywh(anchors_px / SIZE)
    return backbone, head


def random_outputs(images: int, boxes: int) -> SSDLiteOutputs:
    """An untrained network's: every class of every box is above the threshold."""
    return SSDLiteOutputs(torch.randn(images, boxes, 1 + CLASSES), torch.randn(images, boxes, 4))


def sparse_outputs(images: int, anchors_px: Tensor) -> SSDLiteOutputs:
    """A trained network's: background almost everywhere; around each of ten objects a dozen boxes are sure."""
    logits, deltas = random_outputs(images, len(anchors_px))
    logits[..., 0] += 12
    near = box_iou(anchors_px, anchors_px)
    for image in range(images):
        for seed in torch.randint(len(anchors_px), (10,)):
            boxes = near[seed].topk(12).indices
            logits[image, boxes, torch.randint(1, 1 + CLASSES, ())] += torch.linspace(18, 8, 12)
    return SSDLiteOutputs(logits, deltas * 0.3)


def assert_equal(ours: list[Detections], theirs: list[dict[str, Tensor]]) -> None:
    for found, wanted in zip(ours, theirs, strict=True):
        assert torch.equal(found.labels + 1, wanted["labels"])
        torch.testing.assert_close(found.scores, wanted["scores"])
        torch.testing.assert_close(found.boxes_xyxy_px, wanted["boxes"], atol=1e-3, rtol=1e-5)


def postprocess(ssd: SSD, repeats: int) -> list[Row]:
    """From logits and offsets to detections in pixels."""
    anchors = torchvision_anchors(ssd)
    _, head = our_head(ClassScore.softmax, anchors)
    rows = []
    for kind in ("random", "sparse"):
        for images in (1, 16):
            outputs = random_outputs(images, len(anchors)) if kind == "random" else sparse_outputs(images, anchors)
            sizes, shapes = torch.full((images, 2), SIZE), [(SIZE, SIZE)] * images
            raw = {"cls_logits": outputs.logits, "bbox_regression": outputs.deltas}

            def ours(outputs: SSDLiteOutputs = outputs, sizes: Tensor = sizes) -> list[Detections]:
                return head.predict(outputs, sizes)

            def theirs(raw: dict[str, Tensor] = raw, shapes: list[tuple[int, int]] = shapes) -> list[dict[str, Tensor]]:
                return ssd.postprocess_detections(raw, [anchors] * len(shapes), shapes)  # type: ignore[no-any-return]

            kept, ssd.topk_candidates = ssd.topk_candidates, len(anchors)
            assert_equal(ours(), theirs())
            ssd.topk_candidates = kept
            times = medians_ms([ours, theirs], repeats)
            above = int((outputs.logits.softmax(-1)[..., 1:] > SETTINGS["score_threshold"]).sum()) // images
            rows.append(Row(f"post-processing, {kind} ({above} pairs above), batch {images}", *times))
    return rows


def random_targets(images: int) -> DetectionTargets:
    """COCO's manner: about seven objects in an image, some have many, some none; few are large."""
    counts = (torch.distributions.Exponential(1 / 7.3).sample((images,))).long().clamp(max=40)
    counts[0] = 0
    most = int(counts.max())
    padding = torch.arange(most) >= counts[:, None]
    size = (0.02 + 0.6 * torch.rand(images, most, 2) ** 2).masked_fill(padding[..., None], 0)
    low = torch.rand(images, most, 2) * (1 - size)
    boxes = torch.cat([low, low + size], dim=-1).masked_fill(padding[..., None], 0)
    labels = torch.randint(CLASSES, (images, most)).masked_fill(padding, -1)
    return DetectionTargets(boxes, labels, torch.zeros_like(padding))


def matching_and_loss(ssd: SSD, repeats: int) -> list[Row]:
    """From targets and raw outputs to the sum of the losses, and with the gradients of the raw outputs."""
    anchors = torchvision_anchors(ssd)
    targets = random_targets(BATCH_OF_LOSS)
    listed = [
        {"boxes": boxes[labels >= 0] * SIZE, "labels": labels[labels >= 0] + 1}
        for boxes, labels in zip(targets.boxes_xyxy_rel, targets.labels, strict=True)
    ]
    outputs = random_outputs(BATCH_OF_LOSS, len(anchors))
    outputs.logits.requires_grad_()
    outputs.deltas.requires_grad_()

    def their_loss() -> Tensor:
        matched = []
        for target in listed:
            if len(target["boxes"]):
                matched.append(ssd.proposal_matcher(box_iou(target["boxes"], anchors)))
            else:
                matched.append(torch.full((len(anchors),), -1))
        raw = {"cls_logits": outputs.logits, "bbox_regression": outputs.deltas}
        losses = ssd.compute_loss(listed, raw, [anchors] * BATCH_OF_LOSS, matched)
        total: Tensor = losses["classification"] + losses["bbox_regression"]
        return total

    heads = {score: our_head(score, anchors)[1] for score in (ClassScore.softmax, ClassScore.sigmoid)}

    def our_loss(score: ClassScore) -> Callable[[], Tensor]:
        return lambda: torch.stack(list(heads[score].loss(outputs, targets).values())).sum()

    def backward(loss: Callable[[], Tensor]) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(loss(), list(outputs))

    softmax, sigmoid = our_loss(ClassScore.softmax), our_loss(ClassScore.sigmoid)
    difference = abs(softmax().item() / their_loss().item() - 1)
    assert difference < 0.05, difference  # objects that force the same box, and the image without objects, differ
    forward = medians_ms([softmax, sigmoid, their_loss], repeats)
    both = medians_ms([backward(softmax), backward(sigmoid), backward(their_loss)], repeats)
    return [
        Row(f"matching + loss ({score}), batch {BATCH_OF_LOSS}, {what}", times[index], times[-1])
        for what, times in (("forward", forward), ("with gradients", both))
        for index, score in enumerate(("softmax", "sigmoid"))
    ]


@torch.inference_mode()
def latency(ssd: SSD, repeats: int) -> list[Row]:
    """One image of 320 x 320, already scaled: the network alone, and up to detections in pixels. Random weights."""
    images = torch.randn(1, 3, SIZE, SIZE)
    backbone, head = our_head(ClassScore.softmax)
    anchors, sizes = torchvision_anchors(ssd), torch.tensor([[SIZE, SIZE]])
    last_images, last_backbone = images.contiguous(memory_format=torch.channels_last), MobileNetV2(features=head.taps)
    last_backbone.load_state_dict(backbone.state_dict())
    last_backbone = last_backbone.eval().to(memory_format=torch.channels_last)
    last_head = our_head(ClassScore.softmax)[1].to(memory_format=torch.channels_last)

    def their_network() -> dict[str, Tensor]:
        return ssd.head(list(ssd.backbone(images).values()))  # type: ignore[no-any-return]

    network = medians_ms(
        [lambda: head(backbone(images)), lambda: last_head(last_backbone(last_images)), their_network], repeats
    )
    whole = medians_ms(
        [
            lambda: head.predict(head(backbone(images)), sizes),
            lambda: last_head.predict(last_head(last_backbone(last_images)), sizes),
            lambda: ssd.postprocess_detections(their_network(), [anchors], [(SIZE, SIZE)]),
        ],
        repeats,
    )
    return [
        Row(f"one image, {what}, {layout}", times[index], times[-1])
        for what, times in (("network", network), ("network + post-processing", whole))
        for index, layout in enumerate(("contiguous", "channels last"))
    ]


PARTS: dict[str, Callable[[SSD, int], list[Row]]] = {
    "postprocess": postprocess,
    "loss": matching_and_loss,
    "latency": latency,
}


def table(rows: list[Row]) -> str:
    width = max(len(row.what) for row in rows)
    lines = [f"{'':{width}}  {'ours ms':>9}  {'torchvision ms':>14}  {'ratio':>6}"]
    for row in rows:
        peer = "" if row.peer_ms is None else f"{row.peer_ms:.2f}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(f"{row.what:{width}}  {row.ours_ms:9.2f}  {peer:>14}  {ratio:>6}")
    return "\n".join(lines)


def main() -> None:
    told = options(__doc__, repeats=15, parts=PARTS)
    torch.set_num_threads(told.threads)
    torch.manual_seed(0)
    ssd = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    rows = [row for part in told.only for row in PARTS[part](ssd, told.repeats)]
    print(f"torch {torch.__version__}, {told.threads} thread(s), medians of {told.repeats}")
    print(table(rows))
    compared = [
        Compared(row.what, row.ours_ms, "torchvision", row.peer_ms, "ms", row.peer_ms / row.ours_ms)
        for row in rows
        if row.peer_ms is not None
    ]
    figures = {"threads": told.threads, "rows": [{**row._asdict(), "ratio": row.ratio} for row in rows]}
    write_json(told.json, figures, compared)


if __name__ == "__main__":
    main()
