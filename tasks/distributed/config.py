"""How processes work together. Imports nothing heavy."""

from __future__ import annotations

from enum import Enum


class Strategy(Enum):
    """How several processes share a model.

    The model is small (3.5 million parameters, 14 MB at width 1.0), so every process has all of it; sharding it (FSDP)
    would cost communication and save no memory worth having.
    """

    auto = "auto"
    """`ddp` where there are several processes."""
    ddp = "ddp"
    """Also start them, one for each GPU, where nothing else says how many."""
