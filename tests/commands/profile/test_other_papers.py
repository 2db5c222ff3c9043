"""Tables of the MobileNetV1 and V3 papers: what is measured is what is printed, but where the note says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.commands.profile.comparison import comparison
from tasks.config.profile import PAPER_TABLES, Paper
from tests.e2e.command import trident

if TYPE_CHECKING:
    from pathlib import Path

TABLES = [(paper, number) for paper in (Paper.v1, Paper.v3) for number in PAPER_TABLES[paper]]


@pytest.mark.parametrize(("paper", "number"), TABLES, ids=lambda value: getattr(value, "value", str(value)))
def test_figures_are_the_printed_ones(paper: Paper, number: int) -> None:
    for row in comparison(number, paper)[1]["rows"]:
        if row["measured"] is None or row["note"]:
            continue
        for name, most in (("parameters", 0.08), ("multiply_adds", 0.03)):
            published, measured = row["published"][name], row["measured"][name]
            digits = 0.5 * 10.0 ** -len(f"{published:g}".partition(".")[2])
            assert abs(measured - published) <= max(most * published, digits), (row["model"], name)


def test_on_the_console_and_in_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("mode=profile", "profile.paper=v3", "profile.table=6", f"run_dir={tmp_path / 'run'}")
    assert trident(monkeypatch, *words) == 0
    assert "V3, reduced tail" in capsys.readouterr().out
    assert (tmp_path / "run" / "profile.json").is_file()
