"""HTML whose text cannot be markup by accident: only `Html` is, everything else is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias


class Html(str):
    """Markup. What comes from outside must never be made one by hand."""

    __slots__ = ()


Child: TypeAlias = str | int | Iterable["Child"] | None
Attribute: TypeAlias = str | float | bool | None

VOID_ELEMENTS = {"img", "meta"}


def tag(element: str, /, *children: Child, **attributes: Attribute) -> Html:
    """An element. Text is escaped, `Html` is kept, None is nothing, other iterables are their members.

    Args:
        attributes: `class_` is class, `data_x` is data-x; None and False leave one out, True gives it no value.
    """
    parts = [element]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        key = name.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{escape(_short(value))}"')
    start = f"<{' '.join(parts)}>"
    return Html(start) if element in VOID_ELEMENTS else Html(f"{start}{join(children)}</{element}>")


def join(children: Child) -> Html:
    """Everything one after the other."""
    if children is None:
        return Html()
    if isinstance(children, Html):
        return children
    if isinstance(children, str | int):
        return Html(escape(str(children)))
    return Html("".join(join(child) for child in children))


def number_of(count: int, plural: str) -> str:
    """`1 image`, `1,234 images`: of words whose plural is the singular and an s."""
    return f"{count:,} {plural.removesuffix('s') if count == 1 else plural}"


def _short(value: str | float) -> str:
    """Coordinates to a hundredth: a drawing needs no more, and a page of curves is half as long."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
