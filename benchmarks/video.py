"""A video and a folder from file to file against the network alone, all measured in this run: images a second.

python benchmarks/video.py [--checkpoint FILE] [--frames 300] [--repeats 3] [--threads 1] [--json FILE]

mode=predict decodes, scales, answers, draws and writes a drawn video of 640 x 480 pixels, then its frames as JPEG
files; the rate is the one that it tells at its end, without the start of the program. The network alone answers the
same frames, scaled beforehand, in the same batches. They take turns, and the figures are medians of the clock. Without
--checkpoint a detector of width 1.0 is trained for one step first. 1 can only be reached where cores are left beside
the network's threads.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import torch

from benchmarks.image_files import clouds
from benchmarks.timing import Compared, common_options, write_json
from tasks.predict import load

ROOT = Path(__file__).resolve().parent.parent
HEIGHT, WIDTH = 480, 640
STEP = (
    "task=detection", "backbone.width=1.0", "trainer.max_steps=1", "trainer.accelerator=cpu", "data.train_scenes=8",
    "data.val_scenes=2", "data.batch_size=8", "data.workers=0", "evaluation.drawn_images=0", "logger.tensorboard=false",
)  # fmt: skip
RATE = re.compile(r"answered in .*\(([0-9.]+)/s\)")


def draw(path: Path, folder: Path, frames: int) -> None:
    """Window that moves over clouds, as a video and as images in a folder."""
    folder.mkdir()
    whole = clouds(np.random.default_rng(0), HEIGHT + frames, WIDTH + frames)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (WIDTH, HEIGHT))
    for number in range(frames):
        frame = np.ascontiguousarray(whole[number : number + HEIGHT, number : number + WIDTH])
        writer.write(frame)
        cv2.imwrite(str(folder / f"{number:05}.jpg"), frame)
    writer.release()


def command(words: list[str], threads: int) -> str:
    """What a command of ours says."""
    done = subprocess.run(
        [sys.executable, "-m", "tasks.run", *words],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": str(threads)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout + done.stderr


def whole_rate(checkpoint: Path, source: Path, folder: Path, threads: int) -> float:
    """Images a second of mode=predict."""
    words = [f"checkpoint={checkpoint}", f"source={source}", f"run_dir={folder}", "trainer.accelerator=cpu"]
    found = RATE.search(command(["mode=predict", *words], threads))
    assert found is not None, "mode=predict tells no rate"
    return float(found[1])


def network_rate(checkpoint: Path, video: Path) -> float:
    """Frames a second of the network alone, with what follows it up to detections."""
    model, capture, views = load(checkpoint, device="cpu"), cv2.VideoCapture(str(video)), []
    while (read := capture.read())[0]:
        views.append(model.see(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)))
    batches = [views[start : start + model.batch_size] for start in range(0, len(views), model.batch_size)]
    model.predict(batches[0], [(HEIGHT, WIDTH)] * len(batches[0]))
    start = time.perf_counter()
    for batch in batches:
        model.predict(batch, [(HEIGHT, WIDTH)] * len(batch))
    return len(views) / (time.perf_counter() - start)


def main() -> None:
    parser = common_options(__doc__, repeats=3)
    parser.add_argument("--checkpoint", type=Path, help="of a detector; else one of random weights")
    parser.add_argument("--frames", type=int, default=300, help="of the video")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = told.checkpoint or folder / "run" / "model.safetensors"
        if told.checkpoint is None:
            command([*STEP, f"data.root={folder}/scenes", f"run_dir={folder}/run"], told.threads)
        video, images = folder / "video.mp4", folder / "images"
        draw(video, images, told.frames)
        rates = [
            (
                whole_rate(checkpoint, video, folder / f"video{turn}", told.threads),
                whole_rate(checkpoint, images, folder / f"images{turn}", told.threads),
                network_rate(checkpoint, video),
            )
            for turn in range(told.repeats)
        ]
    *whole, alone = (median(values) for values in zip(*rates, strict=True))
    print(f"the network alone: {alone:.1f} images/s")
    rows = [
        Compared(
            f"{what} of {WIDTH} x {HEIGHT}, from file to file",
            rate,
            "its network alone",
            alone,
            "images/s",
            rate / alone,
        )
        for what, rate in zip(("video", "JPEG files"), whole, strict=True)
    ]
    for row in rows:
        print(f"{row.what}: {row.ours:.1f} images/s, {row.ratio:.2f} of it")
    write_json(
        told.json, {"images_per_second": dict(zip(("video", "folder", "network"), (*whole, alone), strict=True))}, rows
    )


if __name__ == "__main__":
    main()
