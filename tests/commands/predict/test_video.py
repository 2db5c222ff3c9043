"""Videos in and out; OpenCV writes what is read here, and reads what is written."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from backbone.errors import InputError
from tasks.commands.predict.video import USUAL_RATE, VideoReader, VideoWriter
from tasks.data.files.sources import Video

if TYPE_CHECKING:
    from pathlib import Path

LEVELS = (20, 90, 160, 230)


@pytest.fixture
def clip(tmp_path: Path) -> Video:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (48, 32))
    for level in LEVELS:
        writer.write(np.full((32, 48, 3), (0, 0, level), np.uint8))  # red in OpenCV's order
    writer.release()
    return Video("clip", str(path))


def test_frames_in_order_and_in_rgb(clip: Video) -> None:
    with closing(VideoReader(clip)) as reader:
        assert (reader.rate, reader.frames) == (12.5, 4)
        frames = list(reader)
    assert [frame.shape for frame in frames] == [(32, 48, 3)] * 4
    assert [int(frame[..., 0].mean()) for frame in frames] == pytest.approx(LEVELS, abs=6)
    assert max(int(frame[..., 2].mean()) for frame in frames) < 10


def test_the_first_frames_only(clip: Video) -> None:
    with closing(VideoReader(clip, limit=2)) as reader:
        assert (reader.frames, len(list(reader))) == (2, 2)


def test_a_camera_may_not_say_its_rate(clip: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    file = cv2.VideoCapture(str(clip.where))
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: file if number == 2 else None)
    monkeypatch.setattr(type(file), "get", lambda *_: 0.0, raising=False)
    with closing(VideoReader(Video("camera2", 2), limit=3)) as reader:
        assert (reader.rate, reader.frames) == (USUAL_RATE, 3)
        assert len(list(reader)) == 3


def test_a_video_that_is_cut_short_is_reported(
    clip: Video, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(VideoReader(clip)) as reader:
        reader.frames = 9
        assert len(list(reader)) == 4
    assert "says that it has 9 frames, and 4 could be read; it may be cut short" in caplog.text


def test_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match=r"source=.*text\.mp4: is no video that can be read, or has no frame"):
        VideoReader(Video("text", str(tmp_path / "text.mp4")))
    with pytest.raises(InputError, match=r"source=camera:93: gives no image; name another camera"):
        VideoReader(Video("camera93", 93))


def test_writes_what_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "drawn.mp4"
    writer = VideoWriter(path, 10, (64, 96))
    for level in LEVELS:
        writer.add(np.full((64, 96, 3), (level, 0, 0), np.uint8))
    assert not path.exists()
    with pytest.raises(InputError, match=r"a frame of \(8, 8\) in a video of \(64, 96\)"):
        writer.add(np.zeros((8, 8, 3), np.uint8))
    writer.close()
    with closing(VideoReader(Video("drawn", str(path)))) as reader:
        assert reader.rate == 10
        assert [int(frame[..., 0].mean()) for frame in reader] == pytest.approx(LEVELS, abs=12)
    with pytest.raises(InputError, match=r"cannot be written as a video; say predict\.video=frames"):
        VideoWriter(tmp_path / "no.mp4", 10, (0, 0))
