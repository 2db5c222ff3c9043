"""What a run does about trouble. Imports nothing heavy."""

from __future__ import annotations

from enum import Enum


class OnNonfinite(Enum):
    """What happens at a loss that is not finite."""

    stop = "stop"
    skip = "skip"
    """The weights stay as they are in that step."""
    roll_back = "roll_back"
    """To the last checkpoint, and without that batch from there."""
