"""Timing of pieces and whole networks in the runtime that a network is for."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

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
    from collections.abc import Callable, Iterator, Sequence

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
            module = module.to(memory_format=torch.channels_last)
            return self._timed([lambda: module(*maps)])[0]
        channels_last = self.config.runtime is not TimedRuntime.onnx
        flat: Any = FlatPiece(piece, folded(module), channels_last=channels_last).eval()
        return self._timed([self._opened(flat, flat.example().numpy())])[0]

    def networks(self, models: Sequence[VisionModel], size: int) -> list[Timing]:
        """Time whole networks: in torch as they are, else as mode=export writes them.

        They take turns, pass by pass, so that whatever else the machine does slows all of them alike.
        """
        return self._timed([self._run_of(model.eval(), size) for model in models])

    def _run_of(self, model: VisionModel, size: int) -> Callable[[], Any]:
        if self.tools is None:
            images = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
            images = images.contiguous(memory_format=torch.channels_last)
            return lambda: model(images)
        from tasks.deploy.graph import ExportGraph

        graph = ExportGraph(model, size, integers=self.config.precision is Precision.int8)
        return self._opened(graph, graph.example().numpy())

    def _opened(self, graph: ExportGraph | FlatPiece, example: Any) -> Callable[[], Any]:
        """A pass of the graph's file in its runtime."""
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
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / f"piece{TOOLCHAINS[Format[self.config.runtime.value]].suffix}"
            path.write_bytes(content)
            runtime = self.tools.Runtime(str(path), graph.names, self.config.threads)
            runtime(example)  # while the file is there
        return lambda: runtime(example)

    def _timed(self, runs: Sequence[Callable[[], Any]]) -> list[Timing]:
        times: list[list[float]] = [[] for _ in runs]
        gc.collect()
        end = time.perf_counter() + MAX_SECONDS * len(runs)
        with self._threads():
            for number in range(WARM_UP + self.config.passes):
                for run, mine in zip(runs, times, strict=True):
                    start = time.perf_counter()
                    run()
                    mine.append(1000 * (time.perf_counter() - start))
                if time.perf_counter() > end and number + 1 >= WARM_UP + MIN_PASSES:
                    break
        return [_timing(mine[WARM_UP:]) for mine in times]

    @contextmanager
    def _threads(self) -> Iterator[None]:
        """As many threads of torch as the configuration says; other runtimes were told when their file was opened."""
        if self.tools is None:
            with threads_of_torch(self.config.threads), torch.inference_mode():
                yield
        else:
            yield


def _timing(times: Sequence[float]) -> Timing:
    low, median, high = statistics.quantiles(times, n=4) if len(times) > 1 else [*times] * 3
    fastest = sorted(times)[: max(1, len(times) // FASTEST)]
    return Timing(fast=statistics.mean(fastest), median=median, low=low, high=high, passes=len(times))


def _version(name: str) -> str:
    for candidate in (name, name.replace("_", "-")):
        try:
            return version(candidate)
        except PackageNotFoundError:
            continue
    raise InputError(f"{name}: is not installed")
