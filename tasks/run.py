"""The command line: `python -m tasks.run task=detection backbone.width=1.0`.

It begins here so that Ctrl-C is answered while the rest is still imported.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130


def main() -> None:
    """Run the command and leave with 0, 2 for bad input, 130 after Ctrl-C, or 1 for a fault of ours.

    mode=inspect leaves with 1, too, if training on the data would be spoiled.
    """
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _interrupted)
    from tasks.cli.leaving import BAD_INPUT
    from tasks.cli.main import run
    from tasks.cli.streams import enduring_streams, lost

    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with enduring_streams() as files:
        run()
        sys.stdout.flush()
        if said := lost(files):
            sys.stderr.write(f"trident: {said}\n")
            sys.exit(BAD_INPUT)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Leave at once: nothing has begun that could be left half done."""
    os.write(2, b"trident: interrupted\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
