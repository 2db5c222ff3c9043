"""Sweeps through the command line; what one run does is in the place of a real one done by `stand_in.py`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image
from safetensors.torch import load_file

from backbone.errors import InputError
from tasks.cli import compose
from tasks.commands.sweep import job, sweep
from tasks.commands.sweep.plan import Job, Plan, plan, quoted, short_names
from tasks.commands.sweep.row import read_row
from tests.commands.sweep import stand_in
from tests.e2e.command import TINY, trident

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = ("task=classification", "backbone.width=0.35,0.5,0.75")
NAMES = ["width-0.35", "width-0.5", "width-0.75"]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a sweep, in which nothing real runs: its jobs are done by `stand_in` in this process."""

    def do_here(_: job.JobRunner, one: Job) -> tuple[str, bool]:
        code = stand_in.do(one.words)
        return f"ended with exit code {code}" * bool(code), False

    composed = cache(lambda words: compose.read(words))
    monkeypatch.setattr("tasks.cli.main.read", lambda words: composed(tuple(words)))
    monkeypatch.setattr(stand_in, "read", composed)
    monkeypatch.setattr(job.JobRunner, "_run", do_here)
    monkeypatch.setattr(sweep, "_measure", lambda *_: None)
    return tmp_path / "sweep"


def trouble(folder: Path, name: str, what: str) -> None:
    (folder / "trouble").mkdir(parents=True, exist_ok=True)
    (folder / "trouble" / name).write_text(what)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str) -> int:
    return trident(monkeypatch, "-m", *(words or WORDS), f"run_dir={folder}")


def alone(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """A sweep in a process of its own, whose jobs are, too."""
    given = ["tasks.run", "-m", *WORDS, *words, f"run_dir={folder}"]
    code = (
        "import sys; from tasks.commands.sweep import job, sweep; from tasks.run import main\n"
        f"job.COMMAND = {(sys.executable, stand_in.__file__)!r}; sweep._measure = lambda *_: None\n"
        f"sys.argv = {given!r}; main()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def until_it_waits(folder: Path) -> None:
    limit = time.monotonic() + 120
    while not (folder / "waiting").exists():
        assert time.monotonic() < limit
        time.sleep(0.05)


def begun(folder: Path) -> list[str]:
    return (folder / "begun.txt").read_text().split()


def statuses(folder: Path) -> list[str]:
    return [row["status"] for row in json.loads((folder / "sweep.json").read_text())["jobs"]]


def test_every_combination_and_what_came_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(folder: Path, jobs: Sequence[Job], *_: object) -> None:
        for one in jobs:
            row = read_row(folder, one)
            width, size = float(one.varied["backbone.width"]), int(one.varied["transform.image_size"])
            row.image_size, row.parameters, row.multiply_adds = size, 1000, int(1e6 * width * size**2)
            row.latency_ms, row.machine, row.imagenet = width * size, "a test", True
            row.published = [{"metric": "top1", "value": 0.7, "source": "a paper", "caveat": ""}]
            row.write(folder)

    monkeypatch.setattr(sweep, "_measure", measure)
    words = ("task=classification", "backbone.width=0.35,0.5", "transform.image_size=32,64")
    assert run(monkeypatch, folder, *words) == 0
    names = [f"width-{width}+image_size-{size}" for width in ("0.35", "0.5") for size in (32, 64)]
    assert begun(folder) == names
    found = json.loads((folder / "sweep.json").read_text())
    assert (found["metric"], found["split"]) == ("top1", "val")
    assert [row["name"] for row in found["jobs"]] == names
    assert [row["metric"] for row in found["jobs"]] == [0.175, 0.175, 0.25, 0.25]
    assert [row["multiply_adds"] for row in found["jobs"]] == [358400000, 1433600000, 512000000, 2048000000]
    assert found["jobs"][3]["varied"] == {"backbone.width": "0.5", "transform.image_size": "64"}
    with Image.open(folder / "sweep.png") as picture:
        assert min(picture.size) > 500
    said = capsys.readouterr().out
    assert "sweep: 4 jobs, 0 done before" in said
    assert "1433.6" in said


def test_what_real_models_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job.JobRunner, "_run", lambda _, one: ("failed" * trident(monkeypatch, *one.words), False))
    data = ("data.train_scenes=4", "data.val_scenes=2", f"data.root={tmp_path / 'scenes'}", "trainer.max_steps=1")
    words = ("-m", "task=classification", *TINY, *data, "logger.tensorboard=false", "backbone.width=0.1,0.2")
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'sweep'}") == 0
    assert (tmp_path / "sweep" / "sweep.png").is_file()
    for row in json.loads((tmp_path / "sweep" / "sweep.json").read_text())["jobs"]:
        tensors = load_file(tmp_path / "sweep" / row["name"] / "model.safetensors")
        learned = [tensor.numel() for name, tensor in tensors.items() if name.endswith((".weight", ".bias"))]
        assert row["parameters"] == sum(learned)
        assert (row["status"], row["image_size"], row["published"]) == ("done", 64, [])
        assert row["latency_ms"] > 0
    capsys.readouterr()
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'sweep'}") == 0
    assert "sweep: 2 jobs, 2 done before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", ""),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL (out of memory?)"),
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("import os; open(os.environ['TRIDENT_REASON'], 'w').write('no space'); raise SystemExit(2)", "no space"),
    ],
)
def test_why_a_job_failed(tmp_path: Path, code: str, reason: str) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "x.reason").write_text("of the last time")
    one = Job("x", (), {})
    runner = job.JobRunner(tmp_path, [one], str(tmp_path), command=[sys.executable, "-S", "-c", f"print(1)\n{code}"])
    assert runner._run(one) == (reason, False)
    assert (tmp_path / "jobs" / "x.log").read_text() == "1\n"


def test_a_job_that_fails_loses_no_other_and_only_what_is_missing_is_done_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trouble(folder, NAMES[0], "silent")
    trouble(folder, NAMES[1], "no metrics")
    assert run(monkeypatch, folder) == 1
    assert statuses(folder) == ["failed", "failed", "done"]
    said = capsys.readouterr().err
    assert f"trident: 2 jobs failed: {NAMES[0]} (ended with exit code 3), {NAMES[1]} ({folder / NAMES[1]}" in said
    assert "remove the run's folder, and it is done again); the same words again go on with them" in said
    shutil.rmtree(folder / "trouble")
    shutil.rmtree(folder / NAMES[1])
    (folder / "jobs" / f"{NAMES[2]}.json").unlink()  # the run's folder says that it is done
    assert run(monkeypatch, folder) == 0
    assert begun(folder) == [*NAMES, *NAMES[:2]]
    assert "sweep: 3 jobs, 1 done before" in capsys.readouterr().out
    assert statuses(folder) == ["done"] * 3
    assert run(monkeypatch, folder) == 0
    assert len(begun(folder)) == 5


def test_a_sweep_that_is_killed_has_its_results_so_far_and_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble(folder, NAMES[1], "wait")
    with alone(folder) as process:
        until_it_waits(folder)
        process.kill()
    assert statuses(folder)[0] == "done"
    shutil.rmtree(folder / "trouble")
    assert run(monkeypatch, folder) == 0
    assert begun(folder) == [*NAMES[:2], *NAMES[1:]]
    assert statuses(folder) == ["done"] * 3


def test_ctrl_c_ends_the_job_and_the_sweep(folder: Path) -> None:
    trouble(folder, NAMES[0], "wait")
    process = alone(folder)
    until_it_waits(folder)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130
    assert b"trident: interrupted" in said
    assert statuses(folder) == ["failed", "waiting", "waiting"]


def test_joblib(folder: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    trouble(folder, NAMES[0], "kill")
    with alone(folder, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2") as process:
        assert process.wait(240) == 1
    assert statuses(folder) == ["failed", "done", "done"]


def test_launcher_that_is_not_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, folder, "hydra/launcher=ray") == 2
    assert (
        "hydra/launcher=ray: is not installed; install trident-mobile-vision[ray], or leave it out"
        in capsys.readouterr().err
    )


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
    assert run(monkeypatch, folder, "seed=1") == 0
    stand_in.do((f"run_dir={folder / 'width-0.35'}", "seed=3"))
    assert run(monkeypatch, folder, "backbone.width=0.35,0.5") == 2
    said = capsys.readouterr().err
    assert "width-0.35: holds a training with another configuration: seed 3 -> 0, backbone.width 1.0 -> 0.35;" in said
    with FileLock(folder / "jobs" / ".lock"):
        assert run(monkeypatch, folder, "seed=1") == 2
    assert "another sweep runs there; wait for its end, or name another folder" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[]", '{"status": "lost"}'])
def test_damaged_row(tmp_path: Path, content: str) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "x.json").write_text(content)
    with pytest.raises(InputError, match=r"x.json: is damaged \(.*\); remove it, and say the same words"):
        read_row(tmp_path, Job("x", (), {}))


def test_row_of_an_older_version(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    old = {"words": ["seed=1"], "config": {}, "status": "done", "reason": "", "seconds": 2.5, "measured": {"x": 1}}
    (tmp_path / "jobs" / "x.json").write_text(json.dumps(old))
    row = read_row(tmp_path, Job("x", (), {"seed": "1"}))
    assert (row.status, row.seconds, row.varied, row.latency_ms) == ("done", 2.5, {"seed": "1"}, None)


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
    assert OverridesParser.create().parse_override(f"run_dir={quoted(value)}").value() == value


def test_a_run_tells_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRIDENT_REASON", str(tmp_path / "x.reason"))
    assert trident(monkeypatch, "seed=-1") == 2
    assert (tmp_path / "x.reason").read_text() == "seed=-1: must not be negative"
    assert capsys.readouterr().err == "trident: seed=-1: must not be negative\n"
