"""Valid files made hostile, in ways that keep most of their structure. Everything comes from the generator given."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

TEXTS = (
    "", " ", "a", "0", "nan", "-1", "1e400", "None", "true", "../../x", "/etc/passwd", "C:\\x", "a\0b", "\x1b[31mred",
    "a\nb", "\u202egnp", "\udcff", "\ud800", "é" * 50, "A" * 300, "${oc.env:HOME}", "{_target_: os.system}", "=1+1",
    "<script>", "%s%n", "🦉",
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 255, 256, 65536, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e-300,
    1e300, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], {"": {}}, [1, 2, 3, 4], [[0, 0, 1, 1, 2]], {"a": None})


def value(rng: Random) -> Any:
    """Something that is probably not what is expected."""
    return copy.deepcopy(rng.choice(rng.choice((TEXTS, NUMBERS, OTHERS))))


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key or position) of plain data."""
    found: list[tuple[Any, Any]] = []
    waiting = [node]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        found += [(one, key) for key in keys]
        waiting += [one[key] for key in keys]
    return found


def tree(rng: Random, plain: Any, *, most: int = 3) -> Any:
    """Plain data with up to `most` changes: values replaced, removed, renamed, doubled, moved or wrapped."""
    plain = copy.deepcopy(plain)
    for _ in range(rng.randint(0, most)):
        found = places(plain)
        if not found:
            return value(rng)
        node, key = rng.choice(found)
        kind = rng.random()
        if kind < 0.55:
            node[key] = value(rng)
        elif kind < 0.7:
            del node[key]
        elif kind < 0.8:
            other, place = rng.choice(found)
            node[key] = copy.deepcopy(other[place])
        elif kind < 0.88 and isinstance(node, dict):
            node[rng.choice((*TEXTS, "_target_", "x", "id"))] = node.pop(key)
        elif kind < 0.94 and isinstance(node, list):
            node.insert(key, copy.deepcopy(node[key]))
        else:
            node[key] = rng.choice(([node[key]], {"x": node[key]}, str(node[key])))
    return plain


def json_bytes(rng: Random, plain: Any) -> bytes:
    """A JSON text of a changed tree; now and then the text itself is damaged, deep, or in another encoding."""
    text = json.dumps(tree(rng, plain), ensure_ascii=rng.random() < 0.8)
    kind = rng.random()
    if kind < 0.75:
        return text.encode(errors="surrogatepass")
    if kind < 0.8:
        return text.encode(rng.choice(("utf-8-sig", "utf-16", "utf-32", "latin-1", "shift_jis")), errors="replace")
    if kind < 0.83:
        return rng.choice((b"[", b'{"a":')) * rng.choice((100, 2000, 100_000))
    return damaged(rng, text.encode(errors="replace"))


def damaged(rng: Random, data: bytes, *, most: int = 4) -> bytes:
    """Bytes with a few bits, numbers or stretches changed, cut, doubled or moved."""
    content = bytearray(data)
    for _ in range(rng.randint(1, most)):
        if not content:
            return bytes(content)
        place = rng.randrange(len(content))
        kind = rng.random()
        if kind < 0.35:
            content[place] ^= 1 << rng.randrange(8)
        elif kind < 0.5:
            content[place] = rng.choice(b'\0\xff\x7f\x80"[]{}<>0-9\n')
        elif kind < 0.65:
            width = rng.choice((2, 4, 8))
            number = rng.choice((0, 1, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1))
            content[place : place + width] = (number % 256**width).to_bytes(width, rng.choice(("little", "big")))
        elif kind < 0.75:
            del content[place : place + rng.choice((1, 2, 16, 300))]
        elif kind < 0.85:
            length = rng.choice((1, 16, 300))
            content[place:place] = content[place : place + length] * rng.choice((1, 2, 50))
        elif kind < 0.93:
            content[place:place] = rng.randbytes(rng.choice((1, 8, 64)))
        else:
            del content[place:]
    return bytes(content)


def maybe_damaged(rng: Random, data: bytes, share: float = 0.5) -> bytes:
    """The same bytes, or damaged ones with this probability."""
    return damaged(rng, data) if rng.random() < share else data
