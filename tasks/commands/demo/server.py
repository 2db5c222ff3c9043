"""The web server of mode=demo: a few files and one question, `POST /predict` with an image file as the body.

It expects visitors of any kind. What it serves is in memory by name, so that no path leads anywhere. Every request
has a time and a size to come in, there are few at once, and one thread computes. A page of another site may neither
ask (`Origin`) nor pretend that its own name is this machine's (`Host`).
"""

from __future__ import annotations

import gzip
import io
import ipaddress
import json
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import BoundedSemaphore
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from backbone.errors import InputError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

ASK = "/predict"
RECEIVE_S = 20.0
"""Seconds for a request to be there."""
SEND_S = 30.0
"""Seconds for an answer to be taken."""
LINGER_S = 2.0
"""Seconds for what is still being sent after a refusal: who sends reads the answer afterwards only."""
AT_ONCE = 32
"""Connections."""
CHUNK = 65536
WORTH_PACKING = 20_000
"""Bytes of an answer."""
HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(slots=True)
class ServedFile:
    """What a GET of one name gives."""

    kind: str
    content: bytes


class RefusedError(Exception):
    """A request that is not answered, and why."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class DemoServer(ThreadingHTTPServer):
    """Serves until it is shut down.

    Args:
        host, port: port 0 is any that is free.
        files: by path, `/` among them.
        answer: from the bytes of an image file to plain data; it is called in one thread only. It raises InputError
            where the file is at fault.
        max_bytes: of an image file.
    Raises:
        InputError: the address cannot be had.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = AT_ONCE

    def __init__(
        self, host: str, port: int, files: Mapping[str, ServedFile], answer: Callable[[bytes], Any], max_bytes: int
    ) -> None:
        self.files = files
        self.max_bytes = max_bytes
        self.names = {"localhost", host.lower(), socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
        self._answer = answer
        self._places = BoundedSemaphore(AT_ONCE)
        # One thread: a model takes all cores for one image, and OpenMP keeps a team for every thread that computes.
        self._computing = ThreadPoolExecutor(1)
        self.address_family = _family(host, port)
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise _taken(host, port, error) from error

    def server_bind(self) -> None:
        """Without asking the network for a name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def __exit__(self, *_: Any) -> None:
        self.server_close()
        self._computing.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def ask(self, data: bytes) -> Any:
        """The answer about an image, in its turn."""
        return self._computing.submit(self._answer, data).result()

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own; not at all where there are too many."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor who left is no fault; anything else is ours, and the others are served on."""
        log.debug("a connection ended", exc_info=True)

    def trusts(self, host: str) -> bool:
        """Whether a request's `Host` is this machine: an address, which no other site can have as its name, or ours."""
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        with suppress(ValueError):
            ipaddress.ip_address(name.strip("[]"))
            return True
        return name.lower().rstrip(".") in self.names


class _InTime(io.RawIOBase):
    """A socket that is read until a deadline, however slowly its bytes come."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._deadline = monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    """One connection, which is one request."""

    server: DemoServer
    protocol_version = "HTTP/1.1"
    server_version = "Trident"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_InTime(self.connection, RECEIVE_S))

    def do_GET(self) -> None:
        self._respond(self._file)

    def do_HEAD(self) -> None:
        self._respond(self._file)

    def do_POST(self) -> None:
        self._respond(self._prediction)

    def _respond(self, make: Callable[[], ServedFile]) -> None:
        try:
            self._check_visitor()
            file = make()
        except RefusedError as refused:
            self._refuse(refused.status, str(refused))
        except TimeoutError:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"the request was not there within {RECEIVE_S:g} seconds")
        else:
            self._send(HTTPStatus.OK, file)

    def _check_visitor(self) -> None:
        """Raise RefusedError unless the request is from a page of ours, or from no page."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not self.server.trusts(hosts[0]):
            raise RefusedError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this name is not this machine's; use its address, or say demo.host=NAME",
            )
        origin = self.headers.get("Origin")
        if origin is not None and origin.partition("://")[2].lower() != hosts[0].lower():
            raise RefusedError(HTTPStatus.FORBIDDEN, "pages of other sites may not ask")

    def _file(self) -> ServedFile:
        file = self.server.files.get(self.path.partition("?")[0])
        if file is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such page")
        return file

    def _prediction(self) -> ServedFile:
        if self.path.partition("?")[0] != ASK:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"images are taken at {ASK}")
        data = self._body()
        try:
            answer = self.server.ask(data)
            content = json.dumps(answer, allow_nan=False).encode()
        except InputError as error:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        except Exception as error:
            log.exception("an image could not be answered")
            raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}; see the console") from error
        return ServedFile(JSON, content)

    def _body(self) -> bytes:
        kind = (self.headers.get_content_type() if "Content-Type" in self.headers else "image/*").lower()
        if not kind.startswith("image/") and kind != "application/octet-stream":
            raise RefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be an image file, with Content-Type image/jpeg or so"
            )
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "one Content-Length is needed")
        if not (lengths[0].isascii() and lengths[0].isdigit()):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "Content-Length must be a number")
        if len(lengths[0]) > 15 or int(lengths[0]) > self.server.max_bytes:
            allowed = self.server.max_bytes / 1e6
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"demo.max_megabytes={allowed:g} are allowed for an image file"
            )
        parts, left = [], int(lengths[0])
        while left:
            part = self.rfile.read1(min(left, CHUNK))
            if not part:
                raise RefusedError(HTTPStatus.BAD_REQUEST, "the body was cut short")
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _send(self, status: HTTPStatus, file: ServedFile) -> None:
        content, packed = file.content, False
        if len(content) > WORTH_PACKING and "gzip" in self.headers.get("Accept-Encoding", ""):
            content, packed = gzip.compress(content, 1), True
        self.request_version = self.protocol_version  # whatever was asked in, the answer has its head
        self.send_response(status)
        self.send_header("Content-Type", file.kind)
        self.send_header("Content-Length", str(len(content)))
        if packed:
            self.send_header("Content-Encoding", "gzip")
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.close_connection = True
        self.connection.settimeout(SEND_S)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses: a method that is not there, a line that is too long."""
        self._refuse(HTTPStatus(code), HTTPStatus(code).phrase)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        if not hasattr(self, "headers"):
            self.headers = self.MessageClass()
        self._send(status, ServedFile(TEXT, f"{printable(reason)}\n".encode()))
        # Closed at once, with bytes still coming, the connection would be reset, and the answer lost.
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            rest = _InTime(self.connection, LINGER_S)
            while rest.readinto(bytearray(CHUNK)):
                pass

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the console."""
        log.debug("%s", printable(format % args))


def check_address(host: str, port: int) -> None:
    """See that a server can be where it is wanted, before anything expensive.

    Raises:
        InputError: it cannot.
    """
    with socket.socket(_family(host, port)) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise _taken(host, port, error) from error


def _family(host: str, port: int) -> socket.AddressFamily:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"demo.host={host}: is no address of this machine ({error}); say 127.0.0.1 or 0.0.0.0"
        ) from error


def _taken(host: str, port: int, error: OSError) -> InputError:
    return InputError(
        f"demo.host={host}, demo.port={port}: cannot be served on ({error.strerror or error}); another port is"
        f" demo.port={port + 1 if port else 0}, any that is free is demo.port=0"
    )
