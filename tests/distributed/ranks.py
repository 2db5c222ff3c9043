"""Several processes of a run, forked from this one: without the seconds that importing torch costs each of them."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.e2e.command import trident

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMIT_S = 120


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


def in_ranks(count: int, work: Callable[..., Any], *given: Any, said: Path | None = None) -> list[Any]:
    """What `work` returned in every process, by rank; each is told what torchrun would tell it.

    Args:
        said: folder for what they print, `0.txt`, `1.txt`, ...
    """
    context = multiprocessing.get_context("fork")
    port = free_port()
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    children = [
        context.Process(target=_child, args=(rank, count, port, pipes[rank][1], said, work, given))
        for rank in range(count)
    ]
    for child in children:
        child.start()
    for _, sending in pipes:
        sending.close()
    try:
        answers: list[Any] = []
        for rank, (receiving, _) in enumerate(pipes):
            if not receiving.poll(LIMIT_S):
                pytest.fail(f"rank {rank} did not answer in {LIMIT_S} s")
            try:
                good, answer = receiving.recv()
            except EOFError:
                children[rank].join()
                good, answer = True, children[rank].exitcode
            assert good, answer
            answers.append(answer)
    finally:
        for child in children:
            child.join(1)
            child.kill()
    return answers


def command(*words: str) -> int:
    """The exit code of the command line, in a process of `in_ranks`."""
    with pytest.MonkeyPatch.context() as patch:
        return trident(patch, *words)


def _child(
    rank: int, count: int, port: int, sending: Any, said: Path | None, work: Callable[..., Any], given: tuple[Any, ...]
) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    torch.set_num_threads(1)
    if said is not None:
        file = (said / f"{rank}.txt").open("w", buffering=1)
        sys.stdout = sys.stderr = file
    try:
        answer: tuple[bool, Any] = True, work(*given)
    except BaseException:
        answer = False, f"rank {rank}:\n{traceback.format_exc()}"
    sending.send(answer)
    sys.stdout.flush()
    os._exit(0)  # what the parent has to do at its end is not this one's
