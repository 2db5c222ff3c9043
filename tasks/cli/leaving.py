"""How a command ends that did not come to its end: one line for what the user can mend, a traceback for the rest."""

from __future__ import annotations

import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from backbone.errors import InputError
from tasks.cli.explain import explain
from tasks.distributed.starter import tell_reason
from tasks.distributed.world import PeerLostError, speaks

if TYPE_CHECKING:
    from collections.abc import Iterator


BAD_INPUT = 2


FAILED = 1


INTERRUPTED = 130


@contextmanager
def _errors_explained() -> Iterator[None]:
    """One line for what the user can mend, a traceback for the rest."""
    try:
        yield
    except KeyboardInterrupt:
        _exit("interrupted", INTERRUPTED)
    except PeerLostError as error:
        _exit(str(error), FAILED)
    except Exception as error:
        message = str(error) if isinstance(error, InputError) else explain(error, sys.argv[1:])
        if message is None:
            if speaks():
                traceback.print_exc()
            message = "this is a fault of Trident's, not of yours; please report it with the lines above"
            _exit(message, FAILED, f"{type(error).__name__}: {error}")
        else:
            _exit(message, BAD_INPUT)


class CommandFailed(SystemExit):
    """The end of a command that did not come to its end."""


def hint(message: str) -> None:
    """Say something about the command, before it runs."""
    if speaks():
        sys.stderr.write(f"trident: {one_line(message)}\n")


def _exit(message: str, code: int, reason: str = "") -> NoReturn:
    if speaks():
        sys.stdout.flush()
        sys.stderr.write(f"trident: {one_line(message)}\n")
        tell_reason(one_line(reason or message))
    raise CommandFailed(code)


def one_line(message: str) -> str:
    """A message without what a terminal takes for more than text; parts of it may come from files and their names."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in message)
