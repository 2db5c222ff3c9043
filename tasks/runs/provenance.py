"""What a run was made with."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

DISTRIBUTION = "trident-mobile-vision"
"""What the package is installed by; `trident` is another one's name on the registry."""
PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "albumentations", "numpy")


def require(what: str, packages: Iterable[str], extra: str) -> None:
    """See that packages are installed. None of them is imported.

    Args:
        what: the argument that asks for them.
        packages: by the names that they are imported by.
        extra: of ours, which installs them.
    Raises:
        InputError: one is not; the message has what to install.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{what}: needs {', '.join(missing)}, not installed here; say pip install '{DISTRIBUTION}[{extra}]'"
        )


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
