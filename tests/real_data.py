"""What people really have: the folder that TRIDENT_REAL_DATA names, and the marks of the tests that need it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("TRIDENT_REAL_DATA", ""))
THERE = pytest.mark.skipif("TRIDENT_REAL_DATA" not in os.environ, reason="TRIDENT_REAL_DATA names no folder")
NEEDED = [pytest.mark.real_data, THERE]
"""For `pytestmark` of a module whose tests all need it."""
