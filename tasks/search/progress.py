"""How far a search has come: the network, its history, and the proposals of the iteration that runs, in a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from backbone.architecture_file import from_plain, to_plain
from backbone.disk import write_whole
from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from backbone.architecture import Architecture


def check_words(path: Path, known: dict[str, Any], words: dict[str, Any]) -> None:
    """See that a search that was begun is the one of the command.

    Raises:
        InputError: it is another.
    """
    for name in words:
        if known.get(name) != words[name]:
            raise InputError(
                f"{path}: belongs to a search with {name}={known.get(name)}, and the command says"
                f" {name}={words[name]}; say another run_dir, or the same words"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One unit with fewer channels, after its short fine-tuning."""

    unit: str
    channels: int
    cost: float
    metric: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration:
    """What an iteration chose; the first is the starting network, of no unit."""

    unit: str
    channels: int
    cost: float
    metric: float


@dataclass(slots=True, kw_only=True)
class Outcome:
    """One of the networks that a search ends with.

    Attributes:
        name: start, searched or uniform, and the latter two from scratch.
        cost: by the table, or in millions of multiply-adds.
        measured_ms: the whole network; None: the budget is of multiply-adds, or of another device.
        metric: on the validation split, after the long fine-tuning.
        metrics: all of them.
    """

    name: str
    cost: float
    measured_ms: float | None
    metric: float
    metrics: dict[str, float | None]


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """Outcomes by name, in order; none where there is no file yet.

    Raises:
        InputError: the file cannot be read.
    """
    if not path.exists():
        return {}
    try:
        return {one["name"]: Outcome(**one) for one in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is damaged ({str(error).splitlines()[0]}); say another run_dir") from error


def write_outcomes(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write what `read_outcomes` reads."""
    write_whole(path, json.dumps([asdict(one) for one in outcomes], indent=2), durable=True)


@dataclass(slots=True, kw_only=True)
class SearchState:
    """Where a search is.

    Attributes:
        path: of the file that it is kept in.
        words: what the search is, as plain data: another one is not gone on with.
        architecture: the current network.
        iterations: chosen so far, the starting network first.
        proposals: of the iteration that runs.
        scale: of the costs (see `ground.Costs`).
    """

    path: Path
    words: dict[str, Any]
    architecture: Architecture
    iterations: list[Iteration] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    scale: float = 1.0

    @classmethod
    def opened(cls, path: Path, words: dict[str, Any], start: Architecture) -> SearchState:
        """What a file holds, or the beginning.

        Raises:
            InputError: it cannot be read, or is of a search with other words.
        """
        if not path.exists():
            return cls(path=path, words=words, architecture=start)
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            known = plain["words"]
            state = cls(
                path=path,
                words=words,
                architecture=from_plain(plain["architecture"]),
                iterations=[Iteration(**one) for one in plain["iterations"]],
                proposals=[Proposal(**one) for one in plain["proposals"]],
                scale=float(plain["scale"]),
            )
        except (OSError, ValueError, KeyError, TypeError, InputError) as error:
            raise InputError(f"{path}: is damaged ({str(error).splitlines()[0]}); say another run_dir") from error
        check_words(path, known, words)
        return state

    def begin(self, *, cost: float, metric: float) -> None:
        """Note the starting network."""
        self.iterations = [Iteration(unit="", channels=0, cost=cost, metric=metric)]
        self.write()

    def add(self, proposal: Proposal) -> None:
        """Note a proposal."""
        self.proposals.append(proposal)
        self.write()

    def advance(self, iteration: Iteration) -> None:
        """Note what was chosen, and begin the next iteration."""
        self.iterations.append(iteration)
        self.proposals = []
        self.write()

    def write(self) -> None:
        plain = {
            "words": self.words,
            "scale": self.scale,
            "architecture": to_plain(self.architecture),
            "iterations": [asdict(one) for one in self.iterations],
            "proposals": [asdict(one) for one in self.proposals],
        }
        write_whole(self.path, json.dumps(plain, indent=1), durable=True)
