"""A file server on this machine that can honour ranges, ignore them, break off, lie and redirect."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import threading
import time
from typing import Any


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` by name while it is entered; what is not among them is a 404.

    Attributes:
        cuts: by name, after how many bytes each of the next answers breaks off.
        busy: how many of the next answers are 503.
        lengths: by name, what is said of the length instead of the truth.
        versions: by name, headers that tell one version of the file from another.
        asked: name and range of every request.
        conditions: If-Range of every request.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cuts: dict[str, list[int]] = {}
        self.busy = 0
        self.lengths: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.conditions: list[str | None] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    def url(self, name: str, manner: str = "ok") -> str:
        """Address of a file.

        Args:
            manner: ok, norange, shifted (a range that was not asked for), unsized (neither ranges nor a length), wrong
                (the bytes backwards), deaf (to If-Range), endless (the bytes again and again), slow (one byte after
                the other), or a redirection: redirect, astray (to no address), elsewhere (to another kind of one).
        """
        return f"http://127.0.0.1:{self.server_port}/{manner}/{name}"

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up in the middle is part of the tests."""

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers["Range"]
        manner, _, name = self.path[1:].partition("/")
        server.asked.append((name, wanted))
        condition = self.headers["If-Range"]
        server.conditions.append(condition)
        if condition is not None and manner != "deaf" and condition not in server.versions.get(name, {}).values():
            wanted = None
        if name not in server.files:
            self.send_error(404)
        elif server.busy:
            server.busy -= 1
            self.send_error(503)
        elif manner in ("redirect", "astray", "elsewhere"):
            targets = {"redirect": server.url(name), "astray": "http://[::1", "elsewhere": "ftp://127.0.0.1/f"}
            self.send_response(302)
            self.send_header("Location", targets[manner])
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send(name, manner, None if manner in ("norange", "unsized", "endless", "slow") else wanted)

    def _send(self, name: str, manner: str, wanted: str | None) -> None:
        content = self.server.files[name]
        if manner == "wrong":
            content = content[::-1]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if wanted and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            first = start + 1 if manner == "shifted" else start
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        for header, value in self.server.versions.get(name, {}).items():
            self.send_header(header, value)
        if manner not in ("unsized", "endless", "slow"):
            self.send_header("Content-Length", self.server.lengths.get(name, str(len(content) - start)))
        self.end_headers()
        if manner in ("endless", "slow"):
            self._trickle(content, manner)
            return
        cuts = self.server.cuts.get(name) or [len(content)]
        self.wfile.write(content[start : start + cuts.pop(0)])

    def _trickle(self, content: bytes, manner: str) -> None:
        """Send until the client hangs up."""
        with contextlib.suppress(OSError):
            for number in itertools.count():
                self.wfile.write(content if manner == "endless" else content[number : number + 1])
                time.sleep(0 if manner == "endless" else 0.02)

    def log_message(self, format: str, *args: Any) -> None:
        pass
