"""Channel surgery: the tensors of a network with fewer channels, taken from the larger one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from backbone.errors import InputError
from backbone.mobilenet import MobileNet
from backbone.units import changed, explicit, groups, port_of, tensor_ports

if TYPE_CHECKING:
    from backbone.architecture import Architecture
    from tasks.model import VisionModel
    from tasks.search.statistics import Moments

Kept = dict[str, Tensor]
"""By the group of channels (see `backbone.units`) the indices that stay, ascending."""


def strongest(model: VisionModel, smaller: Architecture) -> Kept:
    """The channels to keep for a smaller network: those whose filters have the largest L2 norms.

    For a group of layers whose outputs are summed the norms are added, so that one set of indices holds for all.

    Args:
        model: the larger network; its backbone is a `MobileNet`.
        smaller: a network of the same blocks with fewer channels.
    Raises:
        InputError: nothing is smaller, or something is larger.
    """
    backbone = _backbone(model)
    larger = explicit(backbone.config.undilated())
    differences = changed(larger, smaller)
    if not differences:
        raise InputError("a proposal that removes no channel: the network stays as it is")
    tensors = backbone.state_dict()
    norms = {group: torch.zeros(old, dtype=torch.float64) for group, (old, _) in differences.items()}
    of = groups(larger)
    for name, ports in tensor_ports(larger).items():
        is_filter = len(ports) == 2 or name == "stem.conv.weight"
        # Inside a block the weights that give the channels: an expansion's, not those of the gate that follow them.
        if is_filter and of[ports[0]] in norms and not name.endswith(".squeeze.expand.weight") and name in tensors:
            norms[of[ports[0]]] += tensors[name].detach().double().cpu().flatten(1).norm(dim=1)
    kept = {}
    for group, (old, new) in differences.items():
        if new > old:
            raise InputError(f"{group}: {new} channels are more than {old}; a proposal only removes channels")
        # Stable: of equal norms the first stay, on every machine.
        order = torch.sort(norms[group], descending=True, stable=True).indices
        kept[group] = order[:new].sort().values
    return kept


def transfer(larger: VisionModel, smaller: VisionModel, kept: Kept) -> None:
    """Fill the smaller network with the kept channels of the larger, heads included.

    Without training it computes what the larger one does with the other channels' activations set to zero.

    Raises:
        InputError: a tensor of a head does not follow the features that it looks at.
    """
    architecture = explicit(_backbone(larger).config.undilated())
    of = groups(architecture)
    ports = {f"backbone.{name}": axes for name, axes in tensor_ports(architecture).items()}
    taps = {
        name: [kept[group] for tap in head.taps if (group := of[port_of(architecture, tap)]) in kept]  # type: ignore[union-attr]
        for name, head in larger.heads.items()
    }
    theirs = larger.state_dict()
    with torch.no_grad():
        for name, mine in smaller.state_dict().items():
            source = theirs[name]
            if name in ports:
                for axis, port in enumerate(ports[name]):
                    if (indices := kept.get(of[port])) is not None:
                        source = source.index_select(axis, indices.to(source.device))
            elif name.startswith("heads."):
                source = _of_head(name, source, mine, taps[name.split(".")[1]])
            if source.shape != mine.shape:
                raise InputError(f"{name}: {tuple(source.shape)} does not follow to {tuple(mine.shape)}")
            mine.copy_(source)


def kept_moments(architecture: Architecture, kept: Kept, before: Moments) -> Moments:
    """Moments of a larger network's normalisations, of the channels that stayed.

    Args:
        architecture: of the larger network.
    """
    of, ports = groups(architecture), tensor_ports(architecture)
    found: Moments = {}
    for name, (mean, variance) in before.items():
        axes = ports.get(f"{name.removeprefix('backbone.')}.running_mean")
        indices = kept.get(of[axes[0]]) if axes else None
        found[name] = (mean, variance) if indices is None else (mean[indices], variance[indices])
    return found


def _of_head(name: str, source: Tensor, mine: Tensor, kept: list[Tensor]) -> Tensor:
    """A head's tensor with the channels of the features that were kept.

    Args:
        kept: of each feature that the head looks at and that lost channels.
    """
    for axis, (old, new) in enumerate(zip(source.shape, mine.shape, strict=True)):
        if old == new:
            continue
        fitting = [indices for indices in kept if len(indices) == new and int(indices[-1]) < old]
        if not fitting or any(not torch.equal(fitting[0], other) for other in fitting):
            raise InputError(f"{name}: {old} channels become {new}, which no single feature of its head does")
        source = source.index_select(axis, fitting[0].to(source.device))
    return source


def _backbone(model: VisionModel) -> MobileNet:
    if not isinstance(model.backbone, MobileNet):
        raise InputError(f"{type(model.backbone).__name__}: its channels are not known; a search needs a MobileNet")
    return model.backbone
