"""How fast a file runs and how much memory it takes: in a process of its own, which holds nothing else.

python -m tasks.timing.other_process JSON, the arguments of `measure` by name; prints a `Cost` as JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP = 3
"""Passes that are not counted."""
ROOT = Path(__file__).resolve().parents[2]


@dataclass(slots=True, kw_only=True)
class Cost:
    """Cost of one image.

    Attributes:
        milliseconds: the median of the passes.
        mebibytes: the process's most memory, above what it took before the file was opened.
    """

    milliseconds: float
    mebibytes: float


def measured(module: str, path: Path, names: Sequence[str], size: int, *, threads: int | None, passes: int) -> Cost:
    """Time a file and measure its memory.

    Args:
        module: of its runtime.
        names: of what comes out.
        threads: None: as many as there are cores.
    """
    task = {"module": module, "path": str(path), "names": list(names), "size": size, "threads": threads}
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    if threads is None:
        environment.pop("OMP_NUM_THREADS", None)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name if __spec__ else __name__, json.dumps(task | {"passes": passes})],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise InputError(f"{path}: cannot be timed ({reason}); say export.compare=false to go without")
    return Cost(**json.loads(done.stdout.strip().splitlines()[-1]))


def measure(module: str, path: str, names: list[str], size: int, threads: int | None, passes: int) -> Cost:
    """In this process."""
    import numpy as np

    runtime = import_module(module)
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    _import_of(runtime)
    before = _most_memory()
    run = runtime.Runtime(path, names, threads)
    times = []
    for _ in range(WARM_UP + passes):
        start = time.perf_counter()
        run(image)
        times.append(time.perf_counter() - start)
    return Cost(milliseconds=1000 * statistics.median(times[WARM_UP:]), mebibytes=(_most_memory() - before) / 2**20)


def _import_of(runtime: object) -> None:
    """Load the runtime's library, so that it does not count."""
    import_module(runtime.LIBRARY)  # type: ignore[attr-defined]


def _most_memory() -> int:
    """The most bytes of memory that this process has had."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(measure(**json.loads(sys.argv[1])))) + "\n")
