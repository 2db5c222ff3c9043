"""What mode=latency measures, and a search uses. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from backbone.errors import InputError
from tasks.config.export import Precision


class TimedRuntime(Enum):
    """In what a network runs: PyTorch, or a runtime that mode=export writes files for."""

    torch = "torch"
    onnx = "onnx"
    litert = "litert"
    executorch = "executorch"


@dataclass(kw_only=True, slots=True)
class LatencyConfig:
    """In which runtime pieces of a network are timed, and where the times are kept."""

    runtime: TimedRuntime = TimedRuntime.torch
    precision: Precision = Precision.fp32
    threads: int = 1
    num_classes: int = 80
    """Classes of every head, in mode=latency, which reads no data."""
    passes: int = 50
    """Timed for every piece; the mean of the fastest tenth is what counts."""
    table: str | None = None
    """File of the times, also one from another device; null: latency.json in the run folder."""

    def __post_init__(self) -> None:
        for name in ("threads", "passes", "num_classes"):
            if getattr(self, name) < 1:
                raise InputError(f"latency.{name}={getattr(self, name)}: must be at least 1")
        if self.precision is Precision.fp16:
            raise InputError("latency.precision=fp16: must be one of fp32, int8")
        if self.runtime is TimedRuntime.torch and self.precision is not Precision.fp32:
            raise InputError(
                f"latency.precision={self.precision.value}: torch runs fp32; say latency.runtime=onnx, litert or"
                " executorch"
            )
