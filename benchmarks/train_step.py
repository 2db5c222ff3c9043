"""One training step of MobileNetV2: ours, as the command line trains, against torchvision's module and reference.

python benchmarks/train_step.py [--images 16] [--size 224] [--repeats 9] [--threads 1] [--words ..] [--json FILE]

Each is a process of its own, and they take turns step by step, so that a busy machine disturbs both alike; the figures
are medians of CPU time, and the most memory that each process had. Both start from the same weights and the same
images, in which the first losses must agree. Ours is the whole step of Lightning's trainer with the settings of
`tasks.runs.machine`, from uint8 images to the moving average of the weights. torchvision's is float32 in its default
layout, SGD, and the loss read in every step; its images are normalised beforehand, it has no moving average, and no
trainer around it.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models import mobilenet_v2

from benchmarks.timing import Compared, common_options, write_json
from tasks.data.transforms.build import batch_mixing

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from torch import Tensor

CLASSES = 1000
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMOOTHING = 0.1
UNCOUNTED = 2
"""Rounds before memory and caches have settled."""
TOLERANCE = 1e-4
"""Relative, between the first losses: sums are taken in another order."""


def random_batch(images: int, size: int) -> tuple[Tensor, Tensor]:
    """uint8 images (N, 3, H, W) and labels (N,), the same in both processes."""
    draw = torch.Generator().manual_seed(0)
    pictures = torch.randint(256, (images, 3, size, size), dtype=torch.uint8, generator=draw)
    return pictures, torch.randint(CLASSES, (images,), generator=draw)


class Turn:
    """Waits for its turn, and answers with the CPU seconds and the loss of the step that it timed."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self._started = 0.0

    def start(self) -> None:
        self.pipe.recv()
        torch.manual_seed(0)  # dropout leaves out the same
        self._started = time.process_time()

    def end(self, loss: float) -> None:
        self.pipe.send((time.process_time() - self._started, loss))


def peak_gb() -> float:
    """Most memory that this process had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def reference(
    pipe: Connection, weights: Path, images: int, size: int, threads: int, rounds: int, words: list[str]
) -> None:
    """torchvision's module, trained like its reference script on a CPU."""
    torch.set_num_threads(threads)
    pictures, labels = random_batch(images, size)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    inputs = (pictures / 255 - mean) / std
    model = mobilenet_v2().train()
    model.load_state_dict(load_file(weights))
    entropy = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=4e-5)
    turn = Turn(pipe)
    for _ in range(rounds):
        turn.start()
        loss = entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        turn.end(loss.item())
    pipe.send(peak_gb())


class TakesTurns(Callback):
    """Makes every step of a trainer a turn."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn

    def on_train_batch_start(self, *_: Any) -> None:
        self.turn.start()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.turn.end(float(trainer.callback_metrics["train/loss"]))


def ours(pipe: Connection, weights: Path, images: int, size: int, threads: int, rounds: int, words: list[str]) -> None:
    """What `tasks.run task=classification experiment=mnv2_imagenet`, and more words, does in a step."""
    import hydra
    from omegaconf import OmegaConf

    from conf.schema import register
    from heads.structures import Batch, ClassificationTargets
    from tasks.build import Builder
    from tasks.data.labels import LabelMap
    from tasks.runs.machine import tune
    from tasks.training.ema import MovingAverage
    from tasks.training.trainer import build_trainer
    from tasks.vision_task import VisionTask

    register()
    words = ["experiment=mnv2_imagenet", f"backbone.weights={weights}", "trainer.accelerator=cpu", *words]
    with hydra.initialize_config_module("conf", version_base="1.3"):
        config: Any = OmegaConf.to_object(hydra.compose("config", overrides=words))
    tune()
    torch.set_num_threads(threads)
    model = Builder(config).model(LabelMap.numbered([str(number) for number in range(CLASSES)]))
    theirs = load_file(weights)
    head: Any = model.heads["classification"]
    head.classifier.load_state_dict({name: theirs[f"classifier.1.{name}"] for name in ("weight", "bias")})
    pictures, labels = random_batch(images, size)
    batch = Batch(
        pictures.contiguous(memory_format=torch.channels_last),
        {"classification": ClassificationTargets(labels)},
        torch.full((images, 2), size),
        torch.arange(images),
    )
    task = VisionTask(
        model, {}, config.optim, steps=rounds, steps_per_epoch=rounds, mixing=batch_mixing(config.transform, 0)
    )
    callbacks = [MovingAverage(config.optim.ema_decay), TakesTurns(Turn(pipe))]
    trainer = build_trainer(
        config.trainer, Path(), torch.device("cpu"), callbacks=callbacks, max_steps=rounds, logger=False,
        enable_checkpointing=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(task, DataLoader([batch] * rounds, batch_size=None))
    pipe.send(peak_gb())


def measured(
    images: int, size: int, threads: int, repeats: int, words: list[str], tolerance: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Median CPU seconds an image of both, after their first losses were compared, and their peak memory in GB."""
    rounds = UNCOUNTED + repeats
    context = multiprocessing.get_context("spawn")
    spent: dict[str, list[float]] = {"torchvision": [], "ours": []}
    first: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        torch.manual_seed(0)
        save_file(mobilenet_v2().state_dict(), weights)
        pipes = {}
        for name, side in (("torchvision", reference), ("ours", ours)):
            pipes[name], theirs = context.Pipe()
            how = (theirs, weights, images, size, threads, rounds, words)
            context.Process(target=side, args=how, daemon=True).start()
            theirs.close()
        for _ in range(rounds):
            for name, pipe in pipes.items():
                pipe.send(None)
                seconds, loss = pipe.recv()
                spent[name].append(seconds / images)
                first.setdefault(name, loss)
        peaks = {name: float(pipe.recv()) for name, pipe in pipes.items()}
    if abs(first["ours"] / first["torchvision"] - 1) > tolerance:
        raise AssertionError(f"the first losses differ: {first}")
    return {name: median(times[UNCOUNTED:]) for name, times in spent.items()}, peaks


def main() -> None:
    parser = common_options(__doc__, repeats=9)
    parser.add_argument("--images", type=int, default=16, help="in a batch")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--words", nargs="+", default=[], help="more words of the command line for ours")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="between the first losses, relative")
    told = parser.parse_args()
    figures, peaks = measured(told.images, told.size, told.threads, told.repeats, told.words, told.tolerance)
    print(f"torch {torch.__version__}, {told.threads} thread(s), {told.images} images of {told.size} x {told.size}")
    for name, seconds in figures.items():
        print(f"{name:12} {1000 * seconds:7.1f} ms of CPU time an image, {peaks[name]:.2f} GB at the peak")
    ratio = figures["torchvision"] / figures["ours"]
    print(f"ratio {ratio:.2f}")
    what = f"training step, {told.images} images of {told.size} px{''.join(f', {word}' for word in told.words)}"
    compared = [
        Compared(what, 1000 * figures["ours"], "torchvision", 1000 * figures["torchvision"], "ms CPU/image", ratio),
        Compared(
            what,
            peaks["ours"],
            "torchvision",
            peaks["torchvision"],
            "GB at the peak",
            peaks["torchvision"] / peaks["ours"],
        ),
    ]
    found = {"cpu_seconds_per_image": figures, "peak_gb": peaks, "ratio": ratio, "threads": told.threads}
    write_json(told.json, found, compared)


if __name__ == "__main__":
    main()
