"""Code in a process of its own, which has imported nothing yet."""

from __future__ import annotations

import subprocess
import sys

TELL = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"


def loaded_by(code: str) -> set[str]:
    """The packages that are loaded after some code has run, without their submodules."""
    done = subprocess.run([sys.executable, "-c", f"{code}\n{TELL}"], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())
