"""Where losses and metrics go while training. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from backbone.errors import InputError


@dataclass(kw_only=True, slots=True)
class LoggerConfig:
    """Files in the run folder."""

    csv: bool = True
    tensorboard: bool = True
    every_steps: int = 10
    """Optimiser steps between two losses that are logged."""

    def __post_init__(self) -> None:
        if self.every_steps < 1:
            raise InputError(f"logger.every_steps={self.every_steps}: must be at least 1")


@dataclass(kw_only=True, slots=True)
class TrackerConfig(LoggerConfig):
    """A service that keeps the runs of many people, besides the files in the run folder."""

    PACKAGE: ClassVar[str]
    """What it is imported by, and the extra that installs it."""

    name: str | None = None
    """Of the run, as the service shows it; null: the name of its folder."""


@dataclass(kw_only=True, slots=True)
class WandbConfig(TrackerConfig):
    """Weights & Biases."""

    PACKAGE: ClassVar[str] = "wandb"

    project: str = "trident"
    entity: str | None = None
    """User or team that owns the project; null: who is logged in."""
    offline: bool = False
    """Write into the run folder alone; `wandb sync` uploads it later."""


@dataclass(kw_only=True, slots=True)
class MlflowConfig(TrackerConfig):
    """MLflow."""

    PACKAGE: ClassVar[str] = "mlflow"

    experiment: str = "trident"
    tracking_uri: str | None = None
    """Address of the server, such as http://localhost:5000, or of a data base (sqlite:///FILE); null: MLflow's own
    variable MLFLOW_TRACKING_URI, and without it mlflow.db in this folder."""

    def __post_init__(self) -> None:
        LoggerConfig.__post_init__(self)
        if self.tracking_uri is not None and "://" not in self.tracking_uri:
            raise InputError(
                f"logger.tracking_uri={self.tracking_uri}: must be an address such as http://localhost:5000 or"
                " sqlite:///FILE"
            )
