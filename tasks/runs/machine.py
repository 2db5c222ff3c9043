"""What this machine has, and settings of the process that make training on a CPU fast, each safe by itself."""

from __future__ import annotations

import ctypes
import sys

import cv2
import torch

from backbone.errors import InputError

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
"""glibc's names for mallopt, from malloc.h."""


def tune() -> None:
    """Keep freed memory for the next step, and OpenCV to one thread beside torch's.

    Training allocates and frees the same large buffers in every step. glibc returns each to the kernel, which has to
    zero its pages again; on a CPU that costs more than a tenth of a step.
    """
    cv2.setNumThreads(1)
    torch.set_float32_matmul_precision("high")
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt") and hasattr(libc, "gnu_get_libc_version"):
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def check_accelerator(name: str) -> None:
    """See that this machine has what `trainer.accelerator` names.

    Raises:
        InputError: it has not; the message names what it has.
    """
    from lightning.pytorch.accelerators import AcceleratorRegistry  # takes seconds

    there = {kind for kind, entry in AcceleratorRegistry.items() if entry["accelerator"].is_available()}
    allowed = sorted({"auto", *there, *(["gpu"] if there & {"cuda", "mps"} else [])})
    if name not in allowed:
        raise InputError(f"trainer.accelerator={name}: this machine has none; must be one of {', '.join(allowed)}")
