"""Downloads as `backbone.weights.download` does them, with a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from backbone.weights.download import fetch as fetch_file

if TYPE_CHECKING:
    from collections.abc import Sequence


def fetch(
    urls: Sequence[str],
    path: str | Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    attempts: int = 5,
    backoff_s: float = 1.0,
    timeout_s: float = 30.0,
    console: Console | None = None,
) -> Path:
    """Download one file as `backbone.weights.download.fetch` does, show how it goes, and return its path.

    Args:
        console: where the progress bar is drawn, once there is something to tell; None is stderr.
    Raises:
        InputError: what `backbone.weights.download.fetch` raises.
    """
    bar, doing_now = transfer_bar(console), ""
    task = bar.add_task(Path(path).name, total=size)

    def show(doing: str, done: int, total: int | None) -> None:
        nonlocal doing_now
        if doing != doing_now:  # the rate counts from here on: not what an earlier run left, nor the step before
            bar.start()
            bar.reset(task, description=f"{Path(path).name} ({doing})")
            doing_now = doing
        bar.update(task, completed=done, total=total)

    try:
        return fetch_file(
            urls,
            path,
            sha256=sha256,
            md5=md5,
            size=size,
            attempts=attempts,
            backoff_s=backoff_s,
            timeout_s=timeout_s,
            progress=show,
        )
    finally:
        if doing_now:
            bar.stop()


def transfer_bar(console: Console | None) -> Progress:
    """Bars with bytes, rate and time left, not drawn yet; None is stderr."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
    )
