"""The way of a sweep: its jobs are checked before any starts, done by one of Hydra's launchers, and told together.

Hydra's own sweeper and callbacks carry less: the sweeper starts jobs that are done already (on a cluster each would
queue for nothing) and composes jobs without checking them; what a callback raises becomes a warning.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import MissingConfigException
from hydra.types import HydraContext, RunMode
from rich.console import Console

from backbone.errors import InputError
from tasks.commands.sweep.job import JobRunner
from tasks.commands.sweep.plan import plan, quoted
from tasks.commands.sweep.results import JSON, PLOT, show, write_results
from tasks.commands.sweep.row import FOLDER, Row, read_row
from tasks.config.plugged import plugged
from tasks.config.run import Mode
from tasks.runs import folder as run_folder
from tasks.runs.lock import held
from tasks.runs.provenance import DISTRIBUTION
from tasks.training.resume.claim import RunLock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from omegaconf import DictConfig

    from tasks.commands.sweep.plan import Job
    from tasks.config.run import Command, RunConfig

    Read = Callable[[Sequence[str]], tuple[RunConfig, Command]]

EXTRAS = {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit", "ray": "ray"}
"""By launcher: what of `pip install trident-mobile-vision[...]` brings it."""
ROOT = Path("runs", "sweep")


def sweep(words: Sequence[str], read: Read) -> list[str]:
    """Do every job that is not done yet, inside a context in which Hydra is initialised.

    Args:
        words: of the command line, without -m.
        read: makes a checked configuration of the words of one run.

    Returns:
        What failed, a line each.
    Raises:
        InputError: the words do not make jobs, or the folder holds a sweep with another configuration.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("-m: a sweep starts its runs itself, without torchrun; let each have processes by trainer=...")
    words, path = _without_flags(words)
    planned = plan(_with_listed(words, path), GlobalHydra.instance().config_loader())
    folder = Path(planned.run_dir or ROOT / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")).absolute()
    master = _master([*path, *planned.hydra, f"hydra.sweep.dir={quoted(str(folder / FOLDER))}"])
    jobs, done = [], []
    for one in planned.jobs:
        job = replace(one, words=(*path, *one.words, f"run_dir={quoted(str(folder / one.name))}"))
        try:
            config, command = read(job.words)
            if config.mode is not Mode.train:
                raise InputError(f"mode={config.mode.value}: a sweep trains; for mode=profile say profile.sweep=true")
            finished = RunLock(folder / job.name, command).is_finished
            read_row(folder, job)
        except InputError as error:
            raise InputError(f"job {job.name}: {error}") from error
        jobs.append(replace(job, metrics=config.main_metrics))
        done += [jobs[-1]] * finished
    run_folder.make(folder / FOLDER)
    say = Console(soft_wrap=True).print
    with held(folder / FOLDER, f"run_dir={folder}: another sweep runs there; wait for its end, or name another folder"):
        say(f"sweep: {len(jobs)} jobs, {len(done)} done before; in {folder}", highlight=False)
        rows = _do(master, JobRunner(folder, jobs, str(Path.cwd())), done, read)
    say(f"everything is in {folder}: {JSON}, {PLOT}, and a folder for each job", highlight=False)
    return [f"{row.name} ({row.reason})" for row in rows if row.status != "done"]


def _do(master: DictConfig, runner: JobRunner, done: list[Job], read: Read) -> list[Row]:
    """Launch what is not done, measure all, and show what came of it, also if Ctrl-C ends it early."""
    folder, jobs = runner.sweep, runner.jobs
    runner.aloud = str(master.hydra.launcher._target_).endswith("BasicLauncher")
    for job in jobs:  # a run's own folder knows best whether it is done
        row = read_row(folder, job)
        if job in done and row.status != "done":
            row.finish(job, folder / job.name)
            row.write(folder)
        elif job not in done and row.status == "done":
            Row(name=job.name, varied=job.varied).write(folder)
    try:
        if to_do := [list(job.words) for job in jobs if job not in done]:
            context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks(master))
            launcher = Plugins.instance().instantiate_launcher(context, runner, master)
            for one in launcher.launch(to_do, initial_job_idx=0):
                _ = one.return_value  # raises what went wrong outside the job's own process
        _measure(folder, jobs, read)
    finally:
        rows = write_results(folder, jobs)
        show(rows, jobs, Console())
    return rows


def _measure(folder: Path, jobs: Sequence[Job], read: Read) -> None:
    """Complete the rows by what the models cost, all measured now, when no job runs, so that latencies compare."""
    rows, configs = [], []
    for job in jobs:
        row = read_row(folder, job)
        if row.status != "done":
            continue
        weights = quoted(str(folder / job.name / "model.safetensors"))
        config, _ = read([*job.words, "mode=evaluate", f"checkpoint={weights}"])
        rows.append(row)
        configs.append(config)
    if any(row.latency_ms is None for row in rows):
        from tasks.build import Builder  # brings torch along
        from tasks.commands.sweep.measuring import measure

        builders = [Builder(plugged(config)) for config in configs]
        measure(rows, builders, [folder / row.name / "model.safetensors" for row in rows])
        for row in rows:
            row.write(folder)


def _without_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words, and `--config-dir` as a word of its own, which jobs on other machines take along.

    Raises:
        InputError: there is another flag.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path)
    found, rest = parser.parse_known_args(list(words))
    if flags := [word for word in rest if word.startswith("-")]:
        raise InputError(f"{flags[0]}: is not for a sweep; leave it out, or see one run's configuration without -m")
    path = found.config_dir and f"hydra.searchpath=[{quoted(f'file://{found.config_dir.absolute()}')}]"
    return rest, [path] if path else []


def _with_listed(words: Sequence[str], path: Sequence[str]) -> list[str]:
    """The words, and the values that an experiment lists in `hydra.sweeper.params`, where the words give none."""
    chosen = [word for word in words if word.startswith("experiment=") and "," not in word]
    listed = _master([*path, *chosen]).hydra.sweeper.params if chosen else None
    given = {word.partition("=")[0].lstrip("+") for word in words}
    return [*words, *(f"{key}={values}" for key, values in (listed or {}).items() if key not in given)]


def _master(words: list[str]) -> DictConfig:
    """The configuration of the sweep itself, which names its launcher."""
    try:
        return GlobalHydra.instance().config_loader().load_configuration("config", words, run_mode=RunMode.MULTIRUN)
    except MissingConfigException as error:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        if group != "hydra/launcher" or name not in EXTRAS:
            raise
        raise InputError(
            f"hydra/launcher={name}: is not installed; install {DISTRIBUTION}[{EXTRAS[name]}], or leave it out"
        ) from error
