"""Every surface by its name."""

from __future__ import annotations

from tests.fuzz import annotations, containers, pixels, runs

SURFACES = {surface.name: surface for module in (pixels, annotations, containers, runs) for surface in module.SURFACES}
