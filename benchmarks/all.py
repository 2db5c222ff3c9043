"""Every benchmark, one after another, and one table of what they found.

python benchmarks/all.py [--only detection loader ..] [--google FOLDER --exported FILE ..] [--report docs/benchmarks.md]

Each is a process of its own and measures Trident beside the peer it names, in that one process or with processes that
take turns, so the ratios hold on a busy machine where the times do not. The table says on which machine and with which
versions. `runtime` needs Google's files and files that mode=export wrote (see there); without them it is left out, and
the table says so.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.timing import Compared
from tasks.runs.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
LARGE = ["--size", "320", "--repeats", "4"]
BENCHMARKS: dict[str, list[list[str]]] = {
    "start": [[]],
    "train_step": [[], LARGE, [*LARGE, "--tolerance", "0.05", "--words", "trainer.precision=bf16-mixed"]],
    "detection": [[]],
    "segmentation": [[]],
    "multitask": [[]],
    "loader": [[]],
    "shards": [[]],
    "inspection": [["--count", "1000"]],
    "video": [[]],
    "runtime": [[]],
}
"""By module: the words of each of its runs."""
SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16")
"""Instructions that say how fast a CPU can be, as Linux names them."""


def cpu() -> str:
    """Name of the processor, its cores that may be used, and its instruction sets, as far as the system tells."""
    path = Path("/proc/cpuinfo")
    told = dict(
        line.partition(":")[::2] for line in (path.read_text().splitlines() if path.is_file() else []) if ":" in line
    )
    plain = {key.strip(): value.strip() for key, value in told.items()}
    flags = plain.get("flags", plain.get("Features", "")).split()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    sets = ", ".join(one for one in SETS if one in flags)
    return f"{plain.get('model name') or platform.processor() or platform.machine()}, {cores} cores ({sets})"


def run(module: str, words: list[str], folder: Path) -> list[Compared]:
    """What a benchmark compared.

    Raises:
        subprocess.CalledProcessError: it failed; its own output tells why.
    """
    file = folder / "found.json"
    print(f"\n== {module} {' '.join(words)}", flush=True)
    subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / f"{module}.py"), *words, "--json", str(file)], check=True, cwd=ROOT
    )
    found: dict[str, Any] = json.loads(file.read_text())
    return [Compared(**row) for row in found["compared"]]


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def report(rows: dict[str, list[Compared]], left_out: dict[str, str]) -> str:
    """The table as Markdown."""
    made_with = provenance(None)
    versions = ", ".join(f"{name} {version}" for name, version in made_with["versions"].items())
    lines = [
        "# Benchmarks",
        "",
        f"Written by `python benchmarks/all.py` on {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}, commit"
        f" {(made_with['git'] or 'unknown')[:12]}.",
        "",
        f"- Machine: {cpu()}; load {os.getloadavg()[0]:.1f} at the end.",
        f"- Versions: Python {made_with['python']}, {versions}.",
        "- One thread unless the row says otherwise. Ours and the peer take turns in one run; the figures are medians.",
        "  A ratio above 1: ours is better.",
        "",
        "| benchmark | what | ours | peer | | unit | ratio |",
        "|---|---|---:|---|---:|---|---:|",
    ]
    for module, found in rows.items():
        lines += [
            f"| {module} | {row.what} | {number(row.ours)} | {row.peer} | {number(row.theirs)} | {row.unit} |"
            f" {row.ratio:.2f} |"
            for row in found
        ]
    if left_out:
        lines += ["", *(f"`{module}` is not in the table: {reason}." for module, reason in left_out.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), help="benchmarks to run")
    parser.add_argument("--google", metavar="FOLDER", help="with Google's files, for runtime")
    parser.add_argument("--exported", nargs="+", default=[], metavar="FILE", help="that mode=export wrote, for runtime")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "benchmarks.md", help="file for the table")
    told = parser.parse_args()
    rows: dict[str, list[Compared]] = {}
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for module in told.only:
            own = ["--google", told.google, *told.exported] if module == "runtime" and told.google else []
            if module == "runtime" and not (own and told.exported):
                left_out[module] = "it needs --google FOLDER and --exported FILE"
                continue
            try:
                runs = [run(module, words + own, Path(temporary)) for words in BENCHMARKS[module]]
                rows[module] = [row for found in runs for row in found]
            except subprocess.CalledProcessError as error:
                left_out[module] = f"it failed with exit code {error.returncode}"
    told.report.write_text(report(rows, left_out))
    print(f"\n{told.report}")


if __name__ == "__main__":
    main()
