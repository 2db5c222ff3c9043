"""All that was found in a data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.commands.inspect.findings import Finding, is_sound

if TYPE_CHECKING:
    from tasks.commands.inspect.counts import Counts
    from tasks.commands.inspect.coverage import Coverage
    from tasks.commands.inspect.samples import DrawnImage
    from tasks.drawing.boxes import Colour


@dataclass(slots=True)
class Inspection:
    """All that was found.

    Attributes:
        title: task, data and folder in words.
        counts: by split.
        findings: the most serious first.
        coverage: of default boxes; None for other heads.
        samples: training images as the model sees them; `legend` says what the colours of masks mean.
        groups: files of images that look the same.
        interrupted: not all was read.
    """

    title: str
    counts: dict[str, Counts]
    findings: list[Finding]
    coverage: Coverage | None = None
    samples: list[DrawnImage] = field(default_factory=list)
    legend: list[tuple[str, Colour]] = field(default_factory=list)
    groups: list[list[DrawnImage]] = field(default_factory=list)
    interrupted: bool = False

    @property
    def sound(self) -> bool:
        return is_sound(self.findings)

    def plain(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "sound": self.sound,
            "interrupted": self.interrupted,
            "splits": {split: counts.plain() for split, counts in self.counts.items()},
            "findings": [finding.plain() for finding in self.findings],
            "coverage": None if self.coverage is None else self.coverage.plain(),
        }
