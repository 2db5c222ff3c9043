"""Whether two checkouts give the same bits: three training steps and one evaluation of every task, fixed seed.

python -m benchmarks.same_results BEFORE AFTER FOLDER

Each checkout runs its own code, one thread, on the same machine. Compared are the table of losses, the metrics, the
predictions and every tensor of model.safetensors, after training and, from that file alone, after mode=evaluate of the
newer checkout on the model that the older one wrote. It leaves with 1 if anything differs.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

TASKS = ("classification", "detection", "segmentation", "multitask")
WORDS = (
    "backbone.width=0.35",
    "backbone.output_stride=16",
    "backbone.bn_momentum=0.1",
    "transform.image_size=64",
    "data.scene_size=64",
    "data.train_scenes=16",
    "data.val_scenes=6",
    "data.batch_size=4",
    "data.workers=0",
    "trainer.max_steps=3",
    "trainer.accelerator=cpu",
    "trainer.checkpoint_every=1",
    "evaluation.drawn_images=2",
    "logger.every_steps=1",
    "logger.tensorboard=false",
    "seed=7",
)


def run(checkout: Path, *words: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tasks.run", *words],
        cwd=checkout, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{checkout}: {' '.join(words)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")


def results(folder: Path) -> dict[str, Any]:
    """SHA-256 of what a run left, by file; of model.safetensors, one for every tensor."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".safetensors":
            tensors = load_file(path)
            found |= {f"{name}:{key}": hashlib.sha256(value.tobytes()).hexdigest() for key, value in tensors.items()}
        elif path.name == "metrics.json":
            found |= {f"{name}:{key}": value for key, value in _flat(json.loads(path.read_text())).items()}
        elif path.suffix in (".csv", ".json", ".png") and path.name not in ("time.json", "run.json"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}/") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def compare(what: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    differ = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    print(f"{what}: {len(before)} of the older, {len(after)} of the newer, {len(differ)} differ")
    for key in differ[:20]:
        print(f"  {key}: {before.get(key)} | {after.get(key)}")
    return not differ


def main() -> None:
    before, after, folder = (Path(word).resolve() for word in sys.argv[1:4])
    same = True
    for task in TASKS:
        words = (f"task={task}", *WORDS, f"data.root={folder / 'scenes' / task}")
        for checkout, side in ((before, "before"), (after, "after")):
            target = folder / side / task
            if not (target / "metrics.json").exists():
                run(checkout, *words, f"run_dir={target}")
        same &= compare(f"{task}, trained", results(folder / "before" / task), results(folder / "after" / task))
        for checkout, side in ((before, "before"), (after, "after")):
            target = folder / side / f"{task}_evaluated"
            if not (target / "metrics.json").exists():
                model = folder / "before" / task / "model.safetensors"
                own = (f"checkpoint={model}", f"run_dir={target}", words[-1], "trainer.accelerator=cpu")
                run(checkout, "mode=evaluate", *own)
        evaluated = (results(folder / side / f"{task}_evaluated") for side in ("before", "after"))
        same &= compare(f"{task}, the older one's file evaluated", *evaluated)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
