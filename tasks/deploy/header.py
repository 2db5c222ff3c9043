"""What an exported file says of itself, in the file. Imports nothing heavy: it is read before a runtime is loaded.

An ONNX file has it in its `metadata_props`. The other formats have no place for texts, but readers of all of them stop
at the end that the file's own table names: there a ZIP archive with the header is appended, as TensorFlow Lite's
metadata tools do.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from backbone.errors import InputError
from backbone.wire import wire_fields
from tasks.checkpoints.model_file import check_label_maps, check_tables, is_file
from tasks.config.renamed import new_option, renamed

FORMAT = "trident-export-1"
ENTRY = "trident.json"
MAX_BYTES = 10_000_000
"""Largest size of a header."""
MIDDLE = 128
"""The grey level that 8-bit graphs take for zero."""
METADATA_PROPS = 14
"""Number of `ModelProto.metadata_props` in onnx.proto; `key` and `value` of an entry are 1 and 2."""
MAX_SIZE = 8192
"""Side of an input in pixels that a header may name."""


@dataclass(slots=True, kw_only=True)
class ArtifactHeader:
    """Everything that is needed to use the file, as plain data.

    Attributes:
        runtime: onnx, executorch or litert.
        precision: fp32, fp16 or int8.
        size: side in pixels of the square input, which is (1, size, size, 3) uint8 RGB; scaling is inside.
        padding: RGB grey levels for what of the input is no image.
        heads: by name: `kind`, `outputs` (names of what comes out, in order) and `settings` of the post-processing.
        labels: by head: `names` of the classes, and the data set's `ids` of them.
        config, choices: of the run, resolved: how images were looked at is in `config["transform"]`.
        provenance: versions, where the weights came from, and their licence as far as it is known.
        calibration: of int8: how many images, and which.
    """

    runtime: str
    precision: str
    size: int
    padding: list[int]
    heads: dict[str, Any]
    labels: dict[str, Any]
    config: dict[str, Any]
    choices: dict[str, str]
    provenance: dict[str, Any]
    calibration: dict[str, Any] | None = None

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT} | asdict(self))


def appended(content: bytes, header: ArtifactHeader) -> bytes:
    """A model without a place for texts, with a header behind it."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(ENTRY, header.to_json())
    return file.getvalue()


def read_artifact(path: str) -> ArtifactHeader:
    """The header of an exported file.

    Raises:
        InputError: no such file, damaged, or not one of ours.
    """
    file = Path(path)
    if not is_file(file):
        raise InputError(f"artifact={path}: no such file; give a file that mode=export wrote")
    try:
        text = _text_of(file)
    except (ValueError, zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"artifact={path}: is damaged or cut short ({error}); export it again") from error
    if text is None:
        raise InputError(
            f"artifact={path}: says nothing of itself: it was not written by mode=export, or is cut short; export it"
            " with mode=export"
        )
    try:
        plain = json.loads(text)
        version = plain.pop("format")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"artifact={path}: its header is damaged ({error}); export it again") from error
    if version != FORMAT:
        raise InputError(f"artifact={path}: has format {version}; this version reads {FORMAT}")
    known = {field.name for field in fields(ArtifactHeader)}
    if set(plain) != known:
        wrong = ", ".join(sorted(known ^ set(plain)))
        raise InputError(f"artifact={path}: its header does not fit, in {wrong}; export it again")
    _check(f"artifact={path}", plain)
    plain["config"] = renamed(plain["config"])
    plain["choices"] = {group: new_option(group, option) for group, option in plain["choices"].items()}
    header = ArtifactHeader(**plain)
    if set(header.labels) != set(header.heads):
        raise InputError(
            f"artifact={path}: its header does not fit: heads {', '.join(header.heads)}, labels of"
            f" {', '.join(header.labels)}; export it again"
        )
    check_label_maps(f"artifact={path}", header.labels)
    return header


def _check(what: str, plain: dict[str, Any]) -> None:
    """That every part of a header is of its type, and a size that an input can have.

    Raises:
        InputError: one is not.
    """
    check_tables(what, {name: plain[name] for name in ("heads", "labels", "config", "choices", "provenance")})
    size, padding = plain["size"], plain["padding"]
    wrong = [name for name in ("runtime", "precision") if not isinstance(plain[name], str)]
    if not (_is_whole(size) and 1 <= size <= MAX_SIZE):
        wrong.append("size")
    if not (isinstance(padding, list) and len(padding) == 3 and all(_is_whole(p) and 0 <= p <= 255 for p in padding)):
        wrong.append("padding")
    if wrong:
        raise InputError(f"{what}: its header does not fit, in {', '.join(wrong)}; export it again")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text_of(file: Path) -> str | None:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if ENTRY not in archive.namelist():
                return None
            with archive.open(ENTRY) as packed:
                content = packed.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise ValueError(f"its header has more than {MAX_BYTES} bytes")
            return content.decode()
    if file.suffix != ".onnx":
        return None
    for number, entry in wire_fields(file.read_bytes()):
        if number == METADATA_PROPS and isinstance(entry, bytes):
            pair = dict(wire_fields(entry))
            text = pair.get(2, b"")
            if pair.get(1) == ENTRY.encode() and isinstance(text, bytes):
                return text.decode()
    return None
