"""Settings of the process that make training on a CPU fast, each safe by itself."""

from __future__ import annotations

import ctypes
import sys

import cv2
import torch

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
