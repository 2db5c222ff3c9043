"""Latency of exported models: every backbone under every kind of head in every runtime, one thread.

python benchmarks/backbones.py --json FILE [--backbones NAME ...] [--tasks NAME ...] [--runtimes NAME ...]
    [--width W] [--repeats 20] [--table] [--plot FILE]

Weights are random, which latency does not depend on; sizes of images are those of the task (224, 320, 513 pixels) with
1000, 80 and 21 classes. The runtimes of one network take turns, and the time is the CPU's in one thread, which other
processes disturb less than that of the clock; medians. What FILE has already is not measured again, so that a run that
was stopped goes on. `--table` prints FILE as Markdown, a row for each backbone, and `--plot` draws it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.timing import common_options, medians_ms
from conf.schema import register

BACKBONES = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mobilenet_v4_small",
             "mobilenet_v4_medium")  # fmt: skip
TASKS = {"classification": 1000, "detection": 80, "segmentation": 21}
"""Classes of each."""
RUNTIMES = ("onnx", "litert", "executorch")
NAMES = {"onnx": "ONNX Runtime", "litert": "LiteRT", "executorch": "ExecuTorch"}


def measured(backbone: str, task: str, runtimes: list[str], width: float, repeats: int) -> dict[str, Any]:
    """Milliseconds and megabytes by runtime, and the side of the images in pixels."""
    from tasks.build import Builder
    from tasks.cli.compose import read
    from tasks.config.export import Format, Precision
    from tasks.data.labels import LabelMap
    from tasks.deploy.graph import ExportGraph
    from tasks.deploy.toolchains import TOOLCHAINS, tools

    config, _ = read([f"task={task}", f"backbone={backbone}", f"backbone.width={width}", "data=folder"])
    model = Builder(config).model(LabelMap.numbered([str(number) for number in range(TASKS[task])])).eval()
    size = config.transform.image_size
    graph = ExportGraph(model, size)
    example = graph.example().numpy()
    found: dict[str, Any] = {"size": size}
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for name in runtimes:
            module = tools(Format[name], what=name, to_write=True)
            path = Path(folder, f"model{TOOLCHAINS[Format[name]].suffix}")
            path.write_bytes(module.convert(graph, Precision.fp32))
            found[name] = {"megabytes": path.stat().st_size / 1e6}
            runs.append(module.Runtime(str(path), graph.names, 1))
        times = medians_ms([lambda run=run: run(example) for run in runs], repeats, time.process_time)  # type: ignore[misc]
        for name, milliseconds in zip(runtimes, times, strict=True):
            found[name]["ms"] = milliseconds
    return found


def table(found: dict[str, Any]) -> str:
    """As Markdown: a row for each backbone, a column for each task with the runtimes' medians side by side."""
    sizes = {task: one["size"] for key, one in found.items() for task in [key.split()[1]]}
    there = [name for name in RUNTIMES if any(name in one for one in found.values())]
    heading = " / ".join(NAMES[name] for name in there)
    lines = [f"| ms in {heading} |" + "".join(f" {task}, {size} px |" for task, size in sizes.items())]
    lines.append("|---|" + "---|" * len(sizes))
    for backbone in BACKBONES:
        cells = []
        for task in sizes:
            one = found.get(f"{backbone} {task}", {})
            cells.append(" / ".join(f"{one[name]['ms']:.1f}" if name in one else "–" for name in there))
        lines.append(f"| `{backbone}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(found: dict[str, Any], path: Path) -> None:
    """Draw it: a panel for each task, a group of bars for each backbone."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sizes = {task: one["size"] for key, one in found.items() for task in [key.split()[1]]}
    figure, panels = plt.subplots(1, len(sizes), figsize=(4 * len(sizes), 3.2), squeeze=False, layout="constrained")
    for panel, (task, size) in zip(panels[0], sizes.items(), strict=True):
        there = [name for name in BACKBONES if f"{name} {task}" in found]
        for place, runtime in enumerate(RUNTIMES):
            times = [found[f"{name} {task}"].get(runtime, {}).get("ms", 0) for name in there]
            rows = [row + 0.27 * (place - 1) for row in range(len(there))]
            panel.barh(rows, times, height=0.25, label=NAMES[runtime])
        panel.set_yticks(range(len(there)), there if panel is panels[0][0] else [])
        panel.invert_yaxis()
        panel.set_title(f"{task}, {size} px", fontsize=10)
        panel.set_xlabel("ms, one thread")
    panels[0][-1].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = common_options(__doc__, repeats=20)
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--table", action="store_true", help="print what the file has, and measure nothing")
    parser.add_argument("--plot", type=Path, help="draw what the file has, as PNG or SVG")
    told = parser.parse_args()
    found = json.loads(told.json.read_text()) if told.json is not None and told.json.is_file() else {}
    register()
    for task in () if told.table else told.tasks:
        for backbone in told.backbones:
            key = f"{backbone} {task}"
            if key in found:
                continue
            found[key] = measured(backbone, task, told.runtimes, told.width, told.repeats)
            times = ", ".join(f"{name} {found[key][name]['ms']:.1f} ms" for name in told.runtimes)
            print(f"{key}, {found[key]['size']} px: {times}", flush=True)
            if told.json is not None:
                told.json.write_text(json.dumps(found, indent=2) + "\n")
    print(table(found))
    if told.plot is not None:
        plot(found, told.plot)


if __name__ == "__main__":
    main()
