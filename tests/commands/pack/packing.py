"""Shards for a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.build import Builder
from tasks.cli.loading import load_model
from tasks.commands.job import Job
from tasks.commands.pack.job import pack
from tasks.config.pack import PackConfig
from tasks.config.run import Command, Mode, RunConfig, Task
from tasks.config.training import TrainerConfig
from tasks.runs.log import RunLog

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.data.config import DataConfig


def packed(out: Path, data: DataConfig, task: Task = Task.detection, **how: Any) -> Path:
    steps = TrainerConfig(max_steps=1)
    config = RunConfig(mode=Mode.pack, task=task, run_dir=str(out), data=data, pack=PackConfig(**how), trainer=steps)
    with RunLog() as lines:
        command = Command(overrides=[], choices={}, written={})
        job = Job(
            builder=Builder(config), folder=out, is_named=True, lines=lines, command=command, load_model=load_model
        )
        pack(job, config.pack, seed=config.seed)
    return out
