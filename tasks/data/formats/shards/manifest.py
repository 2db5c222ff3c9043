"""`SPLIT.manifest.json` beside the shards of a split: which there are, how large, and what is in them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError
from tasks.data.files.contents import parse_json, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = "trident-shards-1"
SUFFIX = ".manifest.json"
AGAIN = "copy it from where it was written, or write the shards again by mode=pack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file.

    Attributes:
        name: of the file, which lies beside the manifest (or in a folder of its own on another disk).
        samples: that it holds.
    """

    name: str
    bytes: int
    samples: int
    sha256: str


@dataclass(slots=True, kw_only=True)
class Manifest:
    """Contents of a manifest.

    Attributes:
        kind: what the images are labelled for: the task's name.
        labels: `LabelMap.to_plain()`.
        samples: number in all shards, when they are written.
        source: hash of what they are made from, names and sizes of all files and all labels.
        how: the options that divided it.
        complete: whether all shards are written.
    """

    split: str
    kind: str
    labels: dict[str, Any]
    samples: int
    source: str
    how: dict[str, Any]
    complete: bool = False
    shards: list[Shard] = field(default_factory=list)

    def to_plain(self) -> dict[str, Any]:
        """Plain data, for the file."""
        return {"format": FORMAT} | asdict(self)


KINDS: dict[type, dict[str, type]] = {
    Manifest: {"split": str, "kind": str, "labels": dict, "samples": int, "source": str, "how": dict, "complete": bool},
    Shard: {"name": str, "bytes": int, "samples": int, "sha256": str},
}
"""What the parts of a manifest are, of which JSON can say something else."""


def read_manifest(file: Path) -> Manifest:
    """A manifest whose names are plain ones.

    Raises:
        InputError: it is damaged, of another format, or names a file elsewhere.
    """
    text = read_text(file, AGAIN)
    try:
        plain = parse_json(text)
        found = plain.pop("format")
        if found != FORMAT:
            raise InputError(f"{file}: has format {found}; this version reads {FORMAT}: {AGAIN}")
        manifest = Manifest(**plain | {"shards": [Shard(**shard) for shard in plain["shards"]]})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file}: is damaged ({error}); {AGAIN}") from error
    for what in (manifest, *manifest.shards):
        for name, kind in KINDS[type(what)].items():
            if type(getattr(what, name)) is not kind:
                raise InputError(f"{file}: is damaged ({name} is no {kind.__name__}); {AGAIN}")
    for shard in manifest.shards:
        if Path(shard.name).name != shard.name or shard.name in ("", ".", ".."):
            raise InputError(f"{file}: the name {shard.name!r} leads out of its folder; it is not to be trusted")
    return manifest


@dataclass(slots=True)
class Known:
    """What manifests say of the shards of a split.

    Attributes:
        sha256: by the path of the shard, for those that a manifest lists.
        manifests: that list them, by file.
    """

    sha256: dict[Path, str]
    manifests: dict[Path, Manifest]


def compare(root: Path, patterns: Sequence[str], paths: Sequence[Path]) -> Known:
    """See that the shards that were found are those that were written. Shards without a manifest pass.

    Args:
        root: of the data set.
        patterns: that were looked for, relative to it or absolute, without braces.
        paths: that were found.

    Raises:
        InputError: one is missing, has another size or is not listed, or not all were written; or see `read_manifest`.
    """
    known = Known({}, {})
    by_name = {path.name: path for path in paths}
    for file in sorted(
        {file for folder in {root, *(path.parent for path in paths)} for file in folder.glob(f"*{SUFFIX}")}
    ):
        manifest = read_manifest(file)
        listed = [shard.name for shard in manifest.shards]
        fits = any(fnmatch(str(file.parent / name), str(root / pattern)) for name in listed for pattern in patterns)
        if not (fits or by_name.keys() & set(listed)):
            continue  # of another split
        if not manifest.complete:
            written = sum(shard.samples for shard in manifest.shards)
            raise InputError(f"{file}: only {written} of {manifest.samples} images are written; let mode=pack go on")
        known.manifests[file] = manifest
        wanted = [name for name in listed if any(fnmatch(name, Path(pattern).name) for pattern in patterns)]
        missing = [name for name in wanted if name not in by_name]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise InputError(
                f"{file.parent / missing[0]}: this shard{more} is missing; {file.name} lists {len(listed)}: copy again"
            )
        for shard in manifest.shards:
            if shard.name in by_name:
                _check_size(by_name[shard.name], shard)
                known.sha256[by_name[shard.name]] = shard.sha256
    foreign = [path for path in paths if known.manifests and path not in known.sha256]
    if foreign:
        files = ", ".join(str(file) for file in known.manifests)
        raise InputError(f"{foreign[0]}: is no shard that {files} lists; move it away, or name the right ones")
    return known


def _check_size(path: Path, shard: Shard) -> None:
    found = path.stat().st_size
    if found != shard.bytes:
        state = "cut off" if found < shard.bytes else "another file"
        raise InputError(f"{path}: is {state}: it has {found} bytes, its manifest says {shard.bytes}; copy it again")
