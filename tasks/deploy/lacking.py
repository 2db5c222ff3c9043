"""One line for an operator that a toolchain or a runtime does not have. Every one of them says it in its own way."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = [
    re.compile(pattern)
    for pattern in (
        r"No ONNX function found for <OpOverload\(op='([\w.:]+)'",  # torch.onnx
        r"No Op registered for (\w+)",  # onnxruntime: unknown
        r"Could not find an implementation for (\w+)",  # onnxruntime: not for these types
        r"Lowering not found: ([\w.:]+)",  # litert-torch
        r"Encountered unresolved custom op: ([^\s.]+)",  # LiteRT
        r"Didn't find op for builtin opcode '(\w+)'",  # LiteRT, older than the file
        r"Missing out variants?(?: for functional op)?: \{?'?([\w.:]+)",  # ExecuTorch, writing
        r"Operator (?:torch\._ops\.)?([\w.]+) is not in Core ATen opset",  # ExecuTorch, writing
        r"Missing operator: \[\d+\] ([\w.:]+)",  # ExecuTorch, loading
    )
]


def lacking(error: BaseException) -> str | None:
    """The operator whose lack an error, or what it came from, is about; None if it is about something else."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        for words in WORDS:
            if found := words.search(str(cause)):
                return found.group(1)
        cause = cause.__cause__ or cause.__context__
    return None


@contextmanager
def operators_named(what: str, runtime: str) -> Iterator[None]:
    """While a model is written: turn the lack of an operator into one line, and let all else pass.

    Args:
        what: the argument that asks for it.
        runtime: that the file is for.
    Raises:
        InputError: the model has an operator that the runtime lacks.
    """
    try:
        yield
    except Exception as error:  # every toolchain has its own kinds
        operator = lacking(error)
        if operator is None:
            raise
        raise InputError(
            f"{what}: the model uses the operator {operator}, which {runtime} lacks; say another export=.., or build"
            " that part of the model without it"
        ) from error
