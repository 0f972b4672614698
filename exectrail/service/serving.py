"""Health and metrics over plain HTTP, for the parts that serve nothing else."""

import errno
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from exectrail.service import address

Check = Callable[[], str | None]
"""What is wrong, or None."""

_PAUSE_SECONDS = 0.5
_MOST_HEAD_BYTES = 16 << 10
_MOST_CONNECTIONS = 64
"""The oldest one ends for one more, so that slow ones keep no other out."""
_RETRY_SECONDS = 0.1

log = logging.getLogger(__name__)


def bind(host: str, port: int, wait: float = 0.0) -> socket.socket:
    """Take an address to serve at, before anything else is begun.

    Args:
        host: The address; empty for all of IPv4 and IPv6.
        port: 0 takes any.
        wait: How long to wait for another process to leave it, in seconds.

    Raises:
        OSError: The address is taken all that time, or not this machine's.

    """
    until = time.monotonic() + wait
    while True:
        try:
            return address.bound(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= until:
                raise
            time.sleep(_RETRY_SECONDS)


def serve(
    bound: socket.socket, healthy: Check, ready: Check, registry: CollectorRegistry = REGISTRY
) -> ThreadingHTTPServer:
    """Answer `/healthz`, `/readyz` and `/metrics` in threads that end with the process.

    Args:
        bound: From `bind`; it is closed with the server.
        healthy: Says why the part should be restarted.
        ready: Says why it cannot do its work now.
        registry: The metrics.

    Raises:
        OSError: Another process listens at the address.

    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds: a client that sends nothing would keep its thread for ever
        # Headers and body leave together and at once, instead of waiting for the client to acknowledge the headers.
        wbufsize = -1
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            self.rfile = _Head(self.rfile)  # type: ignore[assignment, arg-type] # only lines are read

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/healthz":
                    self._check(healthy)
                case "/readyz":
                    self._check(ready)
                case "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                case _:
                    self._answer(404, "text/plain", b"there are /healthz, /readyz and /metrics\n")

        def _check(self, check: Check) -> None:
            wrong = check()
            self._answer(503 if wrong else 200, "text/plain", f"{wrong or 'ok'}\n".encode())

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            log.debug(format, *args)

    server = _Server(bound, Handler)
    threading.Thread(target=server.serve_forever, name="serving", daemon=True).start()
    return server


class _Head:
    """The head of a request: of more than a few KiB nothing is read. The library takes 100 lines of 64 KiB."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _MOST_HEAD_BYTES
        self.close = file.close

    def readline(self, most: int) -> bytes:
        line = self._file.readline(min(most, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise TimeoutError("too long a head")  # which ends the connection without a word
        return line

    @property
    def closed(self) -> bool:
        return self._file.closed


class _Server(ThreadingHTTPServer):
    """Goes on whatever happens to one connection."""

    daemon_threads = True

    def __init__(self, bound: socket.socket, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(bound.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self._open: dict[socket.socket, None] = {}
        """The oldest first."""
        self.server_name, self.server_port = bound.getsockname()[:2]
        self.server_activate()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept; where files run out, the base class would try again at once, and take a whole core for it."""
        try:
            return super().get_request()
        except OSError as error:
            log.warning("cannot accept a connection: %s", error.strerror)
            time.sleep(_PAUSE_SECONDS)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the library's signature
        """Begin a connection, in a thread of its own."""
        self._open[request] = None
        if len(self._open) > _MOST_CONNECTIONS:
            self._end_oldest()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - the library's signature
        """End one."""
        self._open.pop(request, None)
        super().shutdown_request(request)

    def _end_oldest(self) -> None:
        with suppress(StopIteration, RuntimeError, OSError):  # it ends by itself meanwhile
            oldest = next(iter(self._open))
            self._open.pop(oldest, None)
            oldest.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the library's signature
        """Log what went wrong with one connection, as a line like all others; not that the caller has gone."""
        error = sys.exception()
        level = logging.DEBUG if isinstance(error, ConnectionError) else logging.WARNING
        log.log(level, "fault in a connection", exc_info=error, extra={"peer": str(client_address)})
