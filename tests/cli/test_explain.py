"""Only what is about the words of a command is explained by them."""

from __future__ import annotations

import pytest

from tasks.cli.explain import explain

MISSING = AttributeError("'Tool' object has no attribute 'export'")


def test_a_key_that_was_added() -> None:
    assert explain(MISSING, ["+head.export=1"]) == (
        "+head.export=1: there is no such key; nothing can be added to a typed configuration"
    )


@pytest.mark.parametrize("words", [[], ["mode=export", "export=onnx", "export.precision=int8"], ["+head.other=1"]])
def test_a_fault_inside_a_library_is_no_wrong_key(words: list[str]) -> None:
    assert explain(MISSING, words) is None
