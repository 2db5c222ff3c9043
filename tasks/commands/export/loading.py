"""The model that is exported, and what its file will say of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from backbone.tensor_file import read_tensor_file
from tasks.build import build_model, labels_of
from tasks.checkpoints.model_file import (
    GROUPS,
    check_labels,
    is_foreign,
    known_labels,
    left_out,
    load_into,
    read_header,
)
from tasks.checkpoints.public_weights import load_foreign
from tasks.config.export import Precision
from tasks.deploy.header import ArtifactHeader
from tasks.deploy.opening import padding_of
from tasks.runs.provenance import provenance

if TYPE_CHECKING:
    from tasks.config.run import Command, RunConfig
    from tasks.data.splits import DataSplits, JointSplits
    from tasks.model import VisionModel


def load(config: RunConfig, splits: DataSplits | JointSplits, command: Command) -> tuple[VisionModel, ArtifactHeader]:
    """The model of `config.checkpoint`, and the header of a file in fp32 whose heads are not described yet.

    Raises:
        InputError: the checkpoint does not fit.
    """
    path = str(config.checkpoint)
    labels = labels_of(config, splits)
    if is_foreign(path):
        model = load_foreign(config, labels, command.overrides)
        written: dict[str, Any] = dict(command.written)
        choices = {group: command.choices[group] for group in GROUPS if group in command.choices}
        made_with = provenance(path)
    else:
        header = read_header(path)
        for name, known in known_labels(f"checkpoint={path}", header.labels, labels).items():
            check_labels(f"checkpoint={path}", known, labels[name])
        model = build_model(config, labels)
        load_into(path, model, left_out=left_out(config, header))
        written, choices = dict(header.config), dict(header.choices)
        made_with = {"trained": header.provenance, "exported": provenance(None)}
    written["transform"] = OmegaConf.to_container(OmegaConf.structured(config.transform), enum_to_str=True)
    if isinstance(written.get("heads"), dict):
        written["heads"] = {name: head for name, head in written["heads"].items() if name in labels}
    made_with["licence"] = config.export.licence or licence_of(path) or "not stated"
    return model, ArtifactHeader(
        runtime=config.export.format.runtime,
        precision=Precision.fp32.value,
        size=config.transform.image_size,
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
