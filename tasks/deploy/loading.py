"""The model that is exported, and what its file will say of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from backbone.errors import InputError
from tasks.build import build_model, labels_of
from tasks.checkpoint import GROUPS, MAX_HEADER, check_labels, is_foreign, left_out, load_into, read_header
from tasks.data.labels import LabelMap
from tasks.data.transform_config import DeepLabTransformConfig
from tasks.deploy.config import Precision
from tasks.deploy.header import ArtifactHeader
from tasks.foreign import load_foreign
from tasks.provenance import provenance

if TYPE_CHECKING:
    from tasks.config import Command, RunConfig
    from tasks.data.splits import DataSplits, JointSplits
    from tasks.model import VisionModel


def fix_size(config: RunConfig, size: int) -> None:
    """Let no image be larger than the input. Those that are looked at whole are shrunk to it, answers are not."""
    if isinstance(config.transform, DeepLabTransformConfig):
        config.transform.max_side = min(size, config.transform.max_side or size)


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
        for name, wanted in labels.items():
            check_labels(f"checkpoint={path}", LabelMap.from_plain(header.labels[name]), wanted)
        model = build_model(config, labels)
        load_into(path, model, left_out=left_out(config, header))
        written, choices = dict(header.config), dict(header.choices)
        made_with = {"trained": header.provenance, "exported": provenance(None)}
    written["transform"] = OmegaConf.to_container(OmegaConf.structured(config.transform), enum_to_str=True)
    if isinstance(written.get("heads"), dict):
        written["heads"] = {name: head for name, head in written["heads"].items() if name in labels}
    made_with["licence"] = config.export.licence or licence_of(path) or "not stated"
    return model, ArtifactHeader(
        runtime=config.export.format.value,
        precision=Precision.fp32.value,
        size=config.transform.image_size,
        padding=padding_of(model),
        heads={},
        labels={name: of_head.to_plain() for name, of_head in labels.items()},
        config=written,
        choices=choices,
        provenance=made_with,
    )


def padding_of(model: VisionModel) -> list[int]:
    """The grey levels that the backbone takes for zero, as near as 8 bits can say."""
    return [round(255 * float(mean)) for mean in model.backbone.input_mean]  # type: ignore[union-attr]


def licence_of(source: str) -> str | None:
    """What the metadata of a safetensors file says of its licence; None if nothing."""
    path = Path(source)
    if not path.is_file() or path.suffix != ".safetensors":
        return None
    with path.open("rb") as content:
        length = int.from_bytes(content.read(8), "little")
        if length > MAX_HEADER:
            return None
        metadata = json.loads(content.read(length)).get("__metadata__", {})
    found: str | None = metadata.get("licence") or metadata.get("license")
    return found


def check_size(what: str, size: int, config: RunConfig) -> None:
    """That a configuration gives images of the size that a file takes.

    Raises:
        InputError: it does not.
    """
    if config.transform.image_size != size:
        raise InputError(
            f"{what}: takes images of {size} x {size} pixels, and the command says"
            f" transform.image_size={config.transform.image_size}; leave it out, or export the model for that size"
        )
