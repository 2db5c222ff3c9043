"""The one place where a data set's category ids meet the model's class indices."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class LabelMap:
    """Names of the classes, the data set's ids of them, and the contiguous indices 0 .. K-1 that the model uses.

    The index is the position. Background is not a class and never counted.

    Args:
        names: of the classes, each once.
        ids: the data set's own ids in the same order, each once.

    Raises:
        InputError: no class, a repeated name or id, or as many names as ids are not given.
    """

    __slots__ = ("_index", "ids", "names")

    def __init__(self, names: Sequence[str], ids: Sequence[int]) -> None:
        self.names = tuple(names)
        self.ids = tuple(ids)
        if not self.names:
            raise InputError("label map: there is no class; at least one is needed")
        if len(self.names) != len(self.ids):
            raise InputError(f"label map: {len(self.names)} names but {len(self.ids)} ids; give one id for each name")
        for what, values in (("name", self.names), ("id", self.ids)):
            value, count = Counter(values).most_common(1)[0]
            if count > 1:
                raise InputError(f"label map: class {what} {value!r} occurs {count} times; each must occur once")
        broken = next((name for name in self.names if not _is_text(name)), None)
        if broken is not None:
            raise InputError(f"label map: class name {broken!a} is no Unicode text; rename the class")
        self._index = {category: index for index, category in enumerate(self.ids)}

    @classmethod
    def numbered(cls, names: Sequence[str]) -> LabelMap:
        """Map of names alone: ids 1 .. K, as COCO counts."""
        return cls(names, range(1, len(names) + 1))

    @classmethod
    def indexed(cls, names: Sequence[str]) -> LabelMap:
        """Map of names alone: ids 0 .. K-1, as masks hold them."""
        return cls(names, range(len(names)))

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def to_index(self, category_id: int) -> int:
        """Class index of a data set's id; KeyError if there is none."""
        return self._index[category_id]

    def to_id(self, index: int) -> int:
        """The data set's id of a class index; IndexError if there is none."""
        if not 0 <= index < len(self.ids):
            raise IndexError(f"class index {index}: must be in 0 .. {len(self.ids) - 1}")
        return self.ids[index]

    def __contains__(self, category_id: object) -> bool:
        return category_id in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelMap) and (self.names, self.ids) == (other.names, other.ids)

    def __hash__(self) -> int:
        return hash((self.names, self.ids))

    def __repr__(self) -> str:
        return f"LabelMap(names={self.names}, ids={self.ids})"

    def to_plain(self) -> dict[str, Any]:
        """Lists and strings only, for JSON and the headers of checkpoints."""
        return {"names": list(self.names), "ids": list(self.ids)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> LabelMap:
        """The inverse of `to_plain`.

        Raises:
            InputError: a key is missing or holds something else than a list of strings (names) or integers (ids).
        """
        for key, kind in (("names", str), ("ids", int)):
            values = plain.get(key)
            if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
                raise InputError(f"label map: {key}={values!r} must be a list of {kind.__name__}")
        return cls(plain["names"], plain["ids"])


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
