"""Which published network a file's tensors are of, told by their shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backbone.families.mobilenet_v1 import mobilenet_v1
from backbone.families.mobilenet_v2 import mobilenet_v2
from backbone.families.mobilenet_v3 import LARGE, SMALL, ReducedTail, Table, mobilenet_v3
from backbone.families.mobilenet_v4 import CONV_MEDIUM, CONV_SMALL, V4Table, mobilenet_v4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

    from backbone.architecture import Architecture

    Candidates = Iterator[tuple[str, Architecture]]

V1_WIDTHS = (0.25, 0.5, 0.75, 1.0, 1.25)
V2_WIDTHS = (0.1, 0.25, 0.35, 0.5, 0.75, 1.0, 1.1, 1.2, 1.3, 1.4)
V2_DEPTHS = (1.0, 1.2, 1.4)
V4_WIDTHS = (0.35, 0.5, 1.0)
V3_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.25)


def options_of(family: str, tensors: Mapping[str, Tensor]) -> str:
    """Options of the network of a family that has tensors of these shapes; nothing if none is known.

    Args:
        family: the option of the configuration's group `backbone`.
        tensors: under our names; whole parts may be absent.
    """
    shapes = {
        name.removesuffix(".conv.weight"): (tensor.shape[0], tensor.shape[-1])
        for name, tensor in tensors.items()
        if name.endswith(".conv.weight") and tensor.ndim == 4
    }
    squeezed = any(name.endswith("squeeze.reduce.weight") for name in tensors)
    for options, architecture in KNOWN[family]():
        layers = _layers(architecture)
        blocks = [block for row in architecture.stages.values() for block in row]
        alike = all(layers.get(name) == shape for name, shape in shapes.items() if name.startswith(("st", "last")))
        if alike and squeezed == any(block.squeeze for block in blocks):
            return options
    return ""


def _layers(architecture: Architecture) -> dict[str, tuple[int, int | None]]:
    """Output channels and side of the filters of every convolution."""
    found: dict[str, tuple[int, int | None]] = {"stem": (architecture.stem.channels, 3)}
    channels = architecture.stem.channels
    for stage, blocks in architecture.stages.items():
        for index, block in enumerate(blocks):
            inner = block.expanded or channels
            found |= {f"{stage}.{index}.start": (channels, block.start)} if block.start else {}
            found |= {f"{stage}.{index}.depthwise": (inner, block.kernel)} if block.separable and block.kernel else {}
            found |= {f"{stage}.{index}.expand": (inner, 1)} if block.expanded else {}
            found[f"{stage}.{index}.project"] = (block.channels, 1 if block.separable else block.kernel)
            channels = block.channels
    if architecture.last is not None:
        found["last"] = (architecture.last.channels, 1)
    return found


def _v1() -> Candidates:
    for width in V1_WIDTHS:
        yield f"width={width:g}", mobilenet_v1(width)


def _v2() -> Candidates:
    for depth in V2_DEPTHS:
        for width in V2_WIDTHS:
            for fixed_ends in (False, True):
                options = f"width={width:g}" + f" depth={depth:g}" * (depth > 1) + " fixed_ends=true" * fixed_ends
                yield options, mobilenet_v2(width, depth=depth, fixed_ends=fixed_ends)
    for width in V2_WIDTHS:
        yield f"width={width:g} divisor=1", mobilenet_v2(width, divisor=1)


def _v4(table: V4Table) -> Candidates:
    for width in V4_WIDTHS:
        yield f"width={width:g}", mobilenet_v4(table, width)


def _v3(table: Table) -> Candidates:
    for minimalistic in (False, True):
        for tail in ReducedTail:
            for fixed_stem in (False, True):
                for width in V3_WIDTHS:
                    options = [f"width={width:g}"]
                    options += ["minimalistic=true"] if minimalistic else []
                    options += ["fixed_stem=true"] if fixed_stem else []
                    options += [f"reduced_tail={tail.value}"]
                    network = mobilenet_v3(
                        table,
                        width,
                        reduced_tail=tail,
                        squeeze=not minimalistic,
                        kernel=3 if minimalistic else None,
                        relu=minimalistic,
                        fixed_stem=fixed_stem,
                    )
                    yield " ".join(options), network


KNOWN: dict[str, Callable[[], Candidates]] = {
    "mobilenet_v1": _v1,
    "mobilenet_v2": _v2,
    "mobilenet_v3_large": lambda: _v3(LARGE),
    "mobilenet_v3_small": lambda: _v3(SMALL),
    "mobilenet_v4_small": lambda: _v4(CONV_SMALL),
    "mobilenet_v4_medium": lambda: _v4(CONV_MEDIUM),
}
"""Networks by the option of the group `backbone`, the usual ones first."""
