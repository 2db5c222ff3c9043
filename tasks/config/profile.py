"""What mode=profile measures. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from backbone.architecture import MIN_WIDTH
from backbone.errors import InputError
from backbone.families.known import NETWORKS


class Paper(Enum):
    """Paper whose tables are printed, by the network that it is of."""

    v1 = "v1"
    v2 = "v2"
    v3 = "v3"


PAPER_TABLES = {Paper.v1: (4, 5, 6, 7, 8, 9, 10), Paper.v2: (3, 4, 5, 6, 7), Paper.v3: (3, 6, 7, 8)}
"""Tables that arithmetic can reproduce."""

MIN_PROFILED_SIZE = 32


@dataclass(kw_only=True, slots=True)
class ProfileConfig:
    """What mode=profile measures. It reads no data: of the data's configuration, the image size alone."""

    num_classes: int = 80
    """Classes of the head."""
    table: int | None = None
    """Print this table of a paper beside what is measured here, instead of the configured model."""
    paper: Paper = Paper.v2
    """Whose table that is: MobileNetV1's, V2's or V3's."""
    passes: int = 15
    """Timed for every latency; the median is what counts."""
    sweep: bool = False
    """Measure the backbone as a classifier at all `widths` and `sizes` too, and plot that."""
    widths: list[float] = field(default_factory=lambda: [0.35, 0.5, 0.75, 1.0, 1.3, 1.4])
    networks: list[str] = field(default_factory=list)
    """Other backbones that `sweep` measures too, and draws beside by what was published for them."""
    sizes: list[int] = field(default_factory=lambda: [96, 128, 160, 192, 224])
    """Sides of the image in pixels."""

    def __post_init__(self) -> None:
        for name in ("num_classes", "passes"):
            if getattr(self, name) < 1:
                raise InputError(f"profile.{name}={getattr(self, name)}: must be at least 1")
        if self.table is not None and self.table not in PAPER_TABLES[self.paper]:
            allowed = ", ".join(str(number) for number in PAPER_TABLES[self.paper])
            raise InputError(
                f"profile.table={self.table}: must be one of {allowed} for profile.paper={self.paper.value}, or null"
            )
        given = f"profile.networks=[{', '.join(self.networks)}]"
        if unknown := [name for name in self.networks if name not in NETWORKS]:
            raise InputError(f"{given}: {unknown[0]} is none of {', '.join(NETWORKS)}")
        if self.networks and not self.sweep:
            raise InputError(f"{given}: is for profile.sweep=true; say that, too")
        if not self.widths or not all(width >= MIN_WIDTH for width in self.widths):
            raise InputError(f"profile.widths={list(self.widths)}: must be one or more, each at least {MIN_WIDTH}")
        if not self.sizes or not all(size >= MIN_PROFILED_SIZE for size in self.sizes):
            raise InputError(
                f"profile.sizes={list(self.sizes)}: must be one or more, each at least {MIN_PROFILED_SIZE}"
            )
