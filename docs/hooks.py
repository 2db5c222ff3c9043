"""What is made when the site is built: the page of every key, and the lines of code that pages point at."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parent.parent
INTRODUCTION = """# Every key

Every value is a word on the command line, `key=value`; a group takes an option, `group=option`, and its keys with it.
`trident --help KEY` tells the same. Defaults are the schema's: a task, data set or experiment may set others, and
`trident --cfg job` prints what a command comes to.
"""

PLACE = re.compile(r"\{\{ (\S+\.py) (\w+) \}\}")
"""A file and what is defined in it."""


def on_page_markdown(markdown: str, **others: Any) -> str:
    """The text of a page, with the line of each place."""
    return PLACE.sub(lambda found: f"`{found[1]}`, line {line_of(*found.groups())}", markdown)


def line_of(file: str, name: str) -> int:
    """Line of a class, function or constant.

    Raises:
        LookupError: there is none of this name.
    """
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
        if name in (getattr(node, "name", None), *(getattr(target, "id", None) for target in targets)):
            return node.lineno
    raise LookupError(f"{file}: defines no {name}, which a page of the documentation points at")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    from mkdocs.structure.files import File

    sys.path.insert(0, str(ROOT))
    files.append(File.generated(config, "keys.md", content=page()))
    return files


def page() -> str:
    """In Markdown."""
    from conf.keys import keys

    sections: dict[str, list[Any]] = {}
    for key in keys():
        section, dot, _ = key.name.partition(".")
        sections.setdefault(section if dot else "run", []).append(key)
    parts = [INTRODUCTION]
    for section, found in sections.items():
        parts.append(f"\n## {section}\n")
        for key in found:
            default = "" if key.default is None else f"`={_plain(key.default)}`"
            of = f" Of {', '.join(f'`{option}`' for option in key.options)}." if key.options else ""
            parts.append(f"**`{key.name}`**{default} *{_plain(key.kind)}*.{of} {_plain(key.meaning)}\n")
    return "\n".join(parts)


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|") if "`" not in text else text.replace("<", "&lt;")
