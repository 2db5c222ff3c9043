"""mode=profile: the papers' figures, the table by stage, latency and the trade-off plot."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from torch import nn

from backbone import InputError, MobileNetV2Config
from backbone.cost import cost
from backbone.families.known import NETWORKS
from heads.ssdlite.config import SSDLiteConfig
from tasks.build import Builder
from tasks.cli.loading import load_model
from tasks.commands.job import Job
from tasks.commands.profile import comparison as comparisons
from tasks.commands.profile import table
from tasks.commands.profile.models import Measured, WithHeads, classifier_cost
from tasks.commands.profile.report import profile
from tasks.config.profile import ProfileConfig
from tasks.config.run import Command, Mode, RunConfig
from tasks.config.training import TrainerConfig
from tasks.papers import tables as papers
from tasks.papers.classifiers import PUBLISHED, published
from tasks.runs.log import RunLog
from tasks.timing.latency import latency, machine, thread_counts
from tests.e2e.command import trident

if TYPE_CHECKING:
    from pathlib import Path

comparison = cache(comparisons.comparison)
TINY = ("mode=profile", "backbone.width=0.1", "transform.image_size=64", "profile.passes=1")


def test_twenty_two_checkpoints_equal_ours() -> None:
    rows = comparison(4)[1]["checkpoints"]
    assert len(rows) == 22
    assert all(int(row["multiply_adds"]) == row["published_multiply_adds"] for row in rows)
    parameters = {row["width"]: round(row["parameters"], 3) for row in rows}
    assert parameters == {1.4: 6.109, 1.3: 5.387, 1.0: 3.505, 0.75: 2.636, 0.5: 1.969, 0.35: 1.677}


@pytest.mark.parametrize(
    ("number", "model", "published", "measured"),
    [
        (4, "MobileNetV2", (3.4, 300), (3.505, 300.8)),
        (4, "MobileNetV2 (1.4)", (6.9, 585), (6.109, 582.2)),
        (5, "SSD", (14.8, 1250), (14.777, 1259.1)),
        (5, "SSDLite", (2.1, 350), (2.113, 177.6)),
        (6, "MobileNetV2 + SSDLite", (4.3, 800), (4.337, 788.8)),
        (7, "V2, OS 16", (2.11, 2750), (2.114, 2740.7)),
        (7, "V2, OS 16, ASPP", (4.52, 5800), (4.524, 5363.5)),
    ],
)
def test_tables_beside_ours(
    number: int, model: str, published: tuple[float, float], measured: tuple[float, float]
) -> None:
    """The published ones and ours as counted by hand in FACTS.md; multiply-adds in M."""
    row = next(row for row in comparison(number)[1]["rows"] if row["model"] == model)
    assert (row["published"]["parameters"], row["published"]["multiply_adds"]) == published
    assert row["measured"]["parameters"] == pytest.approx(measured[0], abs=6e-4)
    assert row["measured"]["multiply_adds"] == pytest.approx(measured[1], abs=0.06)
    assert row["deviation"]["parameters"] == pytest.approx(measured[0] / published[0] - 1, abs=1e-3)


def test_multi_scale_without_aspp_meets_the_paper() -> None:
    row = next(row for row in comparison(7)[1]["rows"] if row["model"] == "V2, OS 8, MF")
    assert abs(row["deviation"]["multiply_adds"]) < 0.003


def test_table_3_says_which_maps_exist() -> None:
    found = comparison(3)[1]
    rows = {row["side"]: row for row in found["rows"]}
    assert {side for side, row in rows.items() if not row["printed_map_exists"]} == {56, 28, 14}
    for row in rows.values():
        assert row["as_printed"]["channels"] == row["published"]["channels"]
        assert row["as_printed"]["kb"] == pytest.approx(row["published"]["kb"], rel=0.025, abs=0.6)
    assert [(rows[side]["measured"]["channels"], round(rows[side]["measured"]["kb"])) for side in (56, 28, 14)] == [
        (24, 151),
        (32, 50),
        (96, 38),
    ]
    assert round(found["maximum"]["measured"]) == 401


@pytest.mark.parametrize("number", papers.TABLES)
def test_every_note_of_a_contradiction_is_printed(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    assert trident(monkeypatch, "mode=profile", f"profile.table={number}") == 0
    said = " ".join(capsys.readouterr().out.split())
    for row in papers.TABLES[number].rows:
        assert row.model in said
        assert row.note in said


def test_table_3_names_its_printing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert trident(monkeypatch, "mode=profile", "profile.table=3", f"run_dir={tmp_path / 'run'}") == 0
    assert "the one whose maxima are 1600, 400 and 600 kB" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "profile.json").read_text())["table"] == 3


def test_parts_are_the_whole() -> None:
    head = SSDLiteConfig()
    config = MobileNetV2Config()
    model = WithHeads.build(config, {"head": head}, num_classes=80, image_size=320)
    found = cost(model, (1, 3, 320, 320))
    rows = table.parts(model, found)
    assert [row.name for row in rows][:3] == ["stem", "stage1", "stage2"]
    assert sum(row.parameters for row in rows) == found.parameters
    assert sum(row.multiply_adds for row in rows) == found.multiply_adds
    by_name = {row.name: row for row in rows}
    assert by_name["stage6"].output == "160×10×10"
    assert by_name["head.class_predictors"].output == "243×20×20 .. 486×1×1"
    totals = Measured(found.parameters, found.multiply_adds)
    (paper,) = table.beside(config, head, num_classes=80, image_size=320, totals=totals)
    assert (paper.published_parameters, paper.published_multiply_adds) == (4.3, 800)
    assert not list(table.beside(config, head, num_classes=20, image_size=320, totals=totals))
    assert not list(table.beside(object(), head, num_classes=80, image_size=320, totals=totals))


def test_a_reference_checkpoint_stands_beside_its_backbone() -> None:
    rows = [
        list(table.beside(config, None, num_classes=80, image_size=96, totals=Measured(0, 0)))
        for config in (MobileNetV2Config(width=0.5), MobileNetV2Config(width=0.5, depth=1.2))
    ]
    assert [len(found) for found in rows] == [1, 0]
    assert int(rows[0][0].multiply_adds) == rows[0][0].published_multiply_adds == 18


def test_latency_leaves_the_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    class Counting(nn.Module):
        def forward(self, x: Any) -> Any:
            seen.append(torch.get_num_threads())
            return x

    timing = latency(Counting(), torch.zeros(1), threads=1, passes=4)
    assert set(seen) == {1}
    assert len(seen) > timing.passes == 4
    assert 0 <= timing.fastest_ms <= timing.median_ms <= timing.slowest_ms
    assert torch.get_num_threads() == before
    assert thread_counts()[0] == 1
    assert f"torch {torch.__version__}" in machine()


def test_profile_of_a_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("profile.sweep=true", "profile.widths=[0.1,0.35]", "profile.sizes=[64,96]")
    words += ("profile.networks=[mobilenet_v3_small]", "profile.passes=1")
    assert trident(monkeypatch, *TINY, *words, f"run_dir={tmp_path / 'run'}") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "head.class_predictors" in said
    assert "Timings are noisy" in said
    found = json.loads((tmp_path / "run" / "profile.json").read_text())
    assert found["parameters"] == sum(part["parameters"] for part in found["parts"])
    assert [timing["threads"] for timing in found["latency"]["backbone and head"]] == thread_counts()
    assert [point["network"] for point in found["sweep"]] == ["mobilenet_v2"] * 4 + ["mobilenet_v3_small"] * 4
    points = {(point["width"], point["image_size"]): point for point in found["sweep"][:4]}
    assert points[0.35, 96]["published_top_1"] == 45.5
    assert points[0.35, 96]["published_multiply_adds"] == int(points[0.35, 96]["multiply_adds"]) == 11
    assert points[0.1, 96]["published_multiply_adds"] is None
    for name in ("tradeoff", "networks"):
        with Image.open(tmp_path / "run" / f"{name}.png") as plot:
            assert plot.width > 1000


@pytest.mark.parametrize(
    ("name", "width", "size"),
    [
        (name, width, size)
        for name, widths in PUBLISHED.items()
        for width, sizes in widths.items()
        for size in sizes
        if size >= 224 and name != "mobilenet_v2"  # whose table is tested by itself
    ],
)
def test_published_multiply_adds_are_those_of_our_networks(name: str, width: float, size: int) -> None:
    """Within the share that V3's authors counted besides, and only of the network as it was published."""
    config = NETWORKS[name](width=width)
    known = published(config, size)
    assert known is not None
    assert classifier_cost(config, size).multiply_adds / 1e6 == pytest.approx(known.multiply_adds, rel=0.025, abs=1)
    assert published(NETWORKS[name](width=width, output_stride=16), size) is None
    assert published(NETWORKS[name](width=0.123), size) is None


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("profile.table=8", "profile.table=8: must be one of 3, 4, 5, 6, 7 for profile.paper=v2"),
        ("profile.num_classes=0", "profile.num_classes=0: must be at least 1"),
        ("profile.passes=0", "profile.passes=0: must be at least 1"),
        ("profile.widths=[]", "profile.widths=[]: must be one or more, each at least 0.1"),
        ("profile.networks=[vgg]", "profile.networks=[vgg]: vgg is none of mobilenet_v1, mobilenet_v2"),
        ("profile.networks=[mobilenet_v1]", "is for profile.sweep=true; say that, too"),
        ("profile.sizes=[8]", "profile.sizes=[8]: must be one or more, each at least 32"),
        ("table=3", "did you mean profile.table?"),
        ("predictions=x.json", "predictions=x.json: needs mode=evaluate"),
    ],
)
def test_wrong_words(
    word: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trident(monkeypatch, "mode=profile", word) == 2
    assert message in capsys.readouterr().err


def test_a_checkpoint_is_not_profiled() -> None:
    with pytest.raises(InputError, match="checkpoint=x: mode=profile measures a configuration and needs no weights"):
        RunConfig(mode=Mode.profile, checkpoint="x", trainer=TrainerConfig(max_steps=1))
    assert ProfileConfig().table is None


def test_a_foreign_backbone_is_not_swept(tmp_path: Path) -> None:
    section, trainer = ProfileConfig(sweep=True), TrainerConfig(max_steps=1)
    config = RunConfig(mode=Mode.profile, backbone=object(), profile=section, trainer=trainer)
    command = Command(overrides=[], choices={}, written={})
    job = Job(
        builder=Builder(config), folder=tmp_path, is_named=True, lines=RunLog(), command=command, load_model=load_model
    )
    with pytest.raises(InputError, match=r"profile\.sweep=true: needs a MobileNet"):
        profile(job, section, trainer)
