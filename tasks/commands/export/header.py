"""What an exported file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.tensor_file import read_tensor_file
from tasks.checkpoints.model_file import GROUPS, is_foreign, read_header
from tasks.config.export import Precision
from tasks.deploy.header import ArtifactHeader
from tasks.deploy.opening import padding_of
from tasks.runs.provenance import provenance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.config.export import ExportConfig
    from tasks.config.run import Command
    from tasks.data.labels import LabelMap
    from tasks.model import VisionModel


def header_of(
    command: Command, section: ExportConfig, model: VisionModel, labels: Mapping[str, LabelMap], checkpoint: str
) -> ArtifactHeader:
    """The header of a file in fp32 whose heads are not described yet."""
    if is_foreign(checkpoint):
        written: dict[str, Any] = dict(command.written)
        choices = {group: command.choices[group] for group in GROUPS if group in command.choices}
        made_with = provenance(checkpoint)
    else:
        header = read_header(checkpoint)
        written, choices = dict(header.config), dict(header.choices)
        made_with = {"trained": header.provenance, "exported": provenance(None)}
    written["transform"] = command.written["transform"]
    if isinstance(written.get("heads"), dict):
        written["heads"] = {name: head for name, head in written["heads"].items() if name in labels}
    made_with["licence"] = section.licence or licence_of(checkpoint) or "not stated"
    return ArtifactHeader(
        runtime=section.format.runtime,
        precision=Precision.fp32.value,
        size=command.written["transform"]["image_size"],
        padding=padding_of(model),
        heads={},
        labels={name: of_head.to_plain() for name, of_head in labels.items()},
        config=written,
        choices=choices,
        provenance=made_with,
    )


def licence_of(source: str) -> str | None:
    """What the metadata of a safetensors file says of its licence; None if nothing."""
    path = Path(source)
    if not path.is_file() or path.suffix != ".safetensors":
        return None
    metadata = read_tensor_file(path).metadata
    return metadata.get("licence") or metadata.get("license")
