"""How mode=pack divides a data set. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from backbone.errors import InputError


@dataclass(kw_only=True, slots=True)
class PackConfig:
    """What a shard holds at most; one image more than fits begins the next."""

    shard_megabytes: float = 256.0
    """Size of a shard in units of 1,000,000 bytes."""
    shard_images: int | None = None
    """null: as many as fit."""
    shuffle: bool = False
    """Write the training images in an order drawn from `seed`, for programs that read shards from end to end. Trident
    draws a new order every epoch anyway, and with the data set's own order trains on shards as on single files."""

    def __post_init__(self) -> None:
        if not self.shard_megabytes > 0:
            raise InputError(f"pack.shard_megabytes={self.shard_megabytes}: must be positive")
        if self.shard_images is not None and self.shard_images < 1:
            raise InputError(f"pack.shard_images={self.shard_images}: must be at least 1, or null for no limit")
