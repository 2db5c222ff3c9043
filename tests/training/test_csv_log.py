"""The table of losses and figures."""

from __future__ import annotations

import csv
import errno
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger

from tasks.training.csv_log import CsvLog

ROWS: list[tuple[dict[str, float], int]] = [
    ({"train/loss": 2.5, "epoch": 0}, 0),
    ({"train/loss": 1.25, "epoch": 0}, 1),
    ({"val/map": 0.5, "epoch": 0}, 1),
    ({"train/loss": float("nan"), "epoch": 1}, 2),
]


def text(folder: Path) -> str:
    return (folder / "metrics.csv").read_text(encoding="utf-8")


def test_is_the_file_that_lightning_writes(tmp_path: Path) -> None:
    theirs = CSVLogger(tmp_path, name="", version="theirs")
    ours = CsvLog(tmp_path / "ours")
    for values, step in ROWS:
        theirs.log_metrics(values, step)
        ours.log_metrics(values, step)
    theirs.save()
    ours.log_hyperparams({})
    read = [list(csv.DictReader(text(tmp_path / name).splitlines())) for name in ("theirs", "ours")]
    assert [{k: v and float(v) for k, v in row.items()} for row in read[0][:3]] == [
        {k: v and float(v) for k, v in row.items()} for row in read[1][:3]
    ]
    assert list(read[0][0]) == list(read[1][0])
    assert (ours.name, ours.version, ours.log_dir, ours.rows) == ("", "ours", str(tmp_path / "ours"), 4)


def test_every_row_is_there_at_once_and_goes_on_where_it_is_told(tmp_path: Path) -> None:
    one = CsvLog(tmp_path / "whole")
    for values, step in ROWS:
        one.log_metrics(values, step)
        assert len(text(tmp_path / "whole").splitlines()) == 1 + one.rows
    first = CsvLog(tmp_path / "cut")
    for values, step in ROWS[:3]:
        first.log_metrics(values, step)
    again = CsvLog(tmp_path / "cut", keep=2)
    assert again.rows == 2
    for values, step in ROWS[2:]:
        again.log_metrics(values, step)
    assert text(tmp_path / "cut") == text(tmp_path / "whole")


def test_a_new_training_and_a_lost_file_start_anew(tmp_path: Path) -> None:
    CsvLog(tmp_path).log_metrics({"a": 1.0}, 0)
    again = CsvLog(tmp_path)
    again.log_metrics({"b": 2.0}, 0)
    assert text(tmp_path) == "b,step\n2.0,0\n"
    assert CsvLog(tmp_path / "absent", keep=5).rows == 0


@pytest.mark.parametrize(
    ("content", "left"),
    [
        (b"", []),
        (b"\0" * 512, []),
        (b"loss\n1.0\n", []),
        (b"loss,step\n", []),
        (b"loss,step\n1.5,0\n", ["1.5,0"]),
        (b"loss,step\n1.5,0\n2.5,1", ["1.5,0"]),
        (b"loss,step\n1.5,0\n2.5\n3.5,2\n", ["1.5,0"]),
        (b"loss,step\n1.5,0\n\xff\xfe,1\n", ["1.5,0"]),
        (b"loss,step\n1.5,0\n" + b"\0" * 64 + b"\n", ["1.5,0"]),
    ],
)
def test_a_file_that_a_loss_of_power_spoiled(
    content: bytes, left: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    log = CsvLog(tmp_path, keep=2)
    log.log_metrics({"loss": 9.0}, 7)
    log.sync()
    assert text(tmp_path).splitlines() == ["loss,step", *left, "9.0,7"]
    assert caplog.messages == [f"{tmp_path / 'metrics.csv'}: is damaged: {len(left)} of its 2 rows are left"]


def test_a_full_disk_keeps_rows_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = CsvLog(tmp_path)
    log.log_metrics({"a": 1.0}, 0)
    normal = Path.open

    def full(path: Path, *words: Any, **more: Any) -> Any:
        file = normal(path, *words, **more)
        if path.parent == tmp_path:
            write = file.write

            def half(row: str) -> None:
                write(row[:2])
                file.flush()
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(file, "write", half, raising=False)
        return file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        log.log_metrics({"a": 2.0}, 1)
        log.log_metrics({"b": 3.0}, 2)
        assert text(tmp_path) == "a,step\n1.0,0\n"
    assert [message.partition(" cannot")[2] for message in caplog.messages] == [
        " be written (No space left on device): its rows wait in memory"
    ]
    log.log_metrics({"a": 4.0}, 3)
    assert text(tmp_path) == "a,b,step\n1.0,,0\n2.0,,1\n,3.0,2\n4.0,,3\n"
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
