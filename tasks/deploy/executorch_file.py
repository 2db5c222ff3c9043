"""ExecuTorch with XNNPACK: a file from a graph, in float or in 8 bits, and its runtime. See `toolchains.Tools`."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from tasks.config.export import Precision
from tasks.deploy.header import appended as with_header
from tasks.deploy.quiet import overheard, quiet

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tasks.deploy.graph import ExportGraph

    Pixels = NDArray[np.uint8]

__all__ = ["LIBRARY", "Runtime", "convert", "quantize", "with_header"]

LIBRARY = "executorch.runtime"
log = logging.getLogger(__name__)


def convert(graph: ExportGraph, precision: Precision) -> bytes:
    """See `Tools.convert`."""
    if precision is Precision.fp16:
        log.info("ExecuTorch computes in 16 bits, and keeps weights of convolutions in 32: the file gets no smaller")
        graph = graph.halved()
    return _lowered(graph, graph)


def quantize(graph: ExportGraph, images: Sequence[Pixels]) -> bytes:
    """See `Tools.quantize`."""
    import torch

    with quiet(), torch.no_grad():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        from tasks.deploy.annotation import EightBits

        prepared = prepare_pt2e(torch.export.export(graph, (graph.example(),)).module(), EightBits())
        for image in images:
            prepared(torch.from_numpy(image[None]))
        return _lowered(convert_pt2e(prepared), graph)


class Runtime:
    """ExecuTorch's runtime on the CPU. See `toolchains.Runtime`."""

    def __init__(self, path: str, names: Sequence[str], threads: int | None = None) -> None:
        with overheard() as said:  # the exception has a number only
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime as Machine
            from executorch.runtime import Verification

            portable_lib._unsafe_reset_threadpool(threads or os.cpu_count() or 1)  # unsafe while something runs
            try:
                self.program = Machine.get().load_program(path, verification=Verification.Minimal)
                self.method = self.program.load_method("forward")
            except RuntimeError as error:
                raise RuntimeError(f"{error}\n{said()}") from error

    def __call__(self, image: Pixels) -> list[NDArray[Any]]:
        import torch

        found = self.method.execute([torch.from_numpy(image)])
        return [tensor.numpy().copy() for tensor in found]


def _lowered(module: Any, graph: ExportGraph) -> bytes:
    """The program, with all that XNNPACK can do done by it."""
    import torch

    with quiet(), torch.no_grad():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

        program = torch.export.export(module, (graph.example(),))
        # With orders of dimensions in the program, the copy from uint8 to float takes five times as long.
        plain = EdgeCompileConfig(_skip_dim_order=True)
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()], compile_config=plain)
        return bytes(lowered.to_executorch().buffer)
