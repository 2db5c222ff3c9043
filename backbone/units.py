"""Which channels of a network change together, and where each tensor has them. Imports no torch.

A port is a place with channels of its own: `stem`, a block's output (`stage2.1`), its expansion (`stage2.1.expanded`),
the inside of its squeeze-and-excitation (`stage2.1.squeeze`), and `last`. Ports joined by a shortcut are one group,
named by the first of them: their channels are summed one by one, so that they are kept or removed together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from backbone.architecture import Architecture, BlockSpec, Shortcut, make_divisible
from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NORM = ("weight", "bias", "running_mean", "running_var")
SQUEEZE = 4
"""Channels of an expansion for each inside its squeeze-and-excitation (MobileNetV3, section 5.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Channels that a search may reduce by themselves.

    Attributes:
        name: a stage, a block of one, or a block's expansion, such as `stage3`, `stage4.5`, `stage3.1.expanded`.
        group: the name of its group of ports.
        channels: how many there are.
    """

    name: str
    group: str
    channels: int


def explicit(architecture: Architecture) -> Architecture:
    """The same network with every shortcut that does not exist written as none.

    A block has a shortcut where its two ends are alike. Channels that change could make them alike, and a sum would
    appear that the network does not have.
    """
    stages = {stage: list(blocks) for stage, blocks in architecture.stages.items()}
    for stage, index, block, channels in _blocks(architecture):
        if not _is_joined(block, channels):
            stages[stage][index] = replace(block, shortcut=Shortcut.none)
    return replace(architecture, stages={stage: tuple(blocks) for stage, blocks in stages.items()})


def groups(architecture: Architecture) -> dict[str, str]:
    """The group of every port."""
    of = {"stem": "stem"}
    before = "stem"
    for stage, index, block, channels in _blocks(architecture):
        port = f"{stage}.{index}"
        of[port] = of[before] if _is_joined(block, channels) else port
        for part in ("expanded", "squeeze"):
            if getattr(block, part) is not None:
                of[f"{port}.{part}"] = f"{port}.{part}"
        before = port
    if architecture.last is not None:
        of["last"] = "last"
    return of


def sizes(architecture: Architecture) -> dict[str, int]:
    """Channels of every group."""
    of = groups(architecture)
    found = {"stem": architecture.stem.channels}
    for stage, index, block, _ in _blocks(architecture):
        found[of[f"{stage}.{index}"]] = block.channels
        for part in ("expanded", "squeeze"):
            if (channels := getattr(block, part)) is not None:
                found[f"{stage}.{index}.{part}"] = channels
    if architecture.last is not None:
        found["last"] = architecture.last.channels
    return found


def units(architecture: Architecture) -> list[Unit]:
    """Expansions and block outputs, in the order of computation.

    Blocks whose outputs are summed are one unit. The stem is none unless a block's output is summed with it, and the
    last convolution never is.
    """
    of, channels = groups(architecture), sizes(architecture)
    outputs: dict[str, list[str]] = {}
    for stage, index, _, _ in _blocks(architecture):
        outputs.setdefault(of[f"{stage}.{index}"], []).append(f"{stage}.{index}")
    found = []
    for stage, index, block, _ in _blocks(architecture):
        port = f"{stage}.{index}"
        if block.expanded is not None:
            found.append(Unit(name=f"{port}.expanded", group=f"{port}.expanded", channels=block.expanded))
        group = of[port]
        if outputs[group][0] == port:
            whole = {f"{stage}.{i}" for i in range(len(architecture.stages[stage]))} <= set(outputs[group])
            found.append(Unit(name=stage if whole else port, group=group, channels=channels[group]))
    return found


def with_unit(architecture: Architecture, name: str, channels: int) -> Architecture:
    """The same network with another number of channels in one unit.

    What squeeze-and-excitation has inside follows an expansion.

    Raises:
        InputError: there is no such unit, or the number is not positive.
    """
    architecture = explicit(architecture)
    known = {unit.name: unit for unit in units(architecture)}
    if name not in known:
        raise InputError(f"{name}: there is no such unit; there are {', '.join(known)}")
    if channels < 1:
        raise InputError(f"{name}: {channels} channels: must be at least 1")
    group, of = known[name].group, groups(architecture)
    stem = architecture.stem
    if of["stem"] == group:
        stem = replace(stem, channels=channels)
    stages = {stage: list(blocks) for stage, blocks in architecture.stages.items()}
    for stage, index, block, _ in _blocks(architecture):
        if of[f"{stage}.{index}"] == group:
            stages[stage][index] = replace(block, channels=channels)
        elif group == f"{stage}.{index}.expanded":
            stages[stage][index] = replace(block, expanded=channels, squeeze=_squeeze(block, channels))
    return replace(architecture, stem=stem, stages={stage: tuple(blocks) for stage, blocks in stages.items()})


def _squeeze(block: BlockSpec, expanded: int) -> int | None:
    if block.squeeze is None or block.expanded is None:
        return block.squeeze
    by_rule = block.squeeze == make_divisible(block.expanded / SQUEEZE)
    wanted = expanded / SQUEEZE if by_rule else expanded * block.squeeze / block.expanded
    return min(block.squeeze, make_divisible(wanted)) if expanded <= block.expanded else make_divisible(wanted)


def port_of(architecture: Architecture, feature: str) -> str:
    """The port whose channels a feature or level has."""
    feature = architecture.feature(feature)
    stage, _, part = feature.partition(".")
    if stage not in architecture.stages:
        return feature
    end = len(architecture.stages[stage]) - 1
    if part in ("", "first"):
        return f"{stage}.{0 if part else end}"
    return dict(_hidden(architecture))[f"{stage}.{0 if part == 'expand' else end}"]


def tensor_ports(architecture: Architecture) -> dict[str, tuple[str, ...]]:
    """For every tensor of a backbone's `state_dict` the ports of its first axes; the others are no channels."""
    found: dict[str, tuple[str, ...]] = {}

    def layer(name: str, out: str, into: str | None) -> None:
        found[f"{name}.conv.weight"] = (out,) if into is None else (out, into)
        found.update({f"{name}.norm.{part}": (out,) for part in NORM})

    layer("stem", "stem", None)
    before = "stem"
    hidden = dict(_hidden(architecture))
    for stage, index, block, _ in _blocks(architecture):
        port = f"{stage}.{index}"
        inner = hidden[port]
        if block.expanded is not None:
            layer(f"{port}.expand", inner, before)
        if block.start is not None:
            layer(f"{port}.start", before, None)
        if block.separable and block.kernel is not None:
            layer(f"{port}.depthwise", inner, None)
        if block.squeeze is not None:
            squeeze = f"{port}.squeeze"
            found[f"{squeeze}.reduce.weight"], found[f"{squeeze}.reduce.bias"] = (squeeze, inner), (squeeze,)
            found[f"{squeeze}.expand.weight"], found[f"{squeeze}.expand.bias"] = (inner, squeeze), (inner,)
        layer(f"{port}.project", port, inner)
        before = port
    if architecture.last is not None:
        layer("last", "last", before)
    return found


def changed(before: Architecture, after: Architecture) -> dict[str, tuple[int, int]]:
    """Channels before and after of every group in which two networks of the same blocks differ."""
    old, new = sizes(before), sizes(after)
    return {group: (old[group], new[group]) for group in old if old[group] != new[group]}


def _hidden(architecture: Architecture) -> Iterator[tuple[str, str]]:
    """For every block its port, and that of what its depthwise convolution filters."""
    before = "stem"
    for stage, index, block, _ in _blocks(architecture):
        port = f"{stage}.{index}"
        yield port, before if block.expanded is None else f"{port}.expanded"
        before = port


def _blocks(architecture: Architecture) -> Iterator[tuple[str, int, BlockSpec, int]]:
    """Stage, index in it, block, and channels of its input."""
    channels = architecture.stem.channels
    stages: Mapping[str, tuple[BlockSpec, ...]] = architecture.stages
    for stage, blocks in stages.items():
        for index, block in enumerate(blocks):
            yield stage, index, block, channels
            channels = block.channels


def _is_joined(block: BlockSpec, in_channels: int) -> bool:
    if block.shortcut not in (Shortcut.bottleneck, Shortcut.none):
        raise InputError(f"shortcut={block.shortcut.name}: its channels cannot be changed; bottleneck and none can")
    return block.shortcut is Shortcut.bottleneck and block.stride == 1 and in_channels == block.channels
