"""The page of results over HTTP on this machine: made again when the results have changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness.errors import HarnessError, MachineError

__all__ = ["PageServer"]

HOST = "127.0.0.1"
"""Only this machine reaches the page."""


class PageServer:
    """Serves one page under every address.

    Args:
        make: returns the page; may raise a HarnessError, which is shown in its place.
        version: changes when the page has to be made again.
        port: port of this machine; 0 for a free one.

    Raises:
        MachineError: the port is taken.
    """

    def __init__(self, make: Callable[[], str], version: Callable[[], Hashable], port: int) -> None:
        self._make, self._version = make, version
        self._lock = threading.Lock()
        self._made: tuple[Hashable, bytes] | None = None
        try:
            self._server = ThreadingHTTPServer((HOST, port), self._handler())
        except OSError as error:
            raise MachineError(
                f"--port {port}: {error.strerror or error}; choose another one"
            ) from error

    @property
    def address(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self._server.server_address[1]}/"

    def run(self) -> None:
        """Serve until ``stop``, or an interrupt."""
        try:
            self._server.serve_forever(poll_interval=0.2)
        finally:
            self._server.server_close()

    def stop(self) -> None:
        """Let ``run`` return."""
        self._server.shutdown()

    def page(self) -> bytes:
        """Return the page, made again if its version has changed."""
        with self._lock:
            version = self._version()
            if self._made is None or self._made[0] != version:
                self._made = version, self._make().encode()
            return self._made[1]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            """Answers every request with the page."""

            def do_GET(self) -> None:
                """Send the page, or the error that there is none."""
                status, kind = HTTPStatus.OK, "text/html"
                try:
                    content = server.page()
                except HarnessError as error:
                    status, kind, content = HTTPStatus.NOT_FOUND, "text/plain", str(error).encode()
                self.send_response(status)
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Print nothing: a person looks at the page, not at its requests."""

        return Handler
