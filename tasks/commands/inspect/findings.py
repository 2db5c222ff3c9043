"""What is said about a data set, most serious first."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.data.faults import Fault


class Severity(Enum):
    """How much it matters.

    `error`: training would end, or its figures would be wrong. `warning`: it would be worse. `note`: worth knowing.
    """

    error = "error"
    warning = "warning"
    note = "note"


ORDER = list(Severity)


@dataclass(slots=True)
class Finding:
    """One kind of thing, however often it occurs.

    Attributes:
        kind: a few words.
        text: names the file, what is wrong or remarkable, and what to do.
        cases: every case by name; empty where the whole split is meant.
        split: "train", "val" or "test"; empty where it is not about one.
    """

    severity: Severity
    kind: str
    text: str
    cases: list[str] = field(default_factory=list)
    split: str = ""

    @property
    def count(self) -> int:
        return max(1, len(self.cases))

    def plain(self) -> dict[str, Any]:
        return asdict(self) | {"severity": self.severity.value, "count": self.count}


def from_faults(faults: Iterable[Fault]) -> list[Finding]:
    """What the readers said while the annotations were read."""
    return [
        Finding(Severity.error if fault.serious else Severity.warning, fault.kind, fault.text, fault.cases)
        for fault in faults
    ]


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """By severity, then as they were found."""
    return sorted(findings, key=lambda finding: ORDER.index(finding.severity))


def is_sound(findings: Iterable[Finding]) -> bool:
    """Whether there is no error among them."""
    return all(finding.severity is not Severity.error for finding in findings)
