"""Videos and cameras as frames, and frames as a video."""

from __future__ import annotations

import logging
import math
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.data.files.sources import Video

    Pixels: TypeAlias = NDArray[np.uint8]

log = logging.getLogger(__name__)

USUAL_RATE = 25.0
"""Frames in a second, where a video or camera does not say."""
CODEC = "mp4v"
WAITING = 4
"""Frames that may wait to be written."""


class VideoReader:
    """Frames of a video file or camera, upright, in RGB.

    Attributes:
        rate: frames in a second.
        frames: how many the file says it has; None: it does not say, or is a camera.

    Raises:
        InputError: it cannot be opened, or has no frame.
    """

    def __init__(self, video: Video, limit: int | None = None) -> None:
        self.video = video
        self.limit = limit
        before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            self._capture = cv2.VideoCapture(video.where)
            opened, first = self._capture.read() if self._capture.isOpened() else (False, None)
        finally:
            cv2.utils.logging.setLogLevel(before)
        if not opened or first is None:
            self._capture.release()
            if isinstance(video.where, int):
                raise InputError(f"source=camera:{video.where}: gives no image; name another camera, such as camera:0")
            raise InputError(f"source={video.where}: is no video that can be read, or has no frame; convert it to MP4")
        self._first: Any = first
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else USUAL_RATE
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        stated = round(count) if isinstance(video.where, str) and 0 < count < 2**31 else None
        self.frames = stated if limit is None else limit if stated is None else min(stated, limit)

    def __iter__(self) -> Iterator[Pixels]:
        """Every frame, (H, W, 3) uint8. Once only."""
        number, frame = 0, self._first
        self._first = None
        while frame is not None and (self.limit is None or number < self.limit):
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
            number += 1
            there, frame = self._capture.read()
            if not there:
                break
        else:
            return
        if self.frames is not None and number < self.frames:
            log.warning(
                "%s: says that it has %d frames, and %d could be read; it may be cut short",
                self.video.where, self.frames, number,
            )  # fmt: skip

    def close(self) -> None:
        self._capture.release()


class VideoWriter:
    """Frames to an MP4 file, which has its name when it is closed. A thread encodes them.

    Raises:
        InputError: it cannot be written.
    """

    def __init__(self, path: Path, rate: float, size: tuple[int, int]) -> None:
        self.path = path
        self.size = size
        self._part = path.with_name(f".{path.stem}.part{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = cv2.VideoWriter(
            str(self._part), cv2.VideoWriter.fourcc(*CODEC), rate, (size[1], size[0])
        )  # width first
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()
        if not self._writer.isOpened():
            raise InputError(f"{path}: cannot be written as a video; say predict.video=frames, or name another run_dir")

    def add(self, frame: Pixels) -> None:
        """Append a frame (H, W, 3) uint8 RGB of the writer's size."""
        if frame.shape[:2] != self.size:
            raise InputError(
                f"{self.path}: a frame of {frame.shape[:2]} in a video of {self.size} (height, width); say"
                " predict.video=frames"
            )
        self._waiting.append(self._thread.submit(self._write, frame))
        if len(self._waiting) > WAITING:
            self._waiting.popleft().result()

    def _write(self, frame: Pixels) -> None:
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._thread.shutdown()
        self._writer.release()
        for written in self._waiting:
            written.result()
        self._part.replace(self.path)
