"""Sweeps through the command line; what one run does is in the place of a real one done by `stand_in.py`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from backbone.errors import InputError
from tasks.commands.sweep import job, results, sweep
from tasks.commands.sweep.plan import Job, Plan, plan, quoted, short_names
from tasks.commands.sweep.plot import draw
from tasks.commands.sweep.record import read_record
from tests.e2e.command import trident

NAMES = [f"width-{width}+image_size-{size}" for width in ("0.35", "0.5") for size in (32, 64)]
WORDS = ("task=classification", "backbone.width=0.35,0.5", "transform.image_size=32,64")
STAND_IN = str(Path(__file__).with_name("stand_in.py"))
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a sweep, in which nothing real runs."""
    monkeypatch.setattr(job, "CHILD", (sys.executable, STAND_IN))
    monkeypatch.setattr(sweep, "_measure_together", lambda *_: None)
    monkeypatch.setattr(results, "draw", lambda *_: None)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    return tmp_path / "sweep"


def trouble(folder: Path, name: str, what: str) -> None:
    (folder / "trouble").mkdir(parents=True, exist_ok=True)
    (folder / "trouble" / name).write_text(what)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str) -> int:
    return trident(monkeypatch, "-m", *WORDS, *words, f"run_dir={folder}")


def alone(folder: Path, *words: str) -> list[str]:
    """The command of a sweep in a process of its own."""
    given = ["tasks.run", "-m", *WORDS, *words, f"run_dir={folder}"]
    code = (
        "import sys; from tasks.commands.sweep import job, sweep; from tasks.run import main\n"
        f"job.CHILD = (sys.executable, {STAND_IN!r}); sweep._measure_together = lambda *_: None\n"
        f"sys.argv = {given!r}; main()"
    )
    return [sys.executable, "-c", code]


def begun(folder: Path) -> list[str]:
    return (folder / "begun.txt").read_text().split()


def statuses(folder: Path) -> dict[str, str]:
    return {row["name"]: row["status"] for row in json.loads((folder / "sweep.json").read_text())["jobs"]}


def test_every_combination_and_what_came_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "draw", draw)
    assert run(monkeypatch, folder) == 0
    assert begun(folder) == NAMES
    found = json.loads((folder / "sweep.json").read_text())
    assert (found["figure"], found["split"]) == ("top1", "val")
    assert [row["figure"] for row in found["jobs"]] == [0.175, 0.175, 0.25, 0.25]
    assert [row["multiply_adds"] for row in found["jobs"]] == [358400000, 1433600000, 512000000, 2048000000]
    assert found["jobs"][3]["varied"] == {"backbone.width": "0.5", "transform.image_size": "64"}
    with Image.open(folder / "sweep.png") as picture:
        assert min(picture.size) > 500
    said = capsys.readouterr().out
    assert "sweep: 4 jobs, 0 done before" in said
    assert "1433.6" in said


def test_a_job_that_fails_or_is_killed_loses_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, what in zip(NAMES, ("kill", "fail", "silent"), strict=False):
        trouble(folder, name, what)
    assert run(monkeypatch, folder) == 1
    assert list(statuses(folder).values()) == ["failed", "failed", "failed", "done"]
    said = capsys.readouterr().err
    assert (
        f"trident: 3 jobs failed: {NAMES[0]} (killed by SIGKILL (out of memory?)), {NAMES[1]} (data.root=x: there is no"
        f" such folder), {NAMES[2]} (ended with exit code 3); the same words again go on with them"
    ) in said


def test_started_again_only_what_is_missing_is_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trouble(folder, NAMES[1], "kill")
    assert run(monkeypatch, folder) == 1
    (folder / "trouble" / NAMES[1]).unlink()
    (folder / NAMES[3] / "metrics.json").unlink()
    assert run(monkeypatch, folder) == 0
    assert begun(folder) == [*NAMES, NAMES[1], NAMES[3]]
    assert "sweep: 4 jobs, 2 done before" in capsys.readouterr().out
    assert run(monkeypatch, folder) == 0
    assert len(begun(folder)) == 6


def test_a_sweep_that_is_killed_has_its_results_so_far_and_goes_on(folder: Path) -> None:
    trouble(folder, NAMES[2], "wait")
    process = subprocess.Popen(alone(folder), cwd=ROOT, stdout=subprocess.DEVNULL)
    for _ in range(600):
        if (folder / "waiting").exists():
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert list(statuses(folder).values())[:2] == ["done", "done"]
    assert (folder / "sweep.png").is_file()
    (folder / "trouble" / NAMES[2]).unlink()
    assert subprocess.run(alone(folder), cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0
    assert begun(folder) == [*NAMES[:3], *NAMES[2:]]
    for name in NAMES:
        record = read_record(folder / "jobs" / f"{name}.json")
        assert record is not None
        assert record.status == "done"


def test_ctrl_c_ends_the_job_and_the_sweep(folder: Path) -> None:
    trouble(folder, NAMES[1], "wait")
    process = subprocess.Popen(alone(folder), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for _ in range(600):
        if (folder / "waiting").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130
    assert b"trident: interrupted" in said
    assert list(statuses(folder).values()) == ["done", "failed", "waiting", "waiting"]


def test_joblib(folder: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    trouble(folder, NAMES[0], "kill")
    command = alone(folder, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 1
    assert list(statuses(folder).values()) == ["failed", "done", "done", "done"]


def test_launcher_that_is_not_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, folder, "hydra/launcher=ray") == 2
    assert "hydra/launcher=ray: is not installed; install trident[ray], or leave it out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("backbone.width=0.5,0.05",), "job width-0.05: backbone.width=0.05: must be at least 0.1"),
        (("backbone.widht=0.5,1",), "there is no such key; did you mean backbone.width?"),
        (("mode=evaluate", "checkpoint=x", "seed=1,2"), "no such file"),
        (("mode=profile", "seed=1,2"), "mode=profile: a sweep trains; for mode=profile say profile.sweep=true"),
        (("seed=1,2,1",), "seed=1,2,1: lists 1 twice; leave one out"),
        (("mode=train,profile",), "mode=train,profile: cannot vary in a sweep; give it one value"),
        (("seed=interval(1,2)",), "seed=interval(1,2): is no list of values; write them out, a,b,c"),
        (("seed=1,2", "--resolve"), "--resolve: is not for a sweep; leave it out, or see one run's configuration"),
    ],
)
def test_wrong_words(
    words: tuple[str, ...], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert trident(monkeypatch, "--multirun", *words, f"run_dir={folder}") == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


def test_under_torchrun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        InputError, match="a sweep starts its runs itself, without torchrun; let each have processes by"
    ):
        sweep.sweep([], lambda _: pytest.fail("nothing is read"))


def test_folder_of_another_sweep(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, folder) == 0
    assert run(monkeypatch, folder, "seed=3") == 2
    said = capsys.readouterr().err
    assert f"its job {NAMES[0]} was begun with another configuration: seed 0 -> 3; to go on, say the same" in said
    with FileLock(folder / "jobs" / ".lock"):
        assert run(monkeypatch, folder) == 2
    assert "another sweep runs there; wait for its end, or name another folder" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[]", '{"status": "lost", "measured": null}'])
def test_damaged_record(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "jobs").mkdir(parents=True)
    (folder / "jobs" / f"{NAMES[0]}.json").write_text(content)
    assert run(monkeypatch, folder) == 2
    assert "is damaged (" in capsys.readouterr().err


def test_damaged_metrics(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, folder) == 0
    (folder / NAMES[0] / "metrics.json").write_text("{")
    assert run(monkeypatch, folder) == 2
    assert "remove the run's folder, and it is done again" in capsys.readouterr().err


def test_names_of_jobs() -> None:
    found: Plan = plan(["a.x=[1,2],[3]", "b.x='it is','it-is'", "head=null"], None)  # type: ignore[arg-type]
    names = [one.name for one in found.jobs]
    assert names[0].startswith("a.x-_1_2_+b.x-it_is") or names[0].startswith("a.x-_1_2_+b.x-")
    assert len(set(names)) == 4
    assert found.jobs[0].words[0] == "head=null"
    assert plan(["seed=1"], None).jobs == [Job("all", ("seed=1",), {})]  # type: ignore[arg-type]
    long = plan([f"source={'x' * 300},{'x' * 299}y"], None).jobs  # type: ignore[arg-type]
    assert max(len(one.name) for one in long) <= 120
    assert long[0].name != long[1].name


def test_short_names() -> None:
    assert short_names(["backbone.width", "transform.image_size"]) == ["width", "image_size"]
    assert short_names(["a.rate", "b.rate", "+heads@heads.more"]) == ["a.rate", "b.rate", "more"]


@pytest.mark.parametrize("value", ["a=b,c", "it's", "back\\slash", "end\\", "\\'", "${x}", 'a b"c'])
def test_quoting_is_undone_by_hydra(value: str) -> None:
    assert OverridesParser.create().parse_override(quoted("run_dir", value)).value() == value


def test_full_disk_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.commands.sweep.record import write_json

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(InputError, match=r"x\.json: the disk is full; free some space"):
        write_json(folder / "x.json", {})
