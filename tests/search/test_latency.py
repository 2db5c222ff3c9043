"""Pieces of a network, their table, and the stopwatch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from backbone.cost import cost
from backbone.errors import InputError
from backbone.families.mobilenet_v2 import mobilenet_v2
from backbone.mobilenet import MobileNet
from backbone.units import explicit, with_unit
from tasks.config.export import Precision
from tasks.config.latency import LatencyConfig, TimedRuntime
from tasks.search.ground import Costs
from tasks.search.measure import Stopwatch
from tasks.search.pieces import MultiplyAdds, Piece, pieces
from tasks.search.table import TIMES, LatencyTable, Timing
from tests.search.test_surgery import NETWORKS, model_of

if TYPE_CHECKING:
    from pathlib import Path

    from backbone.architecture import Architecture
    from tasks.model import VisionModel

SIZE = 70
ABOUT = {"machine": "here", "runtime": "torch", "precision": "fp32", "threads": 1, "versions": {"torch": "2"}}


multiply_adds = MultiplyAdds()


@pytest.mark.parametrize("network", NETWORKS)
def test_the_pieces_are_the_whole_network(network: str) -> None:
    """By the multiply-adds of all modules, at a size that does not divide by the strides."""
    model = model_of(NETWORKS[network]()).float()
    found = list(pieces(model, 64))
    assert sum(map(multiply_adds, found)) == pytest.approx(cost(model, (1, 3, 64, 64)).multiply_adds / 1e6, rel=1e-12)
    assert {len(piece.inputs) for piece in found} == {1, 2}


def test_odd_sizes_are_followed() -> None:
    model = model_of(mobilenet_v2(0.35)).float()
    heads = {name for name in model.heads if name != "classes"}
    for name in heads:
        del model.heads[name]
    whole = cost(model, (1, 3, SIZE, SIZE)).multiply_adds / 1e6
    assert sum(map(multiply_adds, pieces(model, SIZE))) == pytest.approx(whole, rel=1e-12)


def keys(architecture: Architecture) -> list[str]:
    return [piece.key for piece in pieces(model_of(architecture), 64)]


def test_one_expansion_is_one_piece_and_a_width_those_around_it() -> None:
    start = explicit(mobilenet_v2(0.35))
    before = keys(start)
    after = keys(with_unit(start, "stage4.1.expanded", 64))
    assert [old for old, new in zip(before, after, strict=True) if old != new] == [
        "block 4x4 24>144>24 k3 s1 relu6 symmetric sum"
    ]
    after = keys(with_unit(start, "stage3", 8))
    assert [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new] == [4, 5, 6, 7]


def counting(times: dict[str, float]) -> Any:
    asked: list[str] = []

    def measure(piece: Piece) -> Timing:
        asked.append(piece.key)
        median = times.get(piece.key, 1.0)
        return Timing(fast=median, median=median, low=median / 2, high=2 * median, passes=30)

    measure.asked = asked  # type: ignore[attr-defined]
    return measure


def test_a_table_measures_once_and_is_a_readable_file(tmp_path: Path) -> None:
    path, measure = tmp_path / "latency.json", counting({})
    table = LatencyTable(path, ABOUT, measure)
    found = list(pieces(model_of(mobilenet_v2(0.35)), 64))
    distinct = {piece.key for piece in found}
    assert table.total(found) == len(found)
    assert sorted(measure.asked) == sorted(distinct)
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert saved["machine"] == "here"
    assert saved["pieces"][found[0].key] == {"fast": 1.0, "median": 1.0, "low": 0.5, "high": 2.0, "passes": 30}
    again = LatencyTable(path, ABOUT, counting({}))
    assert again.total(found) == len(found)
    assert again.measured == 0


def test_a_table_of_another_device_is_used_and_never_mixed(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    found = list(pieces(model_of(mobilenet_v2(0.35)), 64))
    LatencyTable(path, ABOUT, counting({})).total(found[:3])
    elsewhere = LatencyTable(path, ABOUT | {"machine": "there"}, counting({}))
    assert elsewhere.total(found[:3]) == 3
    with pytest.raises(InputError, match="was measured on here and does not have 'block"):
        elsewhere.total(found)
    with pytest.raises(InputError, match="measured with threads=1, and the command says 2"):
        LatencyTable(path, ABOUT | {"threads": 2}, counting({}))


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", "[" * 9000, '{"format": "trident-latency-1"}',
        json.dumps({"format": "trident-latency-1", **ABOUT, "pieces": {"a": dict.fromkeys(TIMES, -1)}}),
        json.dumps({"format": "trident-latency-1", **ABOUT, "pieces": {"a": {"median": float("nan"), "low": 1}}}),
        json.dumps({"format": "trident-latency-1", **ABOUT, "pieces": [1]}),
    ],
)  # fmt: skip
def test_files_that_are_no_tables(tmp_path: Path, content: str) -> None:
    path = tmp_path / "latency.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="is no latency table"):
        LatencyTable(path, ABOUT, counting({}))


def build(architecture: Architecture) -> VisionModel:
    return model_of(architecture)


def test_costs_are_the_sum_scaled_or_the_multiply_adds(tmp_path: Path) -> None:
    start = explicit(mobilenet_v2(0.35))
    backbone = model_of(start).backbone
    assert isinstance(backbone, MobileNet)
    by_table = Costs(build, backbone, 64, LatencyTable(tmp_path / "latency.json", ABOUT, counting({})).milliseconds)
    number = len(list(pieces(model_of(start), 64)))
    assert by_table(start) == number
    by_table.scale = 0.5
    assert by_table(start) == number / 2
    whole = cost(model_of(start), (1, 3, 64, 64)).multiply_adds / 1e6
    by_multiply_adds = Costs(build, backbone, 64, multiply_adds)
    assert by_multiply_adds(start) == pytest.approx(whole, rel=1e-12)
    for name in ("stage6.0.expanded", "stage7", "stage3"):  # what detection looks at, segmentation looks at, neither
        narrow = with_unit(start, name, 16)
        whole = cost(model_of(narrow), (1, 3, 64, 64)).multiply_adds / 1e6
        assert by_multiply_adds(narrow) == pytest.approx(whole, rel=1e-12)


def test_the_stopwatch_times_a_slow_piece_longer_than_a_fast_one() -> None:
    watch = Stopwatch(LatencyConfig(passes=5))
    small = Piece("small", ((8, 4, 4),), lambda: torch.nn.Conv2d(8, 8, 1))
    large = Piece("large", ((64, 64, 64),), lambda: torch.nn.Conv2d(64, 128, 3))
    fast, slow = watch.piece(small), watch.piece(large)
    assert 0 < fast.fast <= fast.low <= fast.median <= fast.high
    assert fast.passes == 5
    assert slow.low > fast.median
    assert watch.about()["runtime"] == "torch"


@pytest.mark.parametrize("runtime", [TimedRuntime.onnx, TimedRuntime.litert, TimedRuntime.executorch])
@pytest.mark.parametrize("precision", [Precision.fp32, Precision.int8])
@pytest.mark.slow
def test_every_runtime_times_pieces_and_whole_networks(runtime: TimedRuntime, precision: Precision) -> None:
    pytest.importorskip({"onnx": "onnxscript", "litert": "litert_torch", "executorch": "executorch"}[runtime.value])
    watch = Stopwatch(LatencyConfig(runtime=runtime, precision=precision, passes=5))
    model = model_of(mobilenet_v2(0.35)).float()
    for name in ("pixels", "classes"):
        del model.heads[name]
    found = list(pieces(model, 64))
    for piece in (found[0], found[3], found[-1]):
        assert watch.piece(piece).median > 0
    assert all(one.median > 0 for one in watch.networks([model, model], 64))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 0}, r"latency\.threads=0: must be at least 1"),
        ({"precision": Precision.fp16}, r"latency\.precision=fp16: must be one of fp32, int8"),
        ({"precision": Precision.int8}, r"latency\.precision=int8: torch runs fp32"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        LatencyConfig(**options)
