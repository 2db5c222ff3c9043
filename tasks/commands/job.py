"""What every command is given besides its own sections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.runs import folder as run_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tasks.build import Builder
    from tasks.config.run import Command
    from tasks.data.labels import LabelMap
    from tasks.model import VisionModel
    from tasks.runs.log import RunLog

    LoadModel = Callable[[str], tuple[VisionModel, dict[str, LabelMap]]]


@dataclass(slots=True, kw_only=True)
class Job:
    """One run of a command.

    Attributes:
        builder: makes model, data and evaluators.
        folder: of the run; it is not made yet.
        is_named: whether the user named the folder.
        lines: what the run says, on the console and in its log.
        command: the words that it was started with.
        load_model: the model of another run's checkpoint, on the CPU, and its labels by head.
    """

    builder: Builder
    folder: Path
    is_named: bool
    lines: RunLog
    command: Command
    load_model: LoadModel

    def begin(self) -> None:
        """Make the folder, and leave log and configuration in it.

        Raises:
            InputError: it cannot be written.
        """
        run_folder.make(self.folder)
        self.lines.attach(self.folder)
        run_folder.write_config(self.folder, self.command.written)
