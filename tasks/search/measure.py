"""Timing of pieces and whole networks in the runtime that a network is for."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from backbone.errors import InputError
from tasks.config.export import Format, Precision
from tasks.config.latency import TimedRuntime
from tasks.deploy.folding import folded
from tasks.deploy.toolchains import TOOLCHAINS, tools
from tasks.search.pieces import FlatPiece, Piece
from tasks.search.table import Timing
from tasks.timing.latency import machine as machine_of
from tasks.timing.latency import threads_of_torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.config.latency import LatencyConfig
    from tasks.deploy.graph import ExportGraph
    from tasks.model import VisionModel

WARM_UP = 3
CALIBRATED = 4
"""Inputs from which the ranges of an int8 piece are taken; they are noise, and the speed does not depend on them."""
FASTEST = 10
"""One pass of so many counts."""
MAX_SECONDS = 3.0
"""For all passes of a piece; a slow one is timed fewer times, but not fewer than MIN_PASSES."""
MIN_PASSES = 5


class Stopwatch:
    """Times modules in one runtime.

    Args:
        config: which runtime, precision, threads.
    Raises:
        InputError: the runtime is not installed.
    """

    def __init__(self, config: LatencyConfig) -> None:
        self.config = config
        self.tools: Any = None
        if config.runtime is not TimedRuntime.torch:
            format_of = Format[config.runtime.value]
            self.tools = tools(format_of, what=f"latency.runtime={config.runtime.value}", to_write=True)

    def about(self) -> dict[str, Any]:
        """What a table says of itself."""
        names = ["torch"]
        if self.config.runtime is not TimedRuntime.torch:
            names += list(TOOLCHAINS[Format[self.config.runtime.value]].reads)
        return {
            "machine": machine_of().rpartition(", torch")[0],
            "runtime": self.config.runtime.value,
            "precision": self.config.precision.value,
            "threads": self.config.threads,
            "versions": {name: _version(name) for name in names},
        }

    def piece(self, piece: Piece) -> Timing:
        """Time one piece."""
        module = piece.make().eval()
        if self.tools is None:
            maps = [torch.randn(1, *shape).contiguous(memory_format=torch.channels_last) for shape in piece.inputs]
            return self._timed_in_torch(module.to(memory_format=torch.channels_last), maps)
        channels_last = self.config.runtime is not TimedRuntime.onnx
        flat: Any = FlatPiece(piece, folded(module), channels_last=channels_last).eval()
        return self._timed_in_file(flat, flat.example().numpy())

    def network(self, model: VisionModel, size: int) -> Timing:
        """Time a whole network: in torch as it is, else as mode=export writes it."""
        model.eval()
        if self.tools is None:
            images = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
            return self._timed_in_torch(model, [images.contiguous(memory_format=torch.channels_last)])
        from tasks.deploy.graph import ExportGraph

        integers = self.config.precision is Precision.int8
        graph = ExportGraph(model, size, integers=integers)
        return self._timed_in_file(graph, graph.example().numpy())

    def _timed_in_torch(self, module: nn.Module, inputs: list[Any]) -> Timing:
        with threads_of_torch(self.config.threads), torch.inference_mode():
            return self._timed(lambda: module(*inputs))

    def _timed_in_file(self, graph: ExportGraph | FlatPiece, example: Any) -> Timing:
        if self.config.precision is Precision.int8:
            generator = torch.Generator().manual_seed(0)
            if isinstance(graph, FlatPiece):
                views = [torch.randn(example[0].shape, generator=generator).numpy() for _ in range(CALIBRATED)]
            else:
                views = [
                    torch.randint(0, 256, example[0].shape, generator=generator, dtype=torch.uint8).numpy()
                    for _ in range(CALIBRATED)
                ]
            content = self.tools.quantize(graph, views)
        else:
            content = self.tools.convert(graph, self.config.precision)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"piece{TOOLCHAINS[Format[self.config.runtime.value]].suffix}"
            path.write_bytes(content)
            runtime = self.tools.Runtime(str(path), graph.names, self.config.threads)
            return self._timed(lambda: runtime(example))

    def _timed(self, run: Callable[[], Any]) -> Timing:
        times: list[float] = []
        gc.collect()
        end = time.perf_counter() + MAX_SECONDS
        for _ in range(WARM_UP + self.config.passes):
            start = time.perf_counter()
            run()
            times.append(1000 * (time.perf_counter() - start))
            if start > end and len(times) >= WARM_UP + MIN_PASSES:
                break
        counted = times[WARM_UP:]
        low, median, high = statistics.quantiles(counted, n=4) if len(counted) > 1 else counted * 3
        fastest = sorted(counted)[: max(1, len(counted) // FASTEST)]
        return Timing(fast=statistics.mean(fastest), median=median, low=low, high=high, passes=len(counted))


def _version(name: str) -> str:
    for candidate in (name, name.replace("_", "-")):
        try:
            return version(candidate)
        except PackageNotFoundError:
            continue
    raise InputError(f"{name}: is not installed")
