"""What a run was made with."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

DISTRIBUTION = "trident-mobile-vision"
"""What the package is installed by; `trident` is another one's name on the registry."""
PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "albumentations", "numpy")


def provenance(pretrained: str | None) -> dict[str, Any]:
    """Versions, the commit of this source tree if it is one, and where the weights came from.

    Args:
        pretrained: the pretraining chain in words; None for a random start.
    """
    named = [("trident", DISTRIBUTION), *((name, name) for name in PACKAGES)]
    return {
        "python": platform.python_version(),
        "versions": {name: found for name, package in named if (found := _version(package))},
        "git": _commit(),
        "pretrained": pretrained,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Hash of the commit that this file is checked out from, with `+` if the tree differs from it; None if none."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
