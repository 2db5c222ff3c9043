"""How long one pass takes on this machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

WARM_UP = 3
"""Passes that are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds of a pass: the median, and the fastest and slowest of `passes`."""

    threads: int
    passes: int
    median_ms: float
    fastest_ms: float
    slowest_ms: float


def latency(module: nn.Module, images: Tensor, *, threads: int, passes: int) -> Latency:
    """Time `passes` passes of `module` over `images`, in evaluation and without gradients, after a few to warm up."""
    module.eval()
    times: list[float] = []
    with threads_of_torch(threads), torch.inference_mode():
        for _ in range(WARM_UP + passes):
            start = time.perf_counter()
            module(images)
            times.append(1000 * (time.perf_counter() - start))
    counted = times[WARM_UP:]
    return Latency(
        threads=threads,
        passes=passes,
        median_ms=statistics.median(counted),
        fastest_ms=min(counted),
        slowest_ms=max(counted),
    )


def thread_counts() -> list[int]:
    """One, and as many as this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return sorted({1, allowed})


def machine() -> str:
    """Processor, cores and the version of torch, in words."""
    return f"{_processor()}, {thread_counts()[-1]} cores, {platform.system()}, torch {torch.__version__}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip() != "unknown":
                return value.strip()
    return platform.processor() or platform.machine()


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """Let torch compute with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
