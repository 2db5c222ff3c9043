"""Standard output and error that outlive what reads them. Imports nothing heavy.

A command computes and writes files for as long as hours; that its lines find no reader (`| head -1`), no room
(`> /dev/full`) or no letters (an ASCII terminal) does not end it.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

LEFT = (errno.EPIPE, errno.EINVAL)
"""How a reader that has left shows: on POSIX systems, and on Windows."""


class EnduringFile(io.RawIOBase):
    """A file descriptor that is written to until that fails, and passed over from then on.

    Attributes:
        failure: of the first write that failed.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Buffer) -> int:
        block = memoryview(data)
        if self.failure is None:
            try:
                return os.write(self._descriptor, block)
            except BlockingIOError:
                return 0
            except OSError as error:
                self.failure = error
        return len(block)


@contextmanager
def enduring_streams() -> Iterator[list[EnduringFile]]:
    """While this lasts `sys.stdout` and `sys.stderr` raise nothing, and show as escapes what a terminal cannot.

    Streams that are no files, as tests put there, stay what they are.

    Yields:
        What stands for standard output, and for standard error, as far as they are files.
    """
    before, files = (sys.stdout, sys.stderr), []
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # was closed when the process began, as by >&-
            setattr(sys, name, io.TextIOWrapper(io.BytesIO()))
            continue
        raw = getattr(stream.buffer, "raw", stream.buffer) if hasattr(stream, "buffer") else None
        if not isinstance(raw, io.FileIO) or raw.fileno() != descriptor:
            continue
        file = EnduringFile(descriptor)
        files.append(file)
        stream.flush()
        setattr(
            sys,
            name,
            io.TextIOWrapper(
                io.BufferedWriter(file),
                encoding=stream.encoding,
                errors="backslashreplace",
                line_buffering=name == "stderr" or stream.line_buffering,
                write_through=stream.write_through,
            ),
        )
    try:
        yield files
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def lost(files: list[EnduringFile]) -> str | None:
    """Why standard output holds less than was said, in one line; None where all was taken, or its reader left."""
    failed = next((file.failure for file in files if file.fileno() == 1 and file.failure is not None), None)
    if failed is None or failed.errno in LEFT:
        return None
    return f"standard output cannot be written ({failed.strerror}); what was to be read there is lost"
