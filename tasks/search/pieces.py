"""A network in pieces that can be timed by themselves: stem, blocks, last convolution, heads.

A block is one piece: runtimes fuse within it, and keep its maps in their own layout.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from backbone.blocks import Block, ConvNormAct, Norm
from backbone.cost import cost
from backbone.mobilenet import MobileNet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backbone.architecture import Architecture, BlockSpec
    from tasks.model import VisionModel

    Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a network.

    Attributes:
        key: all that decides how long it takes, in words: equal pieces of several networks have equal keys.
        inputs: channels, height and width of every map that it takes.
        make: the module, with any weights.
    """

    key: str
    inputs: tuple[Shape, ...]
    make: Callable[[], nn.Module]


class FlatPiece(nn.Module):
    """A piece that takes one vector (1, n), so that any runtime can be asked in one way.

    Args:
        channels_last: maps lie in the vector row by row, all channels of a cell together, and come out so.
    Attributes:
        endings: none; what an exported model has behind its heads.
        dynamic: it takes one vector.
    """

    endings: dict[str, Any]
    dynamic = False

    def __init__(self, piece: Piece, module: nn.Module, *, channels_last: bool) -> None:
        super().__init__()
        self.module = module
        self.inputs = piece.inputs
        self.channels_last = channels_last
        self.endings = {}

    @cached_property
    def names(self) -> list[str]:
        """Names of what comes out."""
        with torch.no_grad():
            return [f"output_{place}" for place in range(len(self(self.example())))]

    @property
    def length(self) -> int:
        """Values that it takes."""
        return sum(channels * height * width for channels, height, width in self.inputs)

    def example(self) -> Tensor:
        """An input; the same at every call."""
        return torch.linspace(-1, 1, self.length)[None]

    def forward(self, vector: Tensor) -> tuple[Tensor, ...]:
        maps, start = [], 0
        for channels, height, width in self.inputs:
            end = start + channels * height * width
            part = vector[:, start:end] if len(self.inputs) > 1 else vector
            if self.channels_last:
                maps.append(part.reshape(1, height, width, channels).permute(0, 3, 1, 2))
            else:
                maps.append(part.reshape(1, channels, height, width))
            start = end
        found = tuple(_tensors(self.module(*maps)))
        if self.channels_last:
            found = tuple(x.permute(0, 2, 3, 1) if x.dim() == 4 else x for x in found)
        return found


class HeadPiece(nn.Module):
    """A head that takes its features one after the other."""

    def __init__(self, head: nn.Module, taps: list[str]) -> None:
        super().__init__()
        self.head = head
        self.taps = taps

    def forward(self, *maps: Tensor) -> Any:
        return self.head(dict(zip(self.taps, maps, strict=True)))


def pieces(model: VisionModel, size: int) -> Iterator[Piece]:
    """The pieces of a model for square images of `size` pixels, in the order of computation.

    The model may lie on the meta device: shapes are all that is read.
    """
    backbone = model.backbone
    assert isinstance(backbone, MobileNet)
    yield from backbone_pieces(backbone, backbone.architecture, size)
    yield from head_pieces(model, size)


def backbone_pieces(backbone: MobileNet, architecture: Architecture, size: int) -> Iterator[Piece]:
    """The pieces of a backbone with another number of channels.

    Args:
        backbone: of the same blocks.
        architecture: after strides were turned into dilation.
    """
    padding, norm = backbone.padding, Norm(backbone.bn_eps)
    rule = f" {padding.name}"

    def conv(into: int, out: int, kernel: int, stride: int, activation: Any) -> Callable[[], nn.Module]:
        return lambda: ConvNormAct(into, out, kernel, stride=stride, padding=padding, norm=norm, activation=activation)

    def block(spec: BlockSpec, into: int) -> Callable[[], nn.Module]:
        return lambda: Block(spec, into, padding=padding, norm=norm)

    stem, cells, channels = architecture.stem, -(-size // 2), architecture.stem.channels
    yield Piece(
        f"conv {size}x{size} 3>{channels} k3 s2 {stem.activation.name}{rule}",
        ((3, size, size),), conv(3, channels, 3, 2, stem.activation),
    )  # fmt: skip
    for stage in backbone.stages:
        for spec in architecture.stages[stage]:
            joined = spec.shortcut.name == "bottleneck" and spec.stride == 1 and channels == spec.channels
            words = [
                f"block {cells}x{cells} {channels}>{spec.expanded or '-'}>{spec.channels}",
                f"k{spec.kernel} s{spec.stride} {spec.activation.name}{rule}",
                *[f"dilated {spec.dilation}"] * (spec.dilation > 1), *[f"squeeze {spec.squeeze}"] * bool(spec.squeeze),
                *["not linear"] * (not spec.linear), *["full"] * (not spec.separable), *["sum"] * joined,
                *[f"start {spec.start}"] * bool(spec.start),
            ]  # fmt: skip
            yield Piece(" ".join(words), ((channels, cells, cells),), block(spec, channels))
            cells, channels = -(-cells // spec.stride), spec.channels
    if architecture.last is not None and hasattr(backbone, "last"):
        last, specs = architecture.last, architecture.specs
        if specs[backbone.stages[-1]].stride < specs["last"].stride:
            cells = _cells(size, specs["last"].stride)  # every other cell alone is computed
        yield Piece(
            f"conv {cells}x{cells} {channels}>{last.channels} k1 s1 {last.activation.name}",
            ((channels, cells, cells),), conv(channels, last.channels, 1, 1, last.activation),
        )  # fmt: skip


class MultiplyAdds:
    """Millions of multiply-adds of pieces, each counted once."""

    def __init__(self) -> None:
        self._known: dict[str, float] = {}

    def __call__(self, piece: Piece) -> float:
        if piece.key not in self._known:
            flat = FlatPiece(piece, piece.make(), channels_last=False)
            self._known[piece.key] = cost(flat, (1, flat.length)).multiply_adds / 1e6
        return self._known[piece.key]


def head_pieces(model: VisionModel, size: int) -> Iterator[Piece]:
    """The heads of a model, each a piece that takes all that it looks at."""
    backbone = model.backbone
    assert isinstance(backbone, MobileNet)
    for head in model.heads.values():
        taps: list[str] = list(head.taps)  # type: ignore[arg-type]
        inputs = []
        for tap in taps:
            spec = backbone.specs[tap]
            cells = _cells(size, spec.stride)
            inputs.append((spec.channels, cells, cells))
        count = sum(parameter.numel() for parameter in head.parameters())
        maps = " ".join(f"{channels}@{cells}x{cells}" for channels, cells, _ in inputs)
        yield Piece(f"head {type(head).__name__} {maps} {count} parameters", tuple(inputs), _copied(head, taps))


def _cells(size: int, stride: int) -> int:
    """Cells of a side after strides of 2."""
    for _ in range(stride.bit_length() - 1):
        size = -(-size // 2)
    return size


def _copied(head: nn.Module, taps: list[str]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        made = copy.deepcopy(head).to_empty(device="cpu")
        for tensor in (*made.parameters(), *made.buffers()):
            tensor.data.fill_(0.5) if tensor.is_floating_point() else tensor.data.zero_()
        return HeadPiece(made, taps)

    return make


def _tensors(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, Tensor):
        yield outputs
    else:
        for output in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _tensors(output)
