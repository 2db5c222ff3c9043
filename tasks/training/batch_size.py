"""How many images of a training step fit into the memory: `data.batch_size=auto`.

On a GPU batches of 4, 8, 16 .. images take a step each until one does not fit. A processor's memory is shared with
everything else, and who takes too much of it is killed: there a step of 4 images says what each keeps for the backward
pass, and how many fit is computed.
"""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import torch

from backbone.errors import InputError
from tasks.inference import AUTOCAST

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from heads.structures import Batch
    from tasks.model import VisionModel

log = logging.getLogger(__name__)

FIRST = 4
"""Images of the first trial."""
MOST = 256
"""Images of a batch; larger ones make nothing faster and want learning rates of their own."""
STEPS = 8
"""That a pass over the training images has at least."""
GPU_SHARE = 0.9
"""Share of a GPU's free memory that a step may take."""
CPU_SHARE = 0.5
"""Share of the machine's free memory, which data workers and others need too."""
BACKWARD = 1.3
"""Memory of a step over what it keeps for its backward pass: gradients of the largest maps stand beside it. Measured
on a CPU with three networks and all heads: 1.01 to 1.10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What was found.

    Attributes:
        images: of the largest batch that fits, a power of two.
        each: bytes that an image takes.
        free: bytes that there were for a step.
        why: what more images would come to, in words.
    """

    images: int
    each: float
    free: int
    why: str


def limit(images: int, processes: int, accumulate: int) -> int:
    """The largest batch that leaves a pass over so many images `STEPS` steps."""
    return max(2, min(MOST, images // (processes * accumulate * STEPS)))


def find(
    model: VisionModel, batch_of: Callable[[int], Batch], device: torch.device, precision: str, *, most: int,
    least: int = 2, sharers: int = 1,
) -> Trial:  # fmt: skip
    """Try how many images fit.

    Args:
        model: to try with; it is moved to `device`, and is of no use afterwards.
        batch_of: a training batch of so many images.
        precision: as `trainer.precision`.
        most, least: images of a batch.
        sharers: processes that share the memory.
    Raises:
        InputError: not even `least` fit.
    """
    model.to(device).train()
    found = (_on_gpu if device.type == "cuda" else _on_cpu)(model, batch_of, device, precision, most, sharers)
    if found.images < least:
        raise InputError(
            f"data.batch_size=auto: not even {least} images fit into the {_gib(found.free)} that are free; lower"
            " transform.image_size or backbone.width"
        )
    return found


def say(found: Trial, images: int) -> None:
    """One line on a trial.

    Args:
        images: that all processes take, each.
    """
    others = "" if images == found.images else " (another process has room for no more)"
    log.info(
        "data.batch_size=auto: %d images in a batch%s, %s each of %s that are free; %s",
        images, others, _mib(found.each), _gib(found.free), found.why,
    )  # fmt: skip


def _on_gpu(
    model: VisionModel, batch_of: Callable[[int], Batch], device: torch.device, precision: str, most: int, _: int
) -> Trial:
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    free = int(GPU_SHARE * torch.cuda.mem_get_info(device)[0])
    images, each, why, tried = 0, 0.0, _enough(most), min(FIRST, 2 ** (most.bit_length() - 1))
    while tried <= most:
        torch.cuda.reset_peak_memory_stats(device)
        fits = True
        try:
            step(model, batch_of(tried).to(device), device, precision)
            torch.cuda.synchronize(device)
        except torch.OutOfMemoryError:
            fits = False
        model.zero_grad(set_to_none=True)
        gc.collect()
        torch.cuda.empty_cache()
        peak = torch.cuda.max_memory_allocated(device) - before
        if not fits or peak > free:
            why = f"{tried} do not fit"
            if images or tried <= 2:  # batch normalisation cannot learn from one
                break
            tried //= 2
            most = tried
            continue
        images, each, tried = tried, peak / tried, tried * 2
    return Trial(images=images, each=each or float(free), free=free, why=why)


def _on_cpu(
    model: VisionModel, batch_of: Callable[[int], Batch], device: torch.device, precision: str, most: int, sharers: int
) -> Trial:
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step(model, batch_of(FIRST).to(device), device, precision)
    each = BACKWARD * sum(size for place, size in kept.items() if place not in weights) / FIRST
    free = int(CPU_SHARE * psutil.virtual_memory().available / sharers)
    fit = int(free / each)
    images = 2 ** (min(fit, most).bit_length() - 1) if min(fit, most) > 0 else 0
    return Trial(images=images, each=each, free=free, why=_enough(most) if 2 * images > most else "more do not fit")


def _enough(most: int) -> str:
    return f"more than {most} are not tried" if most == MOST else f"more would leave a pass fewer than {STEPS} steps"


def step(model: VisionModel, batch: Batch, device: torch.device, precision: str) -> None:
    """Losses of all heads and their gradients."""
    dtype: Any = AUTOCAST.get(precision)
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        outputs = model.forward_heads(model.features(batch.images), batch.rows)
        losses: list[Tensor] = [
            loss
            for name, output in outputs.items()
            if len(batch.rows.get(name, batch.images))
            for loss in model.heads[name].loss(output, batch.targets[name]).values()  # type: ignore[operator]
        ]
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


def _mib(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"
