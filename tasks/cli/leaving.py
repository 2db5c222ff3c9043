"""How a command ends that did not come to its end: one line for what the user can mend, a traceback for the rest."""

from __future__ import annotations

import errno
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


SHOWN = 200
"""Letters of a file's name that a message shows."""
LONGEST = 1200
"""Letters of a message."""


ELSEWHERE = "name another place"
OF_THE_MACHINE = {
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "it is a link to itself; remove the link",
    errno.ENOTDIR: ELSEWHERE,
    errno.EACCES: "change its rights, or name another place",
    errno.EPERM: "change its rights, or name another place",
    errno.EROFS: ELSEWHERE,
    errno.EIO: "the disk or its connection fails",
    errno.ENOSPC: "make room there and start the same command again",
    errno.EDQUOT: "make room there and start the same command again",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or lower data.workers",
}
"""What a user can do about an error of the operating system."""


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
        is_input = isinstance(error, InputError)
        message = str(error) if is_input else _of_the_machine(error) or explain(error, sys.argv[1:])
        if message is None:
            if speaks():
                traceback.print_exc()
            message = "this is a fault of Trident's, not of yours; please report it with the lines above"
            _exit(message, FAILED, f"{type(error).__name__}: {error}")
        else:
            _exit(message, BAD_INPUT)


def _of_the_machine(error: Exception) -> str | None:
    """What a file system or the memory refuses, wherever that shows; None where it is something else."""
    if isinstance(error, MemoryError):
        return "the memory is full; use smaller images or batches, fewer data workers, or a larger machine"
    if not isinstance(error, OSError) or error.errno not in OF_THE_MACHINE or error.filename is None:
        return None
    return f"{str(error.filename)[:SHOWN]}: {error.strerror}; {OF_THE_MACHINE[error.errno]}"


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
    """A message without what a terminal takes for more than text, and without the middle of what no one reads.

    Parts of it may come from words, files and their names.
    """
    if len(message) > LONGEST:
        message = f"{message[: LONGEST // 2]} .. {message[-LONGEST // 2 :]}"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in message)
