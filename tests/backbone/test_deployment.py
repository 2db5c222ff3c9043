"""The module goes through what PyTorch offers for running it elsewhere, and comes out the same."""

from __future__ import annotations

import copy
import pickle
import shutil
import socket
from typing import TYPE_CHECKING

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from backbone import MobileNetV2
from tests.backbone.foreign import randomise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backbone import Features

NAMES = ["stage4", "stage6.expand", "last"]


@pytest.fixture(params=["symmetric", "tf_same"])
def backbone(request: pytest.FixtureRequest) -> MobileNetV2:
    module = MobileNetV2(width=0.35, features=NAMES, padding=request.param)
    randomise(module)
    return module.double()


def images(count: int = 2) -> Tensor:
    """In float64: which kernels a processor chooses, and so how float32 rounds, depends on memory layout and batch."""
    return torch.randn(count, 3, 64, 48, generator=torch.Generator().manual_seed(5)).double()


@torch.no_grad()
def assert_same(found: Features, backbone: MobileNetV2, x: Tensor, tolerance: float = 1e-10) -> None:
    wanted = backbone(x)
    assert list(found) == list(wanted) == NAMES
    for name in NAMES:
        torch.testing.assert_close(found[name], wanted[name], atol=tolerance, rtol=tolerance)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compile(backbone: MobileNetV2) -> None:
    with torch.no_grad():
        assert_same(torch.compile(backbone)(images()), backbone, images())


@pytest.mark.parametrize("backbone", ["tf_same"], indirect=True)
def test_compile_without_graph_breaks(backbone: MobileNetV2) -> None:
    with torch.no_grad():
        assert_same(torch.compile(backbone, backend="eager", fullgraph=True)(images()), backbone, images())
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_export_with_a_dynamic_batch(backbone: MobileNetV2) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(backbone, (images(),), dynamic_shapes=({0: batch},))
    for count in (1, 2, 5):
        assert_same(exported.module()(images(count)), backbone, images(count))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore::FutureWarning")
def test_trace(backbone: MobileNetV2) -> None:
    traced = torch.jit.trace(backbone, images(), strict=False)  # type: ignore[no-untyped-call]
    assert_same(traced(images(3)), backbone, images(3))


def test_channels_last(backbone: MobileNetV2) -> None:
    ours = copy.deepcopy(backbone).to(memory_format=torch.channels_last)
    with torch.no_grad():
        found = ours(images().to(memory_format=torch.channels_last))
    assert found["last"].is_contiguous(memory_format=torch.channels_last)
    assert_same(found, backbone, images())


def test_bf16_autocast(backbone: MobileNetV2) -> None:
    backbone.float()
    with torch.no_grad():
        wanted = backbone(images().float())
        with torch.autocast("cpu", torch.bfloat16):
            found = backbone(images().float())
    assert found["last"].dtype == torch.bfloat16
    for name in NAMES:
        assert torch.cosine_similarity(found[name].float().flatten(), wanted[name].flatten(), dim=0) > 0.99, name
    with torch.autocast("cpu", torch.bfloat16):
        backbone.train()(images().float())["last"].float().square().mean().backward()
    assert all(
        p.grad is not None and p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in backbone.parameters()
    )


def test_deepcopy(backbone: MobileNetV2) -> None:
    copied = copy.deepcopy(backbone)
    with torch.no_grad():
        assert_same(copied(images()), backbone, images())
        next(copied.parameters()).zero_()
    assert next(backbone.parameters()).any()


def test_pickle(backbone: MobileNetV2) -> None:
    again = pickle.loads(pickle.dumps(backbone))  # noqa: S301
    with torch.no_grad():
        assert_same(again(images()), backbone, images())
    assert (again.padding, again.specs, again.config) == (backbone.padding, backbone.specs, backbone.config)


@pytest.fixture
def gloo() -> Iterator[None]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_ddp(gloo: None, checkpointing: bool) -> None:
    backbone = MobileNetV2(width=0.35, features=NAMES, activation_checkpointing=checkpointing).double()
    alone = copy.deepcopy(backbone)
    for module in (nn.parallel.DistributedDataParallel(backbone), alone):
        sum(feature.square().mean() for feature in module(images()).values()).backward()
    for (name, ours), theirs in zip(backbone.named_parameters(), alone.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad, msg=name)
