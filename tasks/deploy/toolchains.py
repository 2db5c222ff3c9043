"""Which packages write and read the files of each format. Imports none of them before it is asked to."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from tasks.config.export import Format, Precision
from tasks.runs.provenance import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tasks.deploy.graph import ExportGraph
    from tasks.deploy.header import ArtifactHeader


class Runtime(Protocol):
    """An exported file, ready to answer."""

    def __call__(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """What comes out for an image (1, H, W, 3) uint8 RGB, in the order of the names that it was made with."""
        ...


class Tools(Protocol):
    """The module of a format.

    Attributes:
        LIBRARY: what to import to run a file.
    """

    LIBRARY: str

    def convert(self, graph: ExportGraph, precision: Precision) -> bytes:
        """A graph as a file in fp32 or fp16."""
        ...

    def quantize(self, graph: ExportGraph, images: Sequence[NDArray[np.uint8]]) -> bytes:
        """A graph with `integers` as a file in 8 bits; ranges are taken from views (H, W, 3)."""
        ...

    def with_header(self, content: bytes, header: ArtifactHeader) -> bytes:
        """The file with a header in it."""
        ...

    def Runtime(self, path: str, names: Sequence[str], threads: int | None = None) -> Runtime:  # noqa: N802
        """The file's runtime on the CPU, with as many threads as there are cores unless told otherwise."""
        ...


class Toolchain(NamedTuple):
    """What a format needs."""

    module: str
    suffix: str
    writes: tuple[str, ...]
    """Packages that write it, by the names that they are imported by."""
    reads: tuple[str, ...]


ONNX = Toolchain("tasks.deploy.onnx_file", ".onnx", ("onnx", "onnxscript", "onnxruntime"), ("onnxruntime",))
TOOLCHAINS = {
    Format.onnx: ONNX,
    Format.web: ONNX,
    Format.executorch: Toolchain("tasks.deploy.executorch_file", ".pte", ("executorch", "torchao"), ("executorch",)),
    Format.litert: Toolchain(
        "tasks.deploy.litert_file",
        ".tflite",
        ("litert_torch", "ai_edge_quantizer", "ai_edge_litert"),
        ("ai_edge_litert",),
    ),
}


def tools(wanted: Format, *, what: str, to_write: bool) -> Tools:
    """The module of a format, when all that it needs is there.

    Args:
        what: the argument that asks for it, for the message.
        to_write: not only to read.
    Raises:
        InputError: a package is not installed.
    """
    chain = TOOLCHAINS[wanted]
    require(what, chain.writes if to_write else chain.reads, wanted.runtime)
    return cast("Tools", import_module(chain.module))
