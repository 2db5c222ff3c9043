"""Images a second with 1 process and with several, for the same images in a step.

Processes share the cores of this machine: each has as many threads as there are cores for it. The efficiency is the
speed of N processes over N times that of one process on one core's share, and beside it over one process on all cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.timing import common_options, write_json

WORDS = (
    "task=detection", "trainer.accelerator=cpu", "trainer.validate_every=1000", "logger.tensorboard=false",
    "data.workers=0", "evaluation.drawn_images=0",
)  # fmt: skip


def images_a_second(processes: int, threads: int, batch: int, steps: int, scenes: Path, words: list[str]) -> float:
    """Of a training of some steps, from the time that its steps took; the start and the evaluation do not count."""
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-m", "tasks.run", *WORDS, *words, f"data.root={scenes}", f"run_dir={folder}/run"]
        line += [f"data.batch_size={batch // processes}", f"trainer.max_steps={steps}"]
        line += [f"trainer.devices={processes}"] * (processes > 1)
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, env=environment)
        time = json.loads((Path(folder) / "run" / "time.json").read_text())
    seconds = sum(time["seconds"][part] for part in ("loading", "forward", "backward", "optimiser"))
    return float(batch * time["steps"] / seconds)


def main() -> None:
    parser = common_options(__doc__, repeats=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16, help="images in a step of all processes")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("words", nargs="*", help="more words of the command line, such as backbone.width=0.5")
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, cores // given.processes)
    speeds: dict[str, list[float]] = {"share": [], "all": [], "several": []}
    with tempfile.TemporaryDirectory() as scenes:
        for _ in range(given.repeats):  # they take turns, so that what else the machine does meets all
            for name, processes, threads in (
                ("share", 1, share),
                ("all", 1, cores),
                ("several", given.processes, share),
            ):
                found = images_a_second(processes, threads, given.batch, given.steps, Path(scenes) / "s", given.words)
                speeds[name].append(found)
    one, whole, several = (median(speeds[name]) for name in ("share", "all", "several"))
    print(f"1 process, {share} threads: {one:.1f} images/s")
    print(f"1 process, {cores} threads: {whole:.1f} images/s")
    print(f"{given.processes} processes, {share} threads each: {several:.1f} images/s")
    print(f"efficiency: {several / (given.processes * one):.2f} of {given.processes} times one process on its share")
    print(f"            {several / whole:.2f} of one process on all {cores} cores; load {os.getloadavg()[0]:.1f}")
    write_json(given.json, speeds)


if __name__ == "__main__":
    main()
