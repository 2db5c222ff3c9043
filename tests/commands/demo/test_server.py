"""The server of mode=demo, whoever asks. http.client is the visitor who behaves; the others speak to the socket."""

from __future__ import annotations

import gzip
import json
import random
import socket
import threading
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from backbone.errors import InputError
from tasks.commands.demo import server as module
from tasks.commands.demo.server import AT_ONCE, DemoServer, ServedFile, check_address
from tasks.config.demo import DemoConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 1000
PAGE = ServedFile("text/html", b"<p>page</p>")
HOST = b"Host: 127.0.0.1\r\n"


def answer(data: bytes) -> Any:
    """In place of a model."""
    if data == b"bad":
        raise InputError("is no image")
    if data == b"fault":
        raise RuntimeError("ours")
    return {"bytes": len(data), "of": data.decode("latin1") * 100}


@pytest.fixture
def served() -> Iterator[DemoServer]:
    with DemoServer("127.0.0.1", 0, {"/": PAGE, "/model.json": PAGE}, answer, MOST) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asked(served: DemoServer, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    visitor = HTTPConnection("127.0.0.1", served.server_port, timeout=10)
    visitor.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = visitor.getresponse()
    content = response.read()
    visitor.close()
    return response.status, content


def sent(served: DemoServer, *parts: bytes, wait: float = 0.0, end: bool = True) -> bytes:
    """What comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", served.server_port), timeout=10) as visitor:
        try:
            for part in parts:
                visitor.sendall(part)
                time.sleep(wait)
            if end:
                visitor.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: visitor.recv(65536), b""))
        except (ConnectionResetError, BrokenPipeError):
            return b""


def is_alive(served: DemoServer) -> bool:
    status, content = asked(served, "POST", "/predict", b"an image", Content_Type="image/jpeg")
    return status == 200 and json.loads(content)["bytes"] == len(b"an image")


def test_files_and_answers(served: DemoServer) -> None:
    assert asked(served, "GET", "/") == (200, PAGE.content)
    assert asked(served, "GET", "/model.json?v=1") == (200, PAGE.content)
    assert asked(served, "HEAD", "/") == (200, b"")
    assert is_alive(served)
    status, packed = asked(served, "POST", "/predict", b"x" * 900, Accept_Encoding="gzip")
    assert (status, json.loads(gzip.decompress(packed))["bytes"]) == (200, 900)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/predict", None, {}, 404),
        ("GET", "/../../etc/passwd", None, {}, 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", None, {}, 404),
        ("GET", "//etc/passwd", None, {}, 404),
        ("POST", "/", b"x", {}, 404),
        ("PUT", "/predict", b"x", {}, 501),
        ("OPTIONS", "/predict", None, {"Origin": "http://other.example"}, 501),
        ("POST", "/predict", b"bad", {}, 422),
        ("POST", "/predict", b"fault", {}, 500),
        ("POST", "/predict", b"x" * (MOST + 1), {}, 413),
        ("POST", "/predict", b"x" * 5_000_000, {}, 413),
        ("POST", "/predict", b"x", {"Content_Type": "text/plain"}, 415),
        ("POST", "/predict", b"x", {"Content_Length": "-1"}, 400),
        ("POST", "/predict", b"x", {"Content_Length": "٣"}, 400),
        ("POST", "/predict", b"x", {"Content_Length": "9" * 400}, 413),
        ("POST", "/predict", b"1\r\nx\r\n0\r\n\r\n", {"Transfer_Encoding": "chunked"}, 411),
        ("GET", "/", None, {"Host": "rebound.example"}, 421),
        ("GET", "/", None, {"Host": "127.0.0.1.rebound.example:80"}, 421),
        ("GET", "/", None, {"Host": "[::1]:80"}, 200),
        ("GET", "/", None, {"Host": "LOCALHOST.:80"}, 200),
        ("POST", "/predict", b"x", {"Origin": "http://other.example"}, 403),
        ("POST", "/predict", b"x", {"Origin": "null"}, 403),
        ("POST", "/predict", b"x", {"Origin": "http://[", "Content_Type": "image/png"}, 403),
        ("POST", "/predict", b"x", {"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
    ],
)
def test_every_visitor_is_told(
    served: DemoServer, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    told = {name: value.encode() if not value.isascii() else value for name, value in headers.items()}
    found, content = asked(served, method, path, body, **told)  # type: ignore[arg-type]
    assert found == status, content
    assert b"Traceback" not in content
    assert is_alive(served)


def test_a_request_that_is_cut_or_slow_ends(served: DemoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\n"
    assert sent(served, begun, b"half").startswith(b"HTTP/1.1 400")
    assert b"cut short" in sent(served, begun, b"half")
    monkeypatch.setattr(module, "RECEIVE_S", 0.3)
    start = time.monotonic()
    drops = [b"x"] * 8
    assert sent(served, begun, *drops, wait=0.1, end=False).startswith(b"HTTP/1.1 408")
    sent(served, b"GET / HT", *drops, wait=0.1, end=False)  # closed without a word
    sent(served, end=False)
    assert time.monotonic() - start < 8
    assert is_alive(served)


def test_more_than_it_can_take_is_not_its_end(served: DemoServer) -> None:
    crowd = [socket.create_connection(("127.0.0.1", served.server_port)) for _ in range(AT_ONCE + 10)]
    time.sleep(0.2)
    for visitor in crowd:
        visitor.close()
    time.sleep(0.2)
    assert is_alive(served)
    assert sent(served, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n").startswith(b"HTTP/1.1 431")
    assert sent(served, b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 414")
    assert sent(served, b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n").startswith(b"HTTP/1.1 421")
    assert sent(served, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 421")
    assert is_alive(served)


def test_bytes_at_random(served: DemoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests with some of their bytes changed, left out or doubled are answered in HTTP or not at all."""
    monkeypatch.setattr(module, "RECEIVE_S", 0.2)
    monkeypatch.setattr(module, "LINGER_S", 0.05)
    whole = b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Type: image/png\r\nContent-Length: 4\r\n\r\nbody"
    rng = random.Random(0)
    for _ in range(300):
        request = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(request))
            match rng.randrange(3):
                case 0:
                    request[place] = rng.randrange(256)
                case 1:
                    del request[place : place + rng.randint(1, 9)]
                case _:
                    request[place:place] = request[: rng.randint(1, 40)]
        back = sent(served, bytes(request))
        assert back == b"" or back.startswith(b"HTTP/1.1 "), back
    assert is_alive(served)


def test_an_address_that_cannot_be_had_is_named(served: DemoServer) -> None:
    with pytest.raises(InputError, match=rf"demo\.port={served.server_port}: cannot be served on .* demo\.port=0"):
        check_address("127.0.0.1", served.server_port)
    with pytest.raises(InputError, match=rf"demo\.port={served.server_port}: cannot be served on"):
        DemoServer("127.0.0.1", served.server_port, {}, answer, MOST)
    with pytest.raises(InputError, match=r"demo\.host=no host: is no address of this machine"):
        check_address("no host", 0)
    check_address("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"host": " "}, r"demo\.host=: must be an address"),
        ({"port": 65536}, r"demo\.port=65536: must be 0 \.\. 65535"),
        ({"max_megabytes": 0.0}, r"demo\.max_megabytes=0: must be above 0 and at most 1000"),
        ({"max_megapixels": -1.0}, r"demo\.max_megapixels=-1: must be above 0"),
    ],
)
def test_limits_are_checked(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DemoConfig(**values)
