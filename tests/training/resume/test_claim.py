"""Who may train in a run folder."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from backbone.errors import InputError
from tasks.config.run import Command
from tasks.runs import folder as run_folder
from tasks.training.resume.claim import RunLock, Stage, differences, suggest

if TYPE_CHECKING:
    from pathlib import Path


def command(**written: Any) -> Command:
    return Command(overrides=["task=detection"], choices={}, written={"task": "detection", **written})


def begun(folder: Path, *, finished: bool = False, **written: Any) -> Path:
    claim = RunLock(folder, command(**written))
    with claim.held():
        claim.note(finished=finished)
    return folder


def test_from_new_to_finished(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert RunLock(folder, command()).stage is Stage.new
    assert not folder.exists()
    begun(folder)
    assert RunLock(folder, command()).stage is Stage.begun
    begun(folder, finished=True)
    assert RunLock(folder, command()).is_finished


def test_keys_that_differ_are_named(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run", optim={"learning_rate": 0.1, "eps": 1}, data={"workers": 1, "root": None})
    same = command(optim={"learning_rate": 0.1, "eps": 1}, data={"workers": 8, "root": None}, logger={"csv": False})
    assert RunLock(folder, same).stage is Stage.begun
    other = command(optim={"learning_rate": 0.2}, data={"workers": 1, "root": "x"}, seed=3)
    other.overrides = ["seed=3"]
    with pytest.raises(InputError) as raised:
        RunLock(folder, other)
    assert str(raised.value) == (
        f"run_dir={folder}: holds a training with another configuration: optim.learning_rate 0.1 -> 0.2, optim.eps 1 ->"
        ' nothing, data.root null -> "x", seed nothing -> 3; to go on, say the same as then, or more steps or epochs;'
        " for a new training, name another folder"
    )


def test_a_training_may_get_longer(tmp_path: Path) -> None:
    def of(steps: int | None, epochs: int, seed: int = 0) -> Command:
        told = {"max_steps": steps, "max_epochs": epochs}
        return command(trainer=told, data={"epochs": epochs}, seed=seed)

    folder = begun(tmp_path / "run", finished=True, **of(None, 3).written)
    assert RunLock(folder, of(None, 3)).is_finished
    for longer in (of(None, 4), of(10, 3)):  # whether 10 steps are more, the data say
        claim = RunLock(folder, longer)
        assert (claim.stage, claim.is_longer) == (Stage.begun, True)
    with pytest.raises(InputError, match=r": trainer\.max_epochs 3 -> 2, data\.epochs 3 -> 2; to go on, say the same"):
        RunLock(folder, of(None, 2))
    with pytest.raises(InputError, match=r"configuration: seed 0 -> 1; to go on, say the same as then, or more steps"):
        RunLock(folder, of(None, 4, seed=1))


def test_a_folder_of_an_earlier_version(tmp_path: Path) -> None:
    """It has old names of keys, and lacks those that came later."""
    folder = begun(tmp_path / "run", head={"detections": 3, "matched_iou": 0.5})
    now = command(head={"max_detections": 3, "match_iou": 0.5, "later": False}, later={"a": 1})
    assert RunLock(folder, now).stage is Stage.begun
    now.overrides = ["head.later=false"]
    with pytest.raises(InputError, match=r"head\.later nothing -> false;"):
        RunLock(folder, now)


def test_a_longer_name_is_not_a_free_key() -> None:
    assert differences({"logger": 1, "logger_x": 1}, {"logger": 2, "logger_x": 2}) == ["logger_x 1 -> 2"]


def test_a_folder_with_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"is not empty, and no training begun there; name another folder$"):
        RunLock(tmp_path, command())
    (tmp_path / "notes.txt").unlink()
    (tmp_path / ".lock").touch()  # left by a process that was killed before it could do anything
    assert RunLock(tmp_path, command()).stage is Stage.new


def test_a_folder_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"format": 7, "finished": false, "config": {}}')
    with pytest.raises(InputError, match=r"run\.json: has format 7, this version reads 1; go on with the version that"):
        RunLock(tmp_path, command())


@pytest.mark.parametrize(
    "left", [0, 1, 20, -1, None], ids=["nothing", "a brace", "a part", "all but the end", "no file"]
)
def test_a_note_that_a_loss_of_power_cut(left: int | None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The configuration is still in config.yaml, where weights filled in what they decided."""
    told = {"backbone": {"width": 0.5, "bn_eps": 1e-3, "weights": "x"}, "optim": {"learning_rate": 1e-05}}
    folder = begun(tmp_path / "run", finished=True, **told)
    decided = {"backbone": {"width": 0.5, "bn_eps": 1e-5, "weights": None}}
    run_folder.write_config(folder, command(**told | decided).written)
    note = folder / "run.json"
    note.write_bytes(note.read_bytes()[:left])
    if left is None:
        note.unlink()
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "step_000001.ckpt").touch()
    assert RunLock(folder, command(**told)).stage is Stage.begun
    assert caplog.messages == [f"{note}: is damaged or gone; what this training was told is taken from config.yaml"]
    with pytest.raises(InputError, match=r"backbone\.width 0\.5 -> 1\.0; to go on, say the same as then"):
        RunLock(folder, command(backbone={"width": 1.0}, optim={"learning_rate": 1e-05}))
    begun(folder, finished=True, **told)
    assert RunLock(folder, command(**told)).is_finished


@pytest.mark.parametrize("content", [None, b"", b"- 1", b"a: [", b"\xff", b"a: ${b"])
def test_neither_tells_the_configuration(content: bytes | None, tmp_path: Path) -> None:
    """Nothing is deleted, and nobody is told to."""
    (tmp_path / "run.json").touch()
    if content is not None:
        (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(
        InputError, match=r"run\.json: is damaged or gone, and config\.yaml does not tell .* from a backup"
    ):
        RunLock(tmp_path, command())


def test_two_at_once_and_after_a_kill(tmp_path: Path) -> None:
    """Another process holds the folder, and a child that it forked lives on; when it is killed, the folder is free."""
    code = (
        "import sys, time, os; from pathlib import Path; from tasks.config.run import Command\n"
        "from tasks.training.resume.claim import RunLock\n"
        "with RunLock(Path(sys.argv[1]), Command(overrides=[], choices={}, written={})).held():\n"
        "    child = os.fork() or time.sleep(600)\n"
        "    print(child, flush=True)\n"
        "    time.sleep(600)\n"
    )
    words = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        child = int(other.stdout.readline())
        try:
            with pytest.raises(InputError, match=r"another process is training there; wait for its end or name"):
                RunLock(tmp_path / "run", command()).held().__enter__()
            other.kill()
            other.wait()
            with RunLock(tmp_path / "run", command()).held():
                pass
        finally:
            other.kill()
            subprocess.run(["kill", "-9", str(child)], check=True)


def test_the_newest_run_is_suggested_if_it_stopped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    suggest(tmp_path / "absent", command())
    begun(tmp_path / "2026-01-01")
    begun(tmp_path / "2026-01-02", finished=True)
    suggest(tmp_path, command())
    newest = begun(tmp_path / "2026-01-03")
    suggest(tmp_path, command(task="segmentation"))
    assert not caplog.messages
    suggest(tmp_path, command())
    assert caplog.messages == [
        f"{newest} stopped before its end; to go on with it: python -m tasks.run task=detection run_dir={newest}"
    ]
    caplog.clear()
    with RunLock(newest, command()).held():
        suggest(tmp_path, command())
    assert not caplog.messages


def test_figures_of_a_finished_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    claim = RunLock(begun(tmp_path / "run", finished=True), command())
    claim.show()
    (claim.folder / "metrics.json").write_text(json.dumps({"val": {"map": 0.25, "map/cat": 0.5, "map_large": None}}))
    claim.show()
    assert caplog.messages[0].endswith("this training is finished; nothing is done again")
    assert caplog.messages[2:] == ["val: map 0.25"]
