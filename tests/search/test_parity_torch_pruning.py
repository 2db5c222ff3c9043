"""Channel surgery against torch-pruning, which finds what depends on a channel by tracing gradients."""

from __future__ import annotations

import copy

import pytest
import torch

from backbone.families.mobilenet_v3 import SMALL, mobilenet_v3
from backbone.mobilenet import MobileNet
from backbone.units import explicit, units, with_unit
from tasks.model import VisionModel
from tasks.search.surgery import strongest, transfer
from tests.search.test_surgery import NETWORKS, model_of, removed, unsettled

pytest.importorskip("torch_pruning")


SUMMED = {"v3-small at 0.5": lambda: mobilenet_v3(SMALL, 0.5)}
"""Its third and fourth stage have 24 channels, and a block that joins them has a shortcut: they are one unit."""


@pytest.mark.parametrize("network", [*NETWORKS, *SUMMED])
def test_the_smaller_network_is_that_of_torch_pruning(network: str) -> None:
    import torch_pruning as tp

    torch.manual_seed(0)
    architecture = explicit((NETWORKS | SUMMED)[network]())
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    model = model_of(architecture)
    unsettled(model)
    for unit in units(architecture):
        if unit.channels <= 8:
            continue
        wanted = with_unit(architecture, unit.name, unit.channels - 8)
        kept = strongest(model, wanted)
        if len(kept) > 1:
            continue  # the inside of squeeze-and-excitation follows by a rule of ours
        smaller = model_of(wanted)
        transfer(model, smaller, kept)
        theirs = MobileNet(model.backbone.config, ["last"]).double().eval()  # type: ignore[arg-type]
        theirs.load_state_dict(model.backbone.state_dict())
        stage, *rest = unit.name.split(".")
        block = theirs.get_submodule(f"{stage}.{rest[0] if rest else 0}")
        layer = block.expand.conv if rest[1:] else block.project.conv  # type: ignore[union-attr]
        graph = tp.DependencyGraph().build_dependency(theirs, example_inputs=copy.deepcopy(images))
        gone = removed(unit.channels, kept[unit.group])
        graph.get_pruning_group(layer, tp.prune_conv_out_channels, idxs=gone).prune()
        assert isinstance(smaller, VisionModel)
        with torch.no_grad():
            mine, wanted_map = smaller.backbone(images)["last"], theirs(images)["last"]
        torch.testing.assert_close(mine, wanted_map, rtol=1e-10, atol=1e-10, msg=lambda m, u=unit: f"{u.name}: {m}")
