"""Images to predictions, and predictions to metrics; segmentation also at several scales and mirrored.

Reference for several scales: MobileNetV2, arXiv:1801.04381, section 6.3 (MF in Table 7); DeepLabv3, arXiv:1706.05587,
section 4.1.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from backbone.errors import InputError
from heads.segmentation.upsample import matrix, stripes
from heads.structures import LabelMask
from tasks.distributed import group
from tasks.evaluators.base import metrics_of_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from heads.structures import Batch
    from tasks.evaluators.base import Evaluator
    from tasks.model import VisionModel

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""By `trainer.precision`; another one computes in the type of the weights."""
DOUBLE = "64-true"
"""For tests of algorithms: what several ways to compute differ by is then no rounding."""


class Completed(Protocol):
    """What completes predictions about images by what else is known of them."""

    def __call__(self, answers: dict[str, list[Any]], rows: dict[str, Tensor], sizes: Tensor) -> dict[str, list[Any]]:
        """By head, a prediction for each of its images.

        Args:
            answers: by head.
            rows: images of the batch that a head answered about; of a head that is not named, all.
            sizes: (N, 2), height and width of the original images.
        """
        ...


@contextmanager
def computing(device: torch.device, precision: str) -> Iterator[None]:
    """While this lasts models compute as `trainer.precision` says, without gradients."""
    before = torch.get_default_dtype()
    dtype = AUTOCAST.get(precision)
    try:
        torch.set_default_dtype(torch.float64 if precision == DOUBLE else before)
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=bool(dtype), cache_enabled=False):
            yield
    finally:
        torch.set_default_dtype(before)


def evaluate(
    model: VisionModel,
    evaluators: Mapping[str, Evaluator[Any]],
    batches: Iterable[Batch],
    *,
    device: torch.device,
    precision: str = "32-true",
    multi_scale: bool = False,
    completed: Completed | None = None,
) -> dict[str, dict[str, float | None]]:
    """Metrics by head over the images of all processes; the evaluators of the first process then know all of them.

    Args:
        model: is moved to `device`; all processes use the first one's weights.
        batches: of this process.
        completed: what becomes of the predictions of every batch; None: they stay.
    Raises:
        InputError: what a head gives out is not finite, or an image was seen twice.
    """
    model.to(device, torch.float64 if precision == DOUBLE else None).eval()
    group.share_weights(model)
    for evaluator in evaluators.values():
        evaluator.reset()
    with computing(device, precision):
        for batch in batches:
            here = batch.to(device, non_blocking=True)
            update(evaluators, model, here, multi_scale=multi_scale, completed=completed)
    return metrics_of_all(evaluators)


def update(
    evaluators: Mapping[str, Evaluator[Any]], model: VisionModel, batch: Batch, *, multi_scale: bool = False,
    completed: Completed | None = None,
) -> None:  # fmt: skip
    """Let the evaluator of every head take in what the model says about a batch."""
    answers = predict(model, batch.images, batch.sizes, batch.rows, multi_scale=multi_scale)
    if completed is not None:
        answers = completed(answers, batch.rows, batch.sizes)
    for name, of_head in answers.items():
        evaluators[name].update(batch.of(name), of_head)


@torch.no_grad()
def predict_multi_scale(
    model: VisionModel,
    head: str,
    images: Tensor,
    sizes: Tensor,
    *,
    scales: Sequence[float] = SCALES,
    flip: bool = True,
) -> list[LabelMask]:
    """The class of every pixel with the highest mean probability over all views.

    The logits of every view stay as coarse as the head gives them; stripes of rows are interpolated, turned into
    probabilities and averaged one after the other. The largest of the passes needs most of the memory.

    Args:
        head: its name in `model`; a DeepLabv3 head.
        images: (N, 3, H, W) uint8, RGB.
        sizes: (N, 2), height and width of the original images.
        scales: of the image; one of H pixels becomes one of scale x (H - 1) + 1, so that 513 becomes 257, 385 ...
        flip: see each also mirrored left to right.
    Raises:
        InputError: there is no scale, one is not positive, or a logit is not finite.
    """
    if not scales or not all(scale > 0 for scale in scales):
        raise InputError(f"scales={list(scales)}: must be one or more positive numbers")
    segmenter = model.heads[head]
    aligned: bool = segmenter.config.aligned_corners  # type: ignore[assignment, union-attr]
    logits = [
        segmenter(model.backbone(model.scaling(view))).float().flip(-1 if mirrored else ())
        for view, mirrored in _views(images, scales, flip, aligned)
    ]
    check_finite(head, logits)
    return [
        LabelMask(_best_on_average([view[image] for view in logits], (height, width), aligned))
        for image, (height, width) in enumerate(sizes.tolist())
    ]


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Pixels of an image at a scale; at least one."""
    return round(scale * (height - 1)) + 1, round(scale * (width - 1)) + 1


def _views(images: Tensor, scales: Sequence[float], flip: bool, aligned: bool) -> Iterator[tuple[Tensor, bool]]:
    """Images at each scale, in 0 .. 255, and whether they are mirrored."""
    height, width = images.shape[-2:]
    for scale in scales:
        size = scaled_size(height, width, scale)
        view = images
        if size != (height, width):
            view = F.interpolate(images.float(), size=size, mode="bilinear", align_corners=aligned)
        yield view, False
        if flip:
            yield view.flip(-1), True


def _best_on_average(logits: Sequence[Tensor], size: tuple[int, int], aligned: bool) -> Tensor:
    """(H, W) uint8 from the logits (K, h, w) of each view."""
    height, width = size
    sides = [
        [
            matrix(cells, pixels, aligned_corners=aligned, device=view.device)
            for cells, pixels in zip(view.shape[1:], size, strict=True)
        ]
        for view in logits
    ]
    mask = torch.empty(height, width, dtype=torch.uint8, device=logits[0].device)
    for start, end in stripes(height, width * logits[0].shape[0]):
        total = torch.zeros(len(logits[0]), end - start, width, device=mask.device)
        for view, (rows, columns) in zip(logits, sides, strict=True):
            total += (rows[start:end] @ view @ columns.T).softmax(dim=0)
        mask[start:end] = total.max(dim=0).indices
    return mask


def predict(
    model: VisionModel,
    images: Tensor,
    sizes: Tensor,
    rows: Mapping[str, Tensor] | None = None,
    *,
    multi_scale: bool = False,
) -> dict[str, list[Any]]:
    """What the heads say about images: by the head's name, an answer for each image.

    Args:
        images: (N, 3, H, W) uint8, RGB.
        sizes: (N, 2), height and width of the original images, in whose pixels the answers are.
        rows: the images that a head is wanted of, as in `VisionModel.forward_heads`.
        multi_scale: average segmentation over several scales, of all images (see `tasks.inference`).
    Raises:
        InputError: what a head gives out is not finite.
    """
    if multi_scale:
        return {name: predict_multi_scale(model, name, images, sizes) for name in model.heads}
    rows = rows or {}
    canvas = getattr(model, "canvas", None)
    seen, whole = (images, sizes) if canvas is None else _padded(model, canvas, images, sizes)
    answers: dict[str, list[Any]] = {}
    outputs = model.forward_heads(model.features(seen), rows)
    mirrored = model.forward_heads(model.features(seen.flip(-1)), rows) if getattr(model, "flip", False) else None
    for name, output in outputs.items():
        check_finite(name, output)
    for name, output in outputs.items():
        of_head = rows.get(name, slice(None))
        head: Any = model.heads[name]
        size = whole[of_head]
        found = head.predict(output, size) if mirrored is None else head.predict_both(output, mirrored[name], size)
        answers[name] = found if canvas is None else _cut(found, sizes[of_head])
    return answers


def _padded(model: VisionModel, canvas: int, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Images that are filled up to a square of `canvas` pixels, below and on the right, with the mean of the model's
    input; and height and width (N, 2) that the originals would have, filled up likewise."""
    height, width = images.shape[-2:]
    if max(height, width) > canvas:
        raise InputError(f"image of {width} x {height} pixels: is larger than the {canvas} that images are padded to")
    mean = -model.scaling.offset / model.scaling.factor
    padded = mean.expand(len(images), -1, canvas, canvas).clone()
    padded[:, :, :height, :width] = images
    whole = (sizes * sizes.new_tensor([canvas, canvas]) / sizes.new_tensor([height, width])).round().to(sizes.dtype)
    return padded, whole


def _cut(found: list[Any], sizes: Tensor) -> list[Any]:
    """Label maps without what the images were filled up with; other predictions as they are."""
    return [
        LabelMask(one.mask[:high, :wide].contiguous()) if isinstance(one, LabelMask) else one
        for one, (high, wide) in zip(found, sizes.tolist(), strict=True)
    ]


def check_finite(head: str, output: Any) -> None:
    """See that what a head gives out can be scored.

    Args:
        output: a tensor, or a mapping or sequence of such, nested in any way.
    Raises:
        InputError: a value is NaN or infinite.
    """
    if isinstance(output, Tensor):
        if not output.isfinite().all():
            raise InputError(
                f"head {head}: gives NaN or infinite scores, which mean nothing: training diverged, or the precision"
                " is too low; say trainer.precision=32-true, or use another checkpoint"
            )
    elif isinstance(output, dict | list | tuple):
        for part in output.values() if isinstance(output, dict) else output:
            check_finite(head, part)
