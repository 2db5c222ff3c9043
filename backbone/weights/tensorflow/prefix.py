"""Which files a checkpoint of TensorFlow is. Standard library only."""

from __future__ import annotations

from pathlib import Path

INDEX = ".index"


def checkpoint_prefix(source: str) -> str | None:
    """Prefix of the files of a checkpoint that `source` names: itself, its index, a shard, or a SavedModel's folder."""
    path = Path(source)
    if (path / "saved_model.pb").is_file() or (path / "variables" / f"variables{INDEX}").is_file():
        return str(path / "variables" / "variables")
    if path.name == "saved_model.pb":
        return str(path.parent / "variables" / "variables")
    if source.endswith(INDEX):
        return source.removesuffix(INDEX)
    prefix, data, _ = source.rpartition(".data-")
    if data:
        return prefix
    return source if Path(f"{source}{INDEX}").is_file() else None
