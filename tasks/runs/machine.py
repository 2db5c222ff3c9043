"""What this machine has, and settings of the process that make training on a CPU fast, each safe by itself."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

import cv2
import torch

from backbone.errors import InputError

if TYPE_CHECKING:
    from tasks.config.training import TrainerConfig

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
"""glibc's names for mallopt, from malloc.h."""


def tune(*, deterministic: bool = False) -> None:
    """Keep freed memory for the next step, and OpenCV to one thread beside torch's; use algorithms that repeat.

    Training allocates and frees the same large buffers in every step. glibc returns each to the kernel, which has to
    zero its pages again; on a CPU that costs more than a tenth of a step.
    """
    cv2.setNumThreads(1)
    torch.set_float32_matmul_precision("high")
    if deterministic != torch.are_deterministic_algorithms_enabled():  # saying it imports torch's compiler
        torch.use_deterministic_algorithms(deterministic)
    if deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # what cuBLAS asks for then
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt") and hasattr(libc, "gnu_get_libc_version"):
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def choose_gpu(trainer: TrainerConfig) -> None:
    """Let the GPU that `trainer.devices` names be this process's, where it is alone.

    Raises:
        InputError: this machine has not so many.
    """
    if trainer.named_gpus is not None:
        trainer.check_gpus(torch.cuda.device_count())
        torch.cuda.set_device(trainer.named_gpus[0])


def device_of(trainer: TrainerConfig) -> torch.device:
    """The device of `trainer.accelerator`; of several GPUs the one of this process.

    Raises:
        InputError: this machine has none, the message names what it has; or it has not `trainer.precision`.
    """
    there = [name for name, has in (("mps", torch.backends.mps), ("cuda", torch.cuda)) if has.is_available()]
    name = trainer.accelerator
    if name not in ("auto", "cpu", *there, *["gpu"] * bool(there)):
        allowed = sorted({"auto", "cpu", *there, *["gpu"] * bool(there)})
        raise InputError(f"trainer.accelerator={name}: this machine has none; must be one of {', '.join(allowed)}")
    kind = [*there, "cpu"][0] if name in ("auto", "gpu") else name
    if trainer.precision == "16-mixed" and kind == "cpu":
        raise InputError("trainer.precision=16-mixed: needs a GPU; on the CPU say bf16-mixed or 32-true")
    return torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)
