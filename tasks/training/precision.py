"""In which type a training step is fastest on this machine: `trainer.precision=auto`.

A processor that multiplies bfloat16 may be twice as fast with it, or slower: that its instructions are there does not
tell which. So two layers that a MobileNet spends its time in are timed in both types, forward and backward.
"""

from __future__ import annotations

import logging
import time
from statistics import median

import torch
import torch.nn.functional as F

log = logging.getLogger(__name__)

FULL = "32-true"
HALF = "bf16-mixed"
GAIN = 1.2
"""How many times faster bfloat16 must be to be taken; about a tenth is the noise of a busy machine."""
REPEATS = 7
IMAGES, CHANNELS, EXPANSION, SIDE = 8, 32, 6, 20
"""Of the block that is timed: one at stride 16 of 320 pixels."""


def fastest(device: torch.device) -> str:
    """The value of `trainer.precision` to train with; one line says why.

    On a GPU bfloat16 where its hardware has it, as every float32 path is slower there; on a CPU what a trial says.
    """
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
        found, why = (HALF, "the GPU computes in bfloat16") if has else (FULL, "the GPU has no bfloat16")
    elif device.type == "cpu":
        ratio = gain()
        found, why = HALF if ratio >= GAIN else FULL, f"bfloat16 is {ratio:.2f} times as fast as float32 here"
    else:
        found, why = FULL, f"bfloat16 is not tried on {device.type}"
    log.info("trainer.precision=auto: %s, %s", found, why)
    return found


def gain() -> float:
    """Time in float32 over time in bfloat16 of an inverted residual's layers on the CPU; medians, taking turns."""
    with torch.random.fork_rng(devices=[]):
        images = torch.randn(IMAGES, CHANNELS, SIDE, SIDE).to(memory_format=torch.channels_last).requires_grad_()
        wide = CHANNELS * EXPANSION
        filters = [torch.randn(shape) for shape in ((wide, CHANNELS, 1, 1), (wide, 1, 3, 3), (CHANNELS, wide, 1, 1))]
    for weights in filters:
        weights.requires_grad_()
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(REPEATS):
        for half, found in times.items():
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                x = F.conv2d(images, filters[0])
                x = F.conv2d(x, filters[1], padding=1, groups=len(filters[1]))
                x = F.conv2d(x, filters[2])
            x.float().sum().backward()  # type: ignore[no-untyped-call]
            found.append(time.perf_counter() - start)
    full, half_time = (median(found[1:]) for found in times.values())  # the first is slower
    return full / half_time
