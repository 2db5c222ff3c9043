"""Lines of a run, and tables as files."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import pytest

from backbone.errors import InputError, printable
from tasks.runs.log import RunLog
from tasks.runs.tables import write_table

NAME = "\x1b]0;title\x07\x1b[31mx.jpg\ntrident: all is fine\u202e\udcff"
SHOWN = r"\x1b]0;title\x07\x1b[31mx.jpg\ntrident: all is fine\u202e\udcff"


def test_a_name_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert printable(NAME) == SHOWN
    assert printable("Größe 漢字 ن e\u0301") == "Größe 漢字 ن e\u0301"
    assert str(InputError(f"{NAME}: is bad")) == f"{SHOWN}: is bad"
    with RunLog() as lines:
        lines.attach(tmp_path)
        logging.getLogger("tasks").warning("\nstopping: %s, %s, %d", NAME, Path(NAME), 3)
    said = f"\nstopping: {SHOWN}, {SHOWN}, 3\n"
    assert capsys.readouterr().out == said
    assert (tmp_path / "run.log").read_text(encoding="utf-8").endswith(said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is full")
def test_a_log_on_a_full_disk_is_said_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "run.log").symlink_to("/dev/full")
    with RunLog() as lines:
        lines.attach(tmp_path)
        for number in range(3):
            logging.getLogger("tasks").info("line %d", number)
    said = capsys.readouterr()
    assert said.out == "line 0\nline 1\nline 2\n"
    assert said.err == f"{tmp_path}/run.log: cannot be written ([Errno 28] No space left on device)\n"


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    """Spreadsheets compute texts that begin with =, +, - or @."""
    path = tmp_path / "table.csv"
    write_table(path, ["=class", "n"], [["=1+1", -1], ["@x", 0.5], ["a=b", "\t=1"], ["\udcff", "+1"]])
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["'=class", "n"], ["'=1+1", "-1"], ["'@x", "0.5"], ["a=b", "'\t=1"], ["\\udcff", "'+1"],
        ]  # fmt: skip
