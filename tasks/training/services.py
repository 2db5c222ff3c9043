"""Weights & Biases and MLflow, through Lightning's loggers. Their packages are extras, imported when asked for."""

from __future__ import annotations

import logging
import os
import secrets
import warnings
from typing import TYPE_CHECKING, Any, Protocol

from backbone.errors import InputError
from tasks.config.logger import MlflowConfig, WandbConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lightning.pytorch.loggers import MLFlowLogger, WandbLogger

SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""MLflow's variables, unless the user set them: `Tracker` tries again, and says the address, itself."""
CONNECT_S = 30
"""That W&B may take to begin a run."""
STEP = "trainer/global_step"
"""Under which Lightning's logger of W&B has the step."""
TRANSIENT = (408, 425, 429)
"""Answers of HTTP below 500 after which the same request may succeed."""


class Service(Protocol):
    """One run of a service. Whatever its methods raise is the service's fault, and no reason to stop a training.

    Attributes:
        name: of the service, as `logger=` has it.
        run: what the service knows the run by; None before it has begun.
        address: where a user looks at the run.
    """

    name: str
    run: str | None

    @property
    def address(self) -> str: ...

    def connect(self) -> None:
        """See that it answers and knows who asks."""
        ...

    def begin(self, run: str | None, config: Mapping[str, Any], file: Path) -> None:
        """Begin a run, or go on with the one that `run` names.

        Args:
            config: of the training, as plain data.
            file: that has it as text.
        """
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Metrics after a step."""
        ...

    def log_image(self, name: str, file: Path, step: int) -> None:
        """An image file."""
        ...

    def finish(self, *, succeeded: bool) -> None:
        """Nothing more comes."""
        ...

    def refuses(self, error: Exception) -> bool:
        """Whether it would say the same again, so that there is no use in another try."""
        ...


def service_of(config: Any, folder: Path) -> Service | None:
    """The service that a logger's configuration names; None: there is none."""
    if isinstance(config, WandbConfig):
        return Wandb(config, folder)
    return Mlflow(config, folder) if isinstance(config, MlflowConfig) else None


class Wandb:
    """W&B. Its process writes into `folder / "wandb"` and uploads from there.

    Args:
        folder: of the run.
    """

    name = WandbConfig.PACKAGE

    def __init__(self, config: WandbConfig, folder: Path) -> None:
        self.run: str | None = None
        self._config = config
        self._folder = folder
        self._logger: WandbLogger | None = None

    @property
    def address(self) -> str:
        """Its page, or the folder to upload from."""
        run = self._experiment
        return f"{run.settings.sync_dir} (wandb sync uploads it)" if run.offline else str(run.url)

    @property
    def _experiment(self) -> Any:
        assert self._logger is not None
        return self._logger.experiment

    def connect(self) -> None:
        """Log in, which asks at a terminal, unless nothing is to be uploaded."""
        import wandb

        if self._config.offline or wandb.setup().settings.mode != "online":
            return
        try:
            wandb.login()
        except wandb.Error as error:
            raise InputError(
                f"logger=wandb: cannot log in ({_first_line(error)}); say wandb login, or logger.offline=true"
            ) from None

    def begin(self, run: str | None, config: Mapping[str, Any], file: Path) -> None:
        """See `Service`."""
        import wandb
        from lightning.pytorch.loggers import WandbLogger

        offline = {"mode": "offline"} if self._config.offline else {}
        experiment = wandb.init(
            id=run or secrets.token_hex(4),
            resume="allow",
            name=self._config.name or self._folder.name,
            dir=self._folder,
            project=self._config.project,
            entity=self._config.entity,
            settings=wandb.Settings(console="off", silent=True, init_timeout=CONNECT_S, **offline),
        )
        experiment.define_metric(STEP)
        experiment.define_metric("*", step_metric=STEP, step_sync=True)
        self.run = str(experiment.id)
        self._logger = WandbLogger(experiment=experiment)
        self._logger.log_hyperparams(dict(config))

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """See `Service`."""
        assert self._logger is not None
        self._logger.log_metrics(metrics, step)

    def log_image(self, name: str, file: Path, step: int) -> None:
        """See `Service`."""
        assert self._logger is not None
        self._logger.log_image(name, [str(file)], step)

    def finish(self, *, succeeded: bool) -> None:
        """See `Service`."""
        self._experiment.finish(exit_code=int(not succeeded))

    def refuses(self, error: Exception) -> bool:
        """See `Service`."""
        from wandb.errors import CommError

        return not isinstance(error, CommError | OSError)


class Mlflow:
    """MLflow. The configuration is there as parameters, and as the file that the run folder has.

    Args:
        folder: of the run.
    """

    name = MlflowConfig.PACKAGE

    def __init__(self, config: MlflowConfig, folder: Path) -> None:
        import mlflow

        for variable, value in SETTINGS.items():
            os.environ.setdefault(variable, value)
        for talks in ("lightning.pytorch.loggers.mlflow", "urllib3"):  # of a new experiment, and of every try
            logging.getLogger(talks).setLevel(logging.ERROR)
        self.run: str | None = None
        self._config = config
        self._folder = folder
        self._uri = config.tracking_uri or mlflow.get_tracking_uri()
        self._logger: MLFlowLogger | None = None

    @property
    def address(self) -> str:
        """Its page, or the data base."""
        if not self._uri.startswith("http"):
            return f"{self._uri}, run {self.run}"
        assert self._logger is not None
        return f"{self._uri.rstrip('/')}/#/experiments/{self._logger.experiment_id}/runs/{self.run}"

    def connect(self) -> None:
        """See `Service`."""
        from mlflow import MlflowClient

        try:
            with warnings.catch_warnings(action="ignore"):
                MlflowClient(self._uri).get_experiment_by_name(self._config.experiment)
        except Exception as error:
            why = f"MLflow refuses ({_first_line(error)})" if self.refuses(error) else "MLflow does not answer there"
            raise InputError(
                f"logger.tracking_uri={self._uri}: {why}; start it with mlflow server, or name another address"
            ) from None

    def begin(self, run: str | None, config: Mapping[str, Any], file: Path) -> None:
        """See `Service`."""
        from lightning.pytorch.loggers import MLFlowLogger
        from mlflow.exceptions import MlflowException

        name = self._config.name or self._folder.name
        is_new = run is None
        logger = MLFlowLogger(self._config.experiment, run_name=name, tracking_uri=self._uri, run_id=run)
        try:
            self.run = logger.run_id
        except MlflowException as error:
            if run is None or not self.refuses(error):
                raise
            is_new = True  # it was deleted, or this is another server
            logger = MLFlowLogger(self._config.experiment, run_name=name, tracking_uri=self._uri)
            self.run = logger.run_id
        self._logger = logger
        if is_new:
            logger.log_hyperparams(dict(config))  # of which none may change in a run that goes on
        else:
            logger.experiment.update_run(self.run, status="RUNNING")
        logger.experiment.log_artifact(self.run, str(file))

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """See `Service`."""
        assert self._logger is not None
        self._logger.log_metrics(metrics, step)

    def log_image(self, name: str, file: Path, step: int) -> None:
        """See `Service`."""
        assert self._logger is not None
        self._logger.experiment.log_artifact(self.run, str(file))

    def finish(self, *, succeeded: bool) -> None:
        """See `Service`."""
        assert self._logger is not None
        self._logger.experiment.set_terminated(self.run, "FINISHED" if succeeded else "KILLED")

    def refuses(self, error: Exception) -> bool:
        """See `Service`."""
        from mlflow.exceptions import MlflowException

        if not isinstance(error, MlflowException):
            return not isinstance(error, OSError)
        code = error.get_http_status_code()
        return 400 <= code < 500 and code not in TRANSIENT


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
