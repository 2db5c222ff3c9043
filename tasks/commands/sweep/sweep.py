"""The way of a sweep: its jobs are checked before any starts, done by one of Hydra's launchers, and told together."""

from __future__ import annotations

import argparse
import os
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import MissingConfigException
from hydra.types import HydraContext, RunMode
from rich.console import Console

from backbone.errors import InputError
from tasks.commands.sweep.job import JobRunner
from tasks.commands.sweep.plan import Job, plan, quoted
from tasks.commands.sweep.record import FOLDER, Place, Record, Status, is_done, read_record, write_record
from tasks.commands.sweep.results import JSON, PLOT, show, write_results
from tasks.config.run import Mode
from tasks.runs import folder as run_folder
from tasks.training.resume.claim import LOCK, differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from omegaconf import DictConfig

    from tasks.commands.sweep.results import Row
    from tasks.config.run import Command, RunConfig

EXTRAS = {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit", "ray": "ray"}
"""By launcher: what of `pip install trident[...]` brings it."""
ROOT = Path("runs", "sweep")


def sweep(words: Sequence[str], read: Callable[[DictConfig], tuple[RunConfig, Command]]) -> list[str]:
    """Do every job that is not done yet, inside a context in which Hydra is initialised.

    Args:
        words: of the command line, without flags.
        read: makes a checked configuration of a composed one.

    Returns:
        What failed, a line each.
    Raises:
        InputError: the words do not make jobs, or the folder holds a sweep with another configuration.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("-m: a sweep starts its runs itself, without torchrun; let each have processes by trainer=...")
    loader = GlobalHydra.instance().config_loader()
    planned = plan(words, loader)
    folder = Path(planned.run_dir or ROOT / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")).absolute()
    hydra = [*planned.hydra, quoted("hydra.sweep.dir", str(folder / FOLDER))]
    try:
        master = loader.load_configuration("config", hydra, run_mode=RunMode.MULTIRUN)
    except MissingConfigException as error:
        raise _launcher_is_missing(error) or error from error
    launched = {job.name: [*job.words, quoted("run_dir", str(folder / job.name))] for job in planned.jobs}
    records = {}
    for name, of_job in launched.items():
        try:
            config, command = read(loader.load_sweep_config(master, of_job))
        except InputError as error:
            raise InputError(f"job {name}: {error}") from error
        if config.mode is not Mode.train:
            raise InputError(f"mode={config.mode.value}: a sweep trains; for mode=profile say profile.sweep=true")
        records[name] = _begin(Place(folder, name), of_job, command.written)
    to_do = [of_job for name, of_job in launched.items() if not is_done(Place(folder, name), records[name])]
    say = Console(soft_wrap=True).print
    with _held(folder):
        for name, record in records.items():
            write_record(Place(folder, name).record, record)
        say(f"sweep: {len(launched)} jobs, {len(launched) - len(to_do)} done before; in {folder}", highlight=False)
        rows = _launch(master, folder, planned.jobs, to_do)
    say(f"everything is in {folder}: {JSON}, {PLOT}, and a folder for each job", highlight=False)
    return [f"{row.job.name} ({row.reason})" for row in rows if row.status is not Status.done]


def without_flags(words: Sequence[str]) -> list[str]:
    """The words with `--config-dir` as a word of its own, which jobs on other machines take along.

    Raises:
        InputError: there is another flag.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd")
    found, rest = parser.parse_known_args(list(words))
    flags = [word for word in rest if word.startswith("-")]
    if flags:
        raise InputError(f"{flags[0]}: is not for a sweep; leave it out, or see one run's configuration without -m")
    if found.config_dir is None:
        return rest
    return [*rest, f"hydra.searchpath=[{quoted('', f'file://{Path(found.config_dir).absolute()}')[1:]}]"]


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """While this lasts no other sweep runs in the folder, which is there now. A killed one holds nothing.

    Raises:
        InputError: another sweep runs there, or the folder cannot be written.
    """
    run_folder.make(folder / FOLDER)
    lock = FileLock(folder / FOLDER / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(
            f"run_dir={folder}: another sweep runs there; wait for its end, or name another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _launch(master: DictConfig, folder: Path, jobs: Sequence[Job], to_do: Sequence[Sequence[str]]) -> list[Row]:
    """Do what is to be done, measure all that is done side by side, and show it, also if Ctrl-C ends it early."""
    target = str(master.hydra.launcher._target_)
    runner = JobRunner(folder, jobs, str(Path.cwd()), aloud=target.endswith("BasicLauncher"))
    context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks(master))
    try:
        if to_do:
            launcher = Plugins.instance().instantiate_launcher(context, runner, master)
            for done in launcher.launch([list(words) for words in to_do], initial_job_idx=0):
                _ = done.return_value  # raises what went wrong outside the job's own process
            _measure_together(folder, jobs)
    finally:
        rows = write_results(folder, jobs)
        show(rows, Console())
    return rows


def _begin(place: Place, words: list[str], config: dict[str, Any]) -> Record:
    """The record of a job: the one that there is, or a new one.

    Raises:
        InputError: it was begun with another configuration.
    """
    record = read_record(place.record)
    if record is None:
        return Record(words=words, config=config)
    if changed := differences(record.config, config):
        raise InputError(
            f"run_dir={place.sweep}: its job {place.name} was begun with another configuration: {', '.join(changed)};"
            " to go on, say the same as then; for a new sweep, name another folder"
        )
    record.words = words
    return record


def _measure_together(folder: Path, jobs: Sequence[Job]) -> None:
    """Latencies that compare: measured now, when no job runs, and in turns."""
    places = [Place(folder, job.name) for job in jobs]
    records = [(place, record) for place in places if (record := read_record(place.record)) and is_done(place, record)]
    if not records:
        return
    from tasks.commands.sweep.measuring import latencies  # brings torch along

    times = latencies([(place.folder, record.words) for place, record in records])
    for (place, record), latency_ms in zip(records, times, strict=True):
        assert record.measured is not None
        record.measured.latency_ms = latency_ms
        write_record(place.record, record)


def _launcher_is_missing(error: MissingConfigException) -> InputError | None:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if group != "hydra/launcher" or name not in EXTRAS:
        return None
    return InputError(f"hydra/launcher={name}: is not installed; install trident[{EXTRAS[name]}], or leave it out")
