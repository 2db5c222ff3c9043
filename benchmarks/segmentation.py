"""Evaluation and loss of segmentation against the plain way, both measured in this run: time and peak memory.

python benchmarks/segmentation.py [--repeats 9] [--threads 1] [--only evaluation loss] [--json FILE]

Evaluation goes from the logits of a batch to the confusion matrix at the size of the originals. Plain: interpolate the
logits of the batch (torch's `interpolate`), choose by `argmax`, count with torchmetrics' `JaccardIndex`. Loss: from
logits to their gradient; plain: torch's `interpolate` and `cross_entropy`. The candidates of a row take turns, so that
a busy machine disturbs all alike; times are medians, ratios are plain over ours. Before anything is timed the answers
are compared: the confusion matrices must be equal, the gradients within rounding.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from torchmetrics.classification import MulticlassJaccardIndex

from backbone.cost import measured_peak_memory
from backbone.features import FeatureSpec
from benchmarks.timing import Compared, medians_ms, options, write_json
from heads.build import build_head
from heads.deeplabv3.config import DeepLabV3Config
from heads.structures import VOID, SegmentationTargets
from tasks.metrics.miou import MeanIoU

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

CLASSES = 21
STRIDE = 16
HEAD = build_head(DeepLabV3Config(), {"context": FeatureSpec(320, STRIDE)}, num_classes=CLASSES, image_size=513)


class Row(NamedTuple):
    """Milliseconds an image and MiB."""

    what: str
    ours_ms: float
    plain_ms: float
    ours_mib: float
    plain_mib: float


def measured(what: str, images: int, ours: Callable[[], Any], plain: Callable[[], Any], repeats: int) -> Row:
    times = [spent / images for spent in medians_ms([ours, plain], repeats)]
    return Row(what, *times, *(measured_peak_memory(candidate) / 2**20 for candidate in (ours, plain)))


def logits_of(kind: str, images: int, height: int, width: int) -> Tensor:
    """`trained`: areas of one class and their borders. `random`: another class in every cell, the worst case."""
    cells = -(-height // STRIDE), -(-width // STRIDE)
    if kind == "random":
        return torch.randn(images, CLASSES, *cells)
    coarse = 8 * torch.randn(images, CLASSES, max(2, cells[0] // 8), max(2, cells[1] // 8))
    return F.interpolate(coarse, size=cells, mode="bicubic")


def truth_of(logits: Tensor, height: int, width: int) -> Tensor:
    """What a noisier network would say, with a tenth of the pixels void."""
    noisy = logits + torch.randn_like(logits)
    masks = F.interpolate(noisy, size=(height, width), mode="nearest").argmax(dim=1).to(torch.uint8)
    masks[torch.rand(masks.shape) < 0.1] = VOID
    return masks


@torch.inference_mode()
def evaluation(repeats: int) -> list[Row]:
    """From logits to the confusion matrix."""
    rows = []
    for kind, images, height, width in (
        ("trained", 1, 375, 500),
        ("trained", 8, 375, 500),
        ("random", 8, 375, 500),
        ("trained", 1, 3000, 4000),
    ):
        logits = logits_of(kind, images, height, width)
        truth, sizes = truth_of(logits, height, width), torch.tensor([[height, width]] * images)

        def ours(logits: Tensor = logits, truth: Tensor = truth, sizes: Tensor = sizes) -> Tensor:
            measure = MeanIoU([str(index) for index in range(CLASSES)])
            for mask, answer in zip(truth, HEAD.predict(logits, sizes), strict=True):
                measure.update(mask, answer.mask)
            return measure.counts

        def plain(logits: Tensor = logits, truth: Tensor = truth) -> Tensor:
            metric = MulticlassJaccardIndex(CLASSES, ignore_index=VOID, validate_args=False)
            full = F.interpolate(logits, size=truth.shape[1:], mode="bilinear", align_corners=True)
            metric.update(full.argmax(dim=1), truth.long())
            return metric.confmat

        moved = (ours() - plain()).abs().sum().item() / 2
        assert moved == 0, f"{moved} pixels of {truth.numel()} differ"
        rows.append(measured(f"evaluation, {kind}, {images} x {height} x {width}", images, ours, plain, repeats))
    return rows


def loss(repeats: int) -> list[Row]:
    """From logits to their gradient."""
    rows = []
    for images, side in ((8, 321), (4, 513)):
        logits = logits_of("trained", images, side, side).requires_grad_()
        masks = truth_of(logits.detach(), side, side)

        def ours(logits: Tensor = logits, masks: Tensor = masks) -> Tensor:
            value = HEAD.loss(logits, SegmentationTargets(masks))["pixel"]
            return torch.autograd.grad(value, logits)[0]

        def plain(logits: Tensor = logits, masks: Tensor = masks) -> Tensor:
            full = F.interpolate(logits, size=masks.shape[1:], mode="bilinear", align_corners=True)
            return torch.autograd.grad(F.cross_entropy(full, masks.long(), ignore_index=VOID), logits)[0]

        torch.testing.assert_close(ours(), plain(), atol=1e-6, rtol=1e-3)
        rows.append(measured(f"loss and gradient, {images} x {side} x {side}", images, ours, plain, repeats))
    return rows


PARTS: dict[str, Callable[[int], list[Row]]] = {"evaluation": evaluation, "loss": loss}


def table(rows: list[Row]) -> str:
    width = max(len(row.what) for row in rows)
    headings = ("ours ms/image", "plain", "ratio", "ours peak MiB", "plain", "ratio")
    lines = [f"{'':{width}}  " + "  ".join(f"{heading:>7}" for heading in headings)]
    for what, ours_ms, plain_ms, ours_mib, plain_mib in rows:
        cells = (ours_ms, plain_ms, plain_ms / ours_ms, ours_mib, plain_mib, plain_mib / ours_mib)
        lines.append(
            f"{what:{width}}  "
            + "  ".join(f"{cell:{max(7, len(heading))}.1f}" for cell, heading in zip(cells, headings, strict=True))
        )
    return "\n".join(lines)


def main() -> None:
    told = options(__doc__, repeats=9, parts=PARTS)
    torch.set_num_threads(told.threads)
    torch.manual_seed(0)
    rows = [row for part in told.only for row in PARTS[part](told.repeats)]
    print(f"torch {torch.__version__}, {told.threads} thread(s), medians of {told.repeats}, {CLASSES} classes")
    print(table(rows))
    peer = "torch and torchmetrics"
    compared = [
        Compared(row.what, ours, peer, plain, unit, plain / ours)
        for row in rows
        for ours, plain, unit in (
            (row.ours_ms, row.plain_ms, "ms/image"),
            (row.ours_mib, row.plain_mib, "MiB at the peak"),
        )
    ]
    write_json(told.json, {"threads": told.threads, "rows": [row._asdict() for row in rows]}, compared)


if __name__ == "__main__":
    main()
