"""What mode=demo is told. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from backbone.errors import InputError

MAX_PORT = 65535
MAX_MEGABYTES = 1000


@dataclass(kw_only=True, slots=True)
class DemoConfig:
    """Where mode=demo serves its page, and what it takes from there."""

    host: str = "127.0.0.1"
    """Address that the page is served on; 0.0.0.0: on all of this machine's, for others in its network too."""
    port: int = 8000
    """0: any that is free."""
    max_megabytes: float = 20.0
    """Size of an image file, in millions of bytes."""
    max_megapixels: float = 50.0
    """Pixels of an image, in millions; more than 178 are never read."""

    def __post_init__(self) -> None:
        if not self.host.strip():
            raise InputError("demo.host=: must be an address or a name of this machine, such as 127.0.0.1 or 0.0.0.0")
        if not 0 <= self.port <= MAX_PORT:
            raise InputError(f"demo.port={self.port}: must be 0 .. {MAX_PORT}")
        if not 0 < self.max_megabytes <= MAX_MEGABYTES:
            raise InputError(f"demo.max_megabytes={self.max_megabytes:g}: must be above 0 and at most {MAX_MEGABYTES}")
        if self.max_megapixels <= 0:
            raise InputError(f"demo.max_megapixels={self.max_megapixels:g}: must be above 0")
