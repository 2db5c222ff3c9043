"""What `--help` and `--help KEY` print. Imports nothing heavy."""

from __future__ import annotations

import shutil
import sys
import textwrap
from difflib import get_close_matches
from typing import TYPE_CHECKING

from backbone.errors import InputError
from conf.keys import keys
from conf.schema import options
from tasks.config.renamed import new_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conf.keys import Key

SCREEN = """\
Trident: MobileNet backbones, pluggable heads.
usage: trident [group=option ...] [key=value ...]

  Train on built-in data        trident task=detection
  Train on COCO                 trident task=detection data=coco data.root=FOLDER
  Train on your own boxes       trident task=detection data=voc data.root=FOLDER
  Classify your own images      trident task=classification data=folder data.root=FOLDER
  Segment PASCAL VOC            trident task=segmentation data=voc data.root=FOLDER
  Evaluate a run                trident mode=evaluate checkpoint=runs/.../model.safetensors
  Predict                       trident mode=predict checkpoint=FILE source=FOLDER
  Try it on your camera         trident mode=demo checkpoint=FILE
  For the browser, the phone    trident mode=export checkpoint=FILE export=web
  What is wrong with your data  trident mode=inspect task=detection data=voc data.root=FOLDER
  What a model costs            trident mode=profile backbone.width=0.5 transform.image_size=320

Groups and their options:
"""
FOOTER = """
  --help KEY     what a key or a group means: --help optim.ema_decay, --help head
  --cfg job      print the whole configuration and stop
  --multirun     run once for each of several values: backbone.width=0.5,1.0
"""
WIDTH = 100
"""Most letters of a line."""


def print_help(words: Sequence[str]) -> None:
    """One screen of what people do; with words, what these keys, sections or groups are.

    Raises:
        InputError: there is no such key.
    """
    if not words:
        groups = [f"  {group + ':':<12} {', '.join(names)}" for group, names in options().items()]
        sys.stdout.write(SCREEN + "\n".join(_wrapped(line, 15) for line in groups) + "\n" + FOOTER)
        return
    for word in words:
        sys.stdout.write(about(word.partition("=")[0].lstrip("+~")) + "\n")


def about(name: str) -> str:
    """What a key is, or all keys of a section or group.

    Raises:
        InputError: there is no such key; the message has the nearest.
    """
    name = new_name(name)
    there = [key for key in keys() if _same(key.name, name)]
    below = [key for key in keys() if _same(key.name, name, below=True)]
    if there and not below:
        return "\n".join(_told(key) for key in there)
    if not below:
        names = {key.name for key in keys()}
        last = [one for one in names if one.rpartition(".")[2] == name.rpartition(".")[2]]
        near = last or get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(sorted(near))}?" if near else "; --help alone lists the groups"
        raise InputError(f"--help {name}: there is no such key{hint}")
    group = options().get(name)
    head = f"{name}=OPTION: {', '.join(group)}\n\n" if group else ""
    return _wrapped(head.rstrip(), 2) + ("\n\n" if head else "") + "\n".join(_told(key) for key in below)


def _same(key: str, asked: str, *, below: bool = False) -> bool:
    """Whether `asked` is a key, or, with `below`, what it lies in. NAME stands for any name."""
    parts, words = key.split("."), asked.split(".")
    if len(parts) <= len(words) if below else len(parts) != len(words):
        return False
    return all(part in (word, "NAME") for part, word in zip(parts, words, strict=False))


def _told(key: Key) -> str:
    lines = [f"{key.name}={key.default if key.default is not None else '?'}    ({key.kind})"]
    if key.options:
        lines.append(f"    of {', '.join(key.options)}")
    if key.meaning:
        lines.append(f"    {key.meaning}")
    return "\n".join(_wrapped(line, 4) for line in lines)


def _wrapped(line: str, indent: int) -> str:
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    return textwrap.fill(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
