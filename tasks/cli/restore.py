"""The configuration of a run that uses a checkpoint: the checkpoint's own, and on top what the command says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra import compose
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from backbone.config import MobileNetConfig
from backbone.errors import InputError
from tasks.checkpoints.model_file import GROUPS, is_foreign, read_header
from tasks.cli.untrusted import NAME, TARGET, check_choices, check_known, check_ours, lay_over
from tasks.config.heads import nearest
from tasks.config.run import NO_DATA, PREDICTING, Mode, Task
from tasks.data.transforms.config import ImageNetTransformConfig
from tasks.deploy.header import ArtifactHeader, read_artifact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hydra.core.override_parser.types import Override

    from tasks.checkpoints.model_file import Header

SECTIONS = ("backbone", "head", "heads", "transform", "data", "evaluation")
"""Parts of the configuration that a checkpoint brings along."""
FIXED = ("backbone", "head")
"""Groups whose option itself cannot be changed: the weights are of that kind."""
NEW_HEAD = "heads@heads."
MISSING = object()
BUILT_IN = "shapes"
"""Data that is drawn wherever its folder is."""


def with_checkpoint(composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Take the model from the header of `checkpoint` or `artifact`, and its data unless the command names other data.

    Folders and addresses are the command's alone; see `tasks.cli.untrusted` for what a header may say.

    Raises:
        InputError: the command names another task, backbone or head than the checkpoint holds, it is of a version that
            knew other groups or keys, or says what no file may.
    """
    path = str(composed.artifact or composed.checkpoint)
    what = f"checkpoint={path}" if composed.artifact is None else f"artifact={path}"
    said = _said(overrides)
    if composed.artifact is None and "backbone.weights" in said:
        raise InputError(
            f"{what}, {said['backbone.weights'].input_line}: give one of them; a checkpoint has its backbone's weights,"
            " and backbone.weights=FILE starts a training with new heads"
        )
    without_data = composed.mode in PREDICTING and "data" not in said
    if composed.artifact is None and is_foreign(path):
        return _with_public_weights(composed, path, overrides, without_data=without_data)
    header = read_header(path) if composed.artifact is None else read_artifact(path)
    for key, override in said.items():
        if composed.artifact is not None and key.partition(".")[0] in (*FIXED, "heads") and "." in key:
            raise InputError(f"{what}: its backbone and heads are in the file; leave {override.input_line} out")
    check_choices(what, header.choices, GROUPS)
    of_experiment = _experiment(overrides, said)
    groups: dict[str, str] = {}
    for group in GROUPS[:-1] if without_data else GROUPS:
        _check_option(what, group, header.choices, said)
        if group not in said and group not in of_experiment.groups and (option := header.choices[group]) is not None:
            check_known(what, group, option)
            groups[group] = option
    words = [f"{group}={option}" for group, option in groups.items()] + [f"data={NO_DATA}"] * without_data
    config = compose("config", overrides=[*words, *overrides])
    for group, option in groups.items():
        if group != "task":
            check_ours(what, f"{group}={option}", config[group])
    for section in SECTIONS:
        saved = header.config.get(section)
        if saved is None or section in {*said, *of_experiment.groups} or (section == "data" and without_data):
            continue
        _restore(config, section, saved, what, header, said)
        for key, value_there in of_experiment.values.items():
            if key.startswith(f"{section}.") and OmegaConf.select(config, key, default=MISSING) is not MISSING:
                OmegaConf.update(config, key, value_there)
        for key, override in said.items():
            if key.startswith(f"{section}."):
                value: Any = override.value()
                OmegaConf.update(config, key, value)
    if not without_data and "data" not in {*said, *of_experiment.groups}:
        _check_folder(config, header, what, said)
    if isinstance(header, ArtifactHeader) or config.mode is Mode.export:
        if "evaluation.flip" in said and config.evaluation.flip:
            raise InputError("evaluation.flip=true: an exported file is one pass over an image; leave it out")
        config.evaluation.flip = False
    if isinstance(header, ArtifactHeader):
        _fit_artifact(config, header, what)
    if config.mode in (*PREDICTING, Mode.train) and config.predict.classes is not None:
        raise InputError(
            f"predict.classes={list(config.predict.classes)}: {what} knows the names of its classes; leave it out"
        )
    return config


@dataclass(frozen=True, slots=True)
class _Experiment:
    """What `experiment=NAME` changes: data, and values of the sections that a checkpoint has, by their full key."""

    groups: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


def _experiment(overrides: Sequence[str], said: Mapping[str, Override]) -> _Experiment:
    """Compare the configuration with that of the same words without the experiment."""
    if "experiment" not in said:
        return _Experiment()
    others = [word for word in overrides if word.partition("=")[0] != "experiment"]
    with_it = compose("config", overrides=list(overrides), return_hydra_config=True)
    chosen = [str(said[group].input_line) for group in GROUPS if group in said]
    plain = compose("config", overrides=chosen, return_hydra_config=True).hydra.runtime.choices
    options = {group: option for group, option in with_it.hydra.runtime.choices.items() if group in GROUPS}
    alike = [f"{group}={option}" for group, option in options.items() if group not in said and option is not None]
    without = compose("config", overrides=[*alike, *others])
    masked = [OmegaConf.masked_copy(one, [*SECTIONS]) for one in (with_it, without)]
    theirs, before = (_leaves(OmegaConf.to_container(one)) for one in masked)
    values = {key: value for key, value in theirs.items() if before.get(key, MISSING) != value}
    groups = tuple(group for group in ("data",) if options.get(group) != plain.get(group))
    return _Experiment(groups, values)


def _leaves(node: Any, where: str = "") -> dict[str, Any]:
    """Values of plain data by their full key; lists are values."""
    if not isinstance(node, dict):
        return {where: node}
    below = [_leaves(value, f"{where}.{name}" if where else str(name)) for name, value in node.items()]
    return {key: leaf for leaves in below for key, leaf in leaves.items()}


def _said(overrides: Sequence[str]) -> dict[str, Override]:
    """The command's words by their key, such as `data`, `data.root` or `heads@heads.objects`."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {override.get_key_element().lstrip("+~"): override for override in parsed}


def _with_public_weights(
    composed: DictConfig, path: str, overrides: Sequence[str], *, without_data: bool
) -> DictConfig:
    """With the backbone's weights, and with images looked at as their authors did, unless the command says how.

    Raises:
        InputError: the backbone is another's, or the weights cannot be read.
    """
    config = compose("config", overrides=[f"data={NO_DATA}", *overrides]) if without_data else composed
    OmegaConf.to_object(config)  # what is wrong with it is said before torch is loaded
    kind = OmegaConf.get_type(config.backbone)
    if kind is None or not issubclass(kind, MobileNetConfig):
        raise InputError(f"checkpoint={path}: public weights need a MobileNet")
    config.backbone.weights = path
    said = _said(overrides)
    says_how = any(key.startswith("transform.") for key in said)
    if OmegaConf.get_type(config.transform) is ImageNetTransformConfig and says_how:
        return config
    if config.task not in (Task.classification, Task.detection, Task.segmentation):
        return config
    from tasks.checkpoints.public_weights import as_trained  # brings torch along

    for section, options in as_trained(path, config.task.value, learns=composed.mode is Mode.train).items():
        for key, value in options.items():
            if f"{section}.{key}" not in said and key in config[section]:
                config[section][key] = value
    return config


def _restore(
    config: DictConfig,
    section: str,
    saved: Any,
    what: str,
    header: Header | ArtifactHeader,
    said: Mapping[str, Override],
) -> None:
    """Put a section of a header on that of the configuration.

    Raises:
        InputError: it does not fit.
    """
    try:
        if not isinstance(saved, dict):
            raise InputError(f"{what}: its header is damaged: {section} is no mapping of keys to values")
        if section == "heads":
            chosen = _chosen(what, saved, config.only)
            for key in said:
                name = key.removeprefix(NEW_HEAD)
                if key.startswith(NEW_HEAD) and name not in chosen:
                    raise InputError(
                        f"{key}: {what} has no head {name}, it has {', '.join(saved)}; heads of several runs are joined"
                        " by backbone.weights=FILE and heads.NAME.weights=FILE, without checkpoint"
                    )
            config.heads = {name: _head(name, chosen[name], config, what, header, said) for name in chosen}
            return
        if section == "data" and saved.get("parts"):
            _refuse_parts(what, saved["parts"], header)
        if section == "data" and isinstance(config.data, DictConfig) and TARGET in config.data:
            return  # somebody else's: which of its keys name folders is not known here
        if not isinstance(config[section], DictConfig):
            raise InputError(f"{what}: its header is damaged: it has {section} values, and no option of {section}")
        lay_over(config[section], saved, what, section)
    except OmegaConfBaseException as error:
        raise InputError(
            f"{what}: {error.full_key or section} does not fit this version ({str(error).splitlines()[0]}), so another"
            " one wrote it; use that version, or train again"
        ) from error


def _check_option(what: str, group: str, choices: Mapping[str, Any], said: Mapping[str, Override]) -> None:
    """That it is known with which option of a configuration group a checkpoint was made.

    Raises:
        InputError: it is not, or the command names another one where that cannot be.
    """
    if group not in choices:
        if group not in said:
            raise InputError(
                f"{what}: does not tell which {group} it was made with, so another version wrote it; say {group}=OPTION"
                " as then"
            )
    elif group in ("task", *FIXED) and group in said and said[group].value() != choices[group]:
        raise InputError(
            f"{what}: holds {group}={choices[group]}, but the command says {group}={said[group].value()}; leave it out"
        )


def _check_folder(config: DictConfig, header: Header | ArtifactHeader, what: str, said: Mapping[str, Override]) -> None:
    """That the command names the folder of data which has one.

    Raises:
        InputError: it does not.
    """
    choice, data = header.choices["data"], header.config.get("data")
    if choice != BUILT_IN and isinstance(data, dict) and data.get("root") is not None and "data.root" not in said:
        raise InputError(
            f"{what}: was made with data={choice} in a folder, and a file chooses no folder; say data.root=FOLDER"
        )


def _refuse_parts(what: str, parts: Any, header: Header | ArtifactHeader) -> None:
    """Several data sets have several folders: the command names them all.

    Raises:
        InputError: always.
    """
    names = [name for name in parts if isinstance(name, str) and NAME.fullmatch(name)]
    words = [
        f"+{key}={header.choices.get(key) or 'OPTION'} data.parts.{name}.root=FOLDER"
        for name in names
        for key in [f"data@data.parts.{name}"]
    ]
    raise InputError(
        f"{what}: was made with data=mixed in folders, and a file chooses no folder; say data=mixed {' '.join(words)}"
    )


def _fit_artifact(config: DictConfig, header: ArtifactHeader, what: str) -> None:
    """Images of the size that the file takes, and the device that its runtime uses.

    Raises:
        InputError: the command says another size.
    """
    if config.transform.image_size != header.size:
        raise InputError(
            f"{what}: takes images of {header.size} x {header.size} pixels, and the command says"
            f" transform.image_size={config.transform.image_size}; leave it out, or export the model for that size"
        )
    if config.evaluation.multi_scale:
        raise InputError(f"{what}: takes images of one size; leave evaluation.multi_scale out")
    config.trainer.accelerator = "cpu"
    config.trainer.precision = "32-true"


def _chosen(what: str, saved: dict[str, Any], only: Sequence[str] | None) -> dict[str, Any]:
    """The heads of a checkpoint that are used.

    Raises:
        InputError: it has none of a name in `only`, or that is empty.
    """
    wanted = list(saved if only is None else only)
    there = f"it has {', '.join(saved)}"
    if not wanted:
        raise InputError(f"only=[]: names no head of {what}; {there}")
    for name in wanted:
        if name not in saved:
            raise InputError(f"only=[{', '.join(wanted)}]: {what} has no {name}, {there}{nearest(name, saved)}")
    return {name: saved[name] for name in saved if name in wanted}


def _head(
    name: str,
    saved: Any,
    config: DictConfig,
    what: str,
    header: Header | ArtifactHeader,
    said: Mapping[str, Override],
) -> DictConfig:
    """One of several heads as a checkpoint holds it, typed by the option that it was made from.

    Raises:
        InputError: that is not one of Trident's own, and the command does not name it.
    """
    key = f"heads@heads.{name}"
    option = ConfigStore.instance().repo["heads"].get(f"{header.choices.get(key)}.yaml")
    if not NAME.fullmatch(name) or not isinstance(saved, dict) or (option is None and key not in said):
        raise InputError(f"{what}: its header is damaged: of heads.{name} it does not tell a known kind ({key})")
    node: DictConfig = config.heads[name] if key in said else OmegaConf.create(option.node)
    if isinstance(saved.get("head"), dict) and not isinstance(node._get_node("head"), DictConfig):
        raise InputError(
            f"{what}: heads.{name}.head may be somebody else's code, and a file may not start it; plug it in by"
            f" +{key}=any +head@heads.{name}.head=OPTION, or leave it out by only=[..]"
        )
    lay_over(node, saved, what, f"heads.{name}")
    return node
