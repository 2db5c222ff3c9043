"""In the place of a run: leaves metrics, or fails as a file says; in this process, or by `python stand_in.py WORDS`."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from conf.schema import register
from tasks.cli.compose import read
from tasks.training.resume.claim import RunLock

if TYPE_CHECKING:
    from collections.abc import Sequence


def do(words: Sequence[str]) -> int:
    """The exit code of a run of these words."""
    config, command = read(words)
    folder = Path(str(config.run_dir))
    with (folder.parent / "begun.txt").open("a") as begun:
        begun.write(f"{folder.name}\n")
    trouble = folder.parent / "trouble" / folder.name
    match trouble.read_text() if trouble.is_file() else "":
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "silent":
            return 3
        case "wait":
            (folder.parent / "waiting").touch()
            time.sleep(60)
    folder.mkdir(exist_ok=True)
    RunLock(folder, command).note(finished=True)
    if not trouble.is_file():
        metrics = {"top1": config.backbone.width / 2, "loss": None}
        (folder / "metrics.json").write_text(json.dumps({"val": metrics}))
    return 0


if __name__ == "__main__":
    register()
    sys.exit(do(sys.argv[1:]))
