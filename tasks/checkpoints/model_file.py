"""A run's `model.safetensors`: the weights, and in the header all that is needed to use them.

The header's keys, each a text: `format`, `config` (the whole configuration, resolved, as JSON), `choices` (which option
of every configuration group), `labels` (label map by head), `provenance` (versions, git hash, pretraining), as JSON;
and the checksum of `backbone.tensor_file`, so that a flipped bit is an error.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.disk import whole_file
from backbone.errors import InputError
from backbone.tensor_file import CHECKSUM, UNSEALED, read_tensor_file, seal
from tasks.config.renamed import new_option, renamed
from tasks.data.labels import LabelMap
from tasks.runs.provenance import provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor, nn

    from tasks.config.run import Command
    from tasks.model import VisionModel

FORMAT = "trident-1"
OBJECT_SIDE = "object_side_px"
"""Key of `provenance`: side of the training objects' middle one by size, in pixels of its image."""
CALIBRATION = "calibration"
"""Key of `provenance`: by head, the temperature that its logits were divided by, and the calibration error on the
validation images before and after."""
GROUPS = ("task", "backbone", "head", "transform", "data")
"""Configuration groups whose option a checkpoint and an exported file remember; data last."""


@dataclass(slots=True)
class Header:
    """What a checkpoint says of itself, as plain data."""

    config: dict[str, Any]
    choices: dict[str, str]
    labels: dict[str, Any]
    provenance: dict[str, Any]


def is_foreign(source: str) -> bool:
    """Whether a checkpoint is not of a run of ours: public weights by name, or a file that does not say it is one."""
    if ":" in source:
        from backbone.weights.cache import is_name  # brings torch along

        if is_name(source):
            return True
    path = Path(source)
    if is_file(Path(f"{source}.index")) or is_file(path / "saved_model.pb") or path.suffix == ".index":
        return True  # a checkpoint of TensorFlow, or a SavedModel
    if not is_file(path) or path.suffix != ".safetensors":
        return is_file(path)
    try:
        return not read_tensor_file(path).metadata.get("format", "").startswith("trident")
    except InputError:
        return False  # `read_header` says what is wrong with it


def is_file(path: Path) -> bool:
    """Whether it is a regular file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_header(path: str) -> Header:
    """The header alone, without torch.

    Raises:
        InputError: no such file, damaged, or not one of ours.
    """
    file = Path(path)
    if not is_file(file):
        raise InputError(f"checkpoint={path}: no such file; give the model.safetensors of a run")
    try:
        metadata = read_tensor_file(file).metadata
    except InputError as error:
        raise InputError(f"checkpoint={error}") from None
    version = metadata.get("format")
    if version != FORMAT:
        raise InputError(f"checkpoint={path}: has format {version}; this version reads {FORMAT}")
    try:
        plain = {name: json.loads(metadata[name]) for name in Header.__slots__}
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"checkpoint={path}: its header is incomplete or damaged ({error}); copy it again") from error
    check_tables(f"checkpoint={path}", plain)
    plain["config"] = renamed(plain["config"])
    plain["choices"] = {group: new_option(group, option) for group, option in plain["choices"].items()}
    check_label_maps(f"checkpoint={path}", plain["labels"])
    return Header(**plain)


def check_tables(what: str, parts: Mapping[str, Any]) -> None:
    """That each part of a header is a table.

    Raises:
        InputError: one is not.
    """
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise InputError(f"{what}: its header is damaged: {name} is no table; copy it again")


def check_label_maps(what: str, labels: Mapping[str, Any]) -> None:
    """That the labels of every head are some.

    Raises:
        InputError: they are not.
    """
    for head, plain in labels.items():
        try:
            LabelMap.from_plain(plain if isinstance(plain, dict) else {})
        except InputError as error:
            raise InputError(f"{what}: its header is damaged: head {head}, {error}; copy it again") from error


def save_model(path: Path, model: nn.Module, header: Header) -> None:
    """Write the weights of a model and what is known of them, whole or not at all."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    texts = {"format": FORMAT, CHECKSUM: UNSEALED} | {
        name: json.dumps(getattr(header, name)) for name in Header.__slots__
    }
    with whole_file(path, durable=True) as part:
        save_file(tensors, part, metadata=texts)
        seal(part)


def known_labels(what: str, labels: Mapping[str, Any], heads: Iterable[str]) -> dict[str, LabelMap]:
    """By head, the classes that a file knows.

    Args:
        labels: of its header.

    Raises:
        InputError: it does not tell those of a head.
    """
    missing = [head for head in heads if head not in labels]
    if missing:
        raise InputError(
            f"{what}: its header is damaged: it does not tell the classes of head {missing[0]}; copy it again"
        )
    return {head: LabelMap.from_plain(labels[head]) for head in heads}


def check_labels(source: str, known: LabelMap, wanted: LabelMap) -> None:
    """That weights and data have the same classes in the same order.

    Args:
        source: of the weights, for the message.
    Raises:
        InputError: they have not.
    """
    if known.names != wanted.names:
        extra = [name for name in wanted.names if name not in known.names]
        raise InputError(
            f"{source}: knows {known.num_classes} classes ({', '.join(known.names[:5])} ..), the data has "
            f"{wanted.num_classes}" + (f", among them {extra[0]}, which it does not know" if extra else "")
        )


def read_checkpoint(path: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name.

    Raises:
        InputError: the file is damaged, or a value is NaN or infinite.
    """
    from backbone.weights.files import read_safetensors  # brings torch along

    try:
        tensors, _ = read_safetensors(path)
    except InputError as error:
        raise InputError(f"checkpoint={error}") from None
    spoiled = next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)
    if spoiled is not None:
        raise InputError(
            f"checkpoint={path}: {spoiled} holds NaN or infinite values: its training diverged; use another checkpoint"
        )
    return tensors


def load_into(
    path: str,
    model: VisionModel,
    *,
    left_out: Sequence[str] = (),
    classes: Mapping[str, Sequence[int | None]] | None = None,
) -> None:
    """Every tensor of a checkpoint into a model of the same shape.

    Args:
        left_out: heads of the checkpoint that the model is built without; what only they need may be missing in it.
        classes: by head that has others than the checkpoint: for each of the model's classes its place among those of
            the checkpoint; None: it is new there, and stays as it is in the model.

    Raises:
        InputError: the file is damaged, or a value is not finite; a tensor is missing, too many, or of another shape;
            the message names the first.
    """
    theirs = read_checkpoint(path)
    for name, places in (classes or {}).items():
        head: Any = model.heads[name]
        below = {key.removeprefix(f"heads.{name}."): theirs[key] for key in theirs if key.startswith(f"heads.{name}.")}
        theirs |= {f"heads.{name}.{key}": tensor for key, tensor in head.with_classes(below, places).items()}
    ours = model.state_dict()
    wrong = [name for name in ours if name not in theirs or theirs[name].shape != ours[name].shape]
    for name in [name for name in theirs if name not in ours]:
        if name.startswith((*(f"heads.{head}." for head in left_out), *["backbone."] * bool(left_out))):
            del theirs[name]
        else:
            wrong.append(name)
    if wrong:
        raise InputError(
            f"checkpoint={path}: holds another model: {len(wrong)} tensors do not fit, the first is {wrong[0]}; "
            "leave backbone and head as they are in the checkpoint"
        )
    model.load_state_dict(theirs)


NAMED = ("heads@", "data@")
"""Configuration groups of which there may be several, each remembered by a checkpoint besides `GROUPS`."""


def _header(command: Command, labels: Mapping[str, LabelMap], model: VisionModel) -> Header:
    """What the checkpoint says of itself: the configuration with everything that the weights decided filled in."""
    from backbone.mobilenet import MobileNet

    written = copy.deepcopy(command.written)
    backbone = written["backbone"]
    source = backbone.get("weights") or written.get("checkpoint")
    if isinstance(model.backbone, MobileNet):
        backbone |= {
            "weights": None,
            "padding": model.backbone.padding.name,
            "dilate_first": model.backbone.dilate_first,
            "bn_eps": model.backbone.bn_eps,
            "input_mean": list(model.backbone.input_mean),
            "input_std": list(model.backbone.input_std),
        }
    return Header(
        config=written,
        choices={
            group: choice for group, choice in command.choices.items() if group in GROUPS or group.startswith(NAMED)
        },
        labels={name: labels[name].to_plain() for name in model.heads},
        provenance=provenance(source),
    )
