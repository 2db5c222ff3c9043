"""Lightning's trainer and loggers as a training uses them."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import TYPE_CHECKING, Any

import lightning as L
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from tasks.config.logger import LoggerConfig
from tasks.distributed.lightning_plugs import devices_and_strategy, without_signals
from tasks.training.csv_log import CsvLog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from tasks.config.training import TrainerConfig


def build_trainer(
    config: TrainerConfig,
    folder: Path,
    device: torch.device,
    *,
    find_unused: bool = False,
    callbacks: Sequence[Any] = (),
    **how: Any,
) -> L.Trainer:
    """Lightning's trainer.

    Args:
        device: that `config.accelerator` came to.
        find_unused: whether parameters may have no gradient in a step of several processes.
        how: more arguments of Lightning's.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    trainer = L.Trainer(
        accelerator=device.type,
        **devices_and_strategy(device, config.named_gpus, config.timeout, find_unused=find_unused),
        precision=config.precision,  # type: ignore[arg-type]
        deterministic=config.deterministic,
        enable_progress_bar=config.progress_bar and sys.stderr.isatty(),
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **how,
    )
    without_signals(trainer)
    return trainer


def build_loggers(config: Any, folder: Path, *, rows: int = 0, step: int | None = None) -> list[Logger]:
    """Files in the run folder, or somebody else's logger.

    Args:
        config: ours, or a logger of Lightning's interface.
        rows: of the CSV log that stay, when a training is resumed.
        step: from which on TensorBoard forgets what was logged; None: nothing.
    """
    if not isinstance(config, LoggerConfig):
        return [config]
    loggers: list[Logger] = []
    if config.csv:
        loggers.append(CsvLog(folder / "csv", keep=rows))
    if config.tensorboard:
        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard", purge_step=step))
    return loggers
