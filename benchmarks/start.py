"""How long people wait before anything happens, in CPU seconds, beside `import torch`, which all but mistakes need.

python benchmarks/start.py [--repeats 3] [--json FILE]

One image predicted, one evaluation of eight scenes, the demo until its page is there, and what a missing file costs.
Each is a process of its own with one thread, they take turns, and the figures are medians.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.timing import Compared, common_options, write_json

ROOT = Path(__file__).resolve().parent.parent
TRIDENT = [sys.executable, "-m", "tasks.run"]
DATA = ("task=detection", "data.train_scenes=8", "data.val_scenes=8", "data.workers=0")
STEP = ("backbone.width=1.0", "trainer.max_steps=1", "trainer.accelerator=cpu", "evaluation.drawn_images=0")


def cpu_seconds(command: list[str], wanted: int = 0, *, until_told: bool = False) -> float:
    """Of one process and those that it starts.

    Args:
        wanted: exit code.
        until_told: it is ended by SIGINT after its first line.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        if until_told:
            said = process.stdout.readline()
            process.send_signal(signal.SIGINT)
        else:
            said = process.stdout.read()
        if process.wait() != wanted:
            raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}\n{said}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    told = common_options(__doc__, repeats=3).parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data, model = f"data.root={folder / 'scenes'}", f"checkpoint={folder / 'run' / 'model.safetensors'}"
        cpu_seconds([*TRIDENT, *DATA, *STEP, data, "data.batch_size=8", f"run_dir={folder / 'run'}"])
        image = next((folder / "scenes").rglob("*.jpg"))
        found: dict[str, list[float]] = {}
        for turn in range(told.repeats):
            out = f"run_dir={folder / f'out{turn}'}"
            times = {
                "import torch": cpu_seconds([sys.executable, "-c", "import torch"]),
                "one image predicted": cpu_seconds([*TRIDENT, "mode=predict", model, f"source={image}", f"{out}_1"]),
                "evaluation of 8 images": cpu_seconds([*TRIDENT, "mode=evaluate", *DATA, data, model, f"{out}_2"]),
                "demo until its page": cpu_seconds([*TRIDENT, "mode=demo", "demo.port=0", model], until_told=True),
                "a missing file": cpu_seconds([*TRIDENT, "mode=predict", "checkpoint=no.safetensors", "source=x"], 2),
            }
            for what, seconds in times.items():
                found.setdefault(what, []).append(seconds)
    medians = {what: median(seconds) for what, seconds in found.items()}
    torch_alone = medians.pop("import torch")
    print(f"import torch: {torch_alone:.2f} CPU s")
    for what, seconds in medians.items():
        print(f"{what:24} {seconds:5.2f} CPU s, {seconds - torch_alone:+.2f} to import torch")
    rows = [
        Compared(what, seconds, "import torch", torch_alone, "CPU s", torch_alone / seconds)
        for what, seconds in medians.items()
    ]
    write_json(told.json, {"cpu_seconds": {**medians, "import torch": torch_alone}}, rows)


if __name__ == "__main__":
    main()
