"""Shards for a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.commands.pack.job import pack
from tasks.config.pack import PackConfig
from tasks.config.run import Mode, RunConfig, Task
from tasks.config.training import TrainerConfig
from tasks.runs.log import RunLog

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.data.config import DataConfig


def packed(out: Path, data: DataConfig, task: Task = Task.detection, **how: Any) -> Path:
    steps = TrainerConfig(max_steps=1)
    config = RunConfig(mode=Mode.pack, task=task, run_dir=str(out), data=data, pack=PackConfig(**how), trainer=steps)
    with RunLog() as lines:
        pack(config, lines)
    return out
