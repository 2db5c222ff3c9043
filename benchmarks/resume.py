"""What it costs that a training can go on: time and size of a checkpoint, and what is added to every step.

python benchmarks/resume.py [--images 16] [--size 224] [--width 1.0] [--repeats 30] [--threads 1] [--json FILE]

One training, in which every other step has the callbacks that save, look at every loss and at memory: so both kinds of
step have the same weights, images and memory, and a busy machine disturbs both alike. The figures of a step are medians
of CPU time; that of a checkpoint is of the clock, until it is on the disk, with the weights, their average and the
momentum. By default one is written in a minute, or so seldom that it takes 1 % of the time.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import hydra
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from benchmarks.timing import common_options, write_json
from conf.schema import register
from heads.structures import Batch, ClassificationTargets
from tasks.build import Builder
from tasks.data.labels import LabelMap
from tasks.data.transforms.build import batch_mixing
from tasks.runs.machine import tune
from tasks.training.callbacks import GracefulStop
from tasks.training.ema import MovingAverage
from tasks.training.resume.checkpoints import Checkpoints
from tasks.training.resume.keeper import SECONDS, SHARE, CheckpointCallback
from tasks.training.resume.place import Place
from tasks.training.trainer import build_trainer
from tasks.training.watchdog.memory import MemoryGrowth
from tasks.training.watchdog.nonfinite import FiniteLoss
from tasks.vision_task import VisionTask

CLASSES = 1000
UNCOUNTED = 4
"""Steps before memory and caches have settled."""
SAVES = 5


class EveryOther(Callback):
    """Hands the hooks of a step on to other callbacks in every second step, and times both kinds.

    It comes first for the start of a step; `Ends`, which comes last, takes the time.
    """

    def __init__(self, others: list[Any], keeper: CheckpointCallback) -> None:
        self.others = others
        self.keeper = keeper
        self.started = 0.0
        self.spent: dict[bool, list[float]] = {False: [], True: []}
        self.saves: list[float] = []

    def _hand_on(self, hook: str, trainer: Any, *words: Any) -> None:
        for other in self.others if trainer.global_step % 2 else []:
            getattr(other, hook)(trainer, *words)

    def on_train_batch_start(self, trainer: Any, *words: Any) -> None:
        self.started = time.process_time()
        self._hand_on("on_train_batch_start", trainer, *words)

    def on_before_backward(self, trainer: Any, *words: Any) -> None:
        self._hand_on("on_before_backward", trainer, *words)

    def on_before_optimizer_step(self, trainer: Any, *words: Any) -> None:
        self._hand_on("on_before_optimizer_step", trainer, *words)

    def on_train_batch_end(self, trainer: Any, *words: Any) -> None:
        had = trainer.global_step % 2 == 0  # it counts this step already
        for other in self.others if had else []:
            other.on_train_batch_end(trainer, *words)

    def on_train_end(self, trainer: Any, *_: Any) -> None:
        for _number in range(SAVES):
            started = time.perf_counter()
            self.keeper.save(trainer, Place.after(trainer))
            self.saves.append(time.perf_counter() - started)


class Ends(Callback):
    """Takes the time of a step."""

    def __init__(self, steps: EveryOther) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.steps.spent[trainer.global_step % 2 == 0].append(time.process_time() - self.steps.started)


def measured(images: int, size: int, width: float, rounds: int, folder: Path) -> dict[str, float]:
    """Median CPU seconds of a step of both kinds, and seconds and bytes of a checkpoint."""
    register()
    words = ["experiment=mnv2_imagenet", f"backbone.width={width}", "trainer.accelerator=cpu"]
    with hydra.initialize_config_module("conf", version_base="1.3"):
        config: Any = OmegaConf.to_object(hydra.compose("config", overrides=words))
    tune()
    batch = Batch(
        torch.randint(256, (images, 3, size, size), dtype=torch.uint8).contiguous(memory_format=torch.channels_last),
        {"classification": ClassificationTargets(torch.randint(CLASSES, (images,)))},
        torch.full((images, 2), size),
        torch.arange(images),
    )
    model = Builder(config).model(LabelMap.numbered([str(number) for number in range(CLASSES)]))
    task = VisionTask(
        model, {}, config.optim, steps=rounds, steps_per_epoch=rounds, mixing=batch_mixing(config.transform, 0)
    )
    average = MovingAverage(config.optim.ema_decay)
    checkpoints = Checkpoints(folder)
    keeper = CheckpointCallback(
        checkpoints, "none", {"steps": rounds}, GracefulStop(rounds), every=rounds + 1, average=average
    )  # fmt: skip
    steps = EveryOther([FiniteLoss(folder, None), MemoryGrowth(rounds), keeper], keeper)
    trainer = build_trainer(
        config.trainer, folder, torch.device("cpu"), callbacks=[steps, average, Ends(steps)], max_steps=rounds,
        logger=False, enable_checkpointing=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(task, DataLoader([batch] * rounds, batch_size=None))
    plain, kept = (median(steps.spent[had][UNCOUNTED // 2 :]) for had in (False, True))
    return {
        "plain_step_s": plain,
        "kept_step_s": kept,
        "checkpoint_s": median(steps.saves),
        "checkpoint_bytes": float(checkpoints.paths()[-1].stat().st_size),
    }


def main() -> None:
    parser = common_options(__doc__, repeats=30)
    parser.add_argument("--images", type=int, default=16, help="in a batch")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--width", type=float, default=1.0, help="of the backbone")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = measured(told.images, told.size, told.width, UNCOUNTED + 2 * told.repeats, Path(folder))
    plain, kept, seconds = found["plain_step_s"], found["kept_step_s"], found["checkpoint_s"]
    hooks = kept / plain - 1
    interval = max(SECONDS, seconds / SHARE)
    saving = seconds / interval
    print(f"torch {torch.__version__}, {told.threads} thread(s), {told.images} images of {told.size} x {told.size}")
    print(f"checkpoint: {found['checkpoint_bytes'] / 2**20:.1f} MiB in {1000 * seconds:.0f} ms")
    print(f"step: {1000 * plain:.1f} ms, with the callbacks {1000 * kept:.1f} ms ({100 * hooks:+.2f} %)")
    print(f"saving: {100 * saving:.2f} % of the time, one in {interval:.0f} s")
    print(f"together {100 * (hooks + saving):+.2f} %")
    write_json(told.json, found | {"hooks": hooks, "saving": saving})


if __name__ == "__main__":
    main()
